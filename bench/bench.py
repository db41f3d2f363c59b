#!/usr/bin/env python3
"""Measures Callgate beside plain proxies, in one run on one machine, and writes docs/performance.md.

Every target forwards the same ~0.7 KB JSON answer of the same nginx. For each: requests a second, latency at 1 and
at 64 client connections, processor time per call (all processes of the target, from /proc), resident memory. A run with fresh tokens ends when they are used up. The
disk's own sync time is measured before and after, because two of them bound what full durability can cost.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TICKS = os.sysconf("SC_CLK_TCK")
AUDIENCE = "https://gateway.example.com"
ANSWER_BYTES = 700
# Targets that are shown a new token each call: HAProxy, and two of Callgate.
FRESH_TARGETS = 3


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, limit_s=30):
    begin = time.monotonic()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() - begin > limit_s:
                raise SystemExit(f"nobody listens on port {port}")
            time.sleep(0.05)


def family(pid):
    """The process and all that descend from it."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        try:
            children = pathlib.Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue
        queue += [int(child) for child in children]
    return found


def processor_s(pid):
    """User and system time of a family of processes, in seconds. Fine-grained where the kernel keeps schedstat."""
    total = 0.0
    for one in family(pid):
        try:
            tasks = os.listdir(f"/proc/{one}/task")
            total += sum(int(pathlib.Path(f"/proc/{one}/task/{t}/schedstat").read_text().split()[0]) for t in tasks) / 1e9
        except OSError:
            try:
                fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
                total += (int(fields[11]) + int(fields[12])) / TICKS
            except OSError:
                continue
    return total


def resident_mib(pid):
    total = 0
    for one in family(pid):
        try:
            lines = pathlib.Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1024


def sync_probe(folder, count=300):
    """Milliseconds of one 4 KiB append with fdatasync: the disk's own price of durability."""
    path = pathlib.Path(folder) / "sync-probe"
    times, block = [], os.urandom(4096)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            begin = time.perf_counter()
            os.write(descriptor, block)
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - begin) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    times.sort()
    return {"p50_ms": times[count // 2], "p99_ms": times[int(count * 0.99)]}


class Target:
    """A program to measure: started, warmed, measured, stopped."""

    def __init__(self, name, port, path="/json", tokens="none", process=None):
        self.name, self.port, self.path, self.tokens, self.process = name, port, path, tokens, process


class Run:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="callgate-bench-", dir=options.scratch))
        self.children = []
        self.next_token = 1  # the first one is the remembered one

    def start(self, name, command, **more):
        log = open(self.folder / f"{name}.log", "wb")
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **more)
        self.children.append(child)
        return child

    def stop(self, child):
        if child in self.children:
            self.children.remove(child)
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def close(self):
        for child in list(self.children):
            self.stop(child)
        shutil.rmtree(self.folder, ignore_errors=True)

    # The function and the issuer: one nginx with static files.
    def upstream(self):
        self.upstream_port, self.issuer_port = free_port(), free_port()
        self.issuer = f"http://127.0.0.1:{self.issuer_port}"
        subprocess.run(
            ["node", HERE / "tokens.mjs", self.folder, self.issuer, AUDIENCE, str(self.options.tokens)], check=True
        )
        rows = [{"id": f"o-{n}", "customer": f"c-{1000 + n}", "amount": 100 * n, "status": "paid"} for n in range(40)]
        answer = {"orders": []}
        while len(json.dumps(answer)) < ANSWER_BYTES:
            answer["orders"].append(rows[len(answer["orders"])])
        (self.folder / "www").mkdir()
        (self.folder / "www/json").write_text(json.dumps(answer))
        self.answer_bytes = len(json.dumps(answer))
        static = f"""
            server {{ listen 127.0.0.1:{self.upstream_port}; root {self.folder}/www;
                      location / {{ default_type application/json; }} }}
            server {{ listen 127.0.0.1:{self.issuer_port}; root {self.folder}/issuer;
                      location / {{ default_type application/json; }} }}"""
        child = self.nginx("upstream", static)
        wait_for(self.upstream_port)
        return child

    def nginx(self, name, servers):
        path = self.folder / f"{name}.conf"
        path.write_text(f"""
            daemon off; pid {self.folder}/{name}.pid; error_log {self.folder}/{name}-error.log crit;
            worker_processes auto; events {{ worker_connections 2048; }}
            http {{ access_log off; keepalive_requests 10000000; keepalive_timeout 300s; open_file_cache max=10;
                    client_body_temp_path {self.folder}/{name}-body; proxy_temp_path {self.folder}/{name}-proxy;
                    fastcgi_temp_path {self.folder}/{name}-f; uwsgi_temp_path {self.folder}/{name}-u;
                    scgi_temp_path {self.folder}/{name}-s;
                    {servers} }}""")
        os.chmod(self.folder, 0o755)
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        user = ["-g", "user root;"] if os.getuid() == 0 else []
        return self.start(name, [program, "-c", str(path), *user])

    def direct(self):
        return Target("direct (no proxy)", self.upstream_port)

    def plain_nginx(self):
        port = free_port()
        process = self.nginx("nginx", f"""
            upstream far {{ server 127.0.0.1:{self.upstream_port}; keepalive 128; keepalive_requests 10000000; }}
            server {{ listen 127.0.0.1:{port}; location / {{
                proxy_pass http://far; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}""")
        wait_for(port)
        return Target("nginx, no checks", port, process=process)

    def haproxy(self, verify):
        port = free_port()
        name = "haproxy-es256" if verify else "haproxy"
        checks = f"""
            http-request set-var(txn.token) http_auth_bearer
            http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
            http-request set-var(txn.iss) var(txn.token),jwt_payload_query('$.iss')
            http-request set-var(txn.aud) var(txn.token),jwt_payload_query('$.aud')
            http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
            http-request set-var(txn.now) date()
            http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }}
            http-request deny deny_status 401 unless {{ var(txn.iss) -m str {self.issuer} }}
            http-request deny deny_status 401 unless {{ var(txn.aud) -m str {AUDIENCE} }}
            http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int le 0 }}
            http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,"{self.folder}/public.pem") 1 }}"""
        path = self.folder / f"{name}.cfg"
        path.write_text(f"""
global
            maxconn 4096
defaults
            mode http
            timeout connect 5s
            timeout client 300s
            timeout server 300s
            http-reuse always
frontend near
            bind 127.0.0.1:{port}
{checks if verify else ""}
            default_backend far
backend far
            server one 127.0.0.1:{self.upstream_port}
""")
        program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        process = self.start(name, [program, "-db", "-f", str(path)])
        wait_for(port)
        label = "HAProxy, one ES256 token verified a call" if verify else "HAProxy, no checks"
        return Target(label, port, tokens="fresh" if verify else "none", process=process)

    def check(self, target, token):
        """A target that answers wrongly must not be measured."""
        request = urllib.request.Request(f"http://127.0.0.1:{target.port}{target.path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{target.name}: {error.code} {error.read()[:300]}") from error
        if len(body) != self.answer_bytes:
            raise SystemExit(f"{target.name}: {len(body)} bytes instead of {self.answer_bytes}")

    def load(self, target, connections, seconds):
        url = f"http://127.0.0.1:{target.port}{target.path}"
        first, count = 0, 0
        if target.tokens == "remembered":
            first, count = 0, 1
        elif target.tokens == "fresh":
            # Each phase has tokens of its own, as many as fit its length, so that none was seen before.
            share = seconds / (2 * (1 + self.options.seconds)) / FRESH_TARGETS
            count = int((self.options.tokens - 1) * share)
            first, self.next_token = self.next_token, self.next_token + count
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", HERE / "load.lua", url]
        command += ["--", self.folder / "tokens.txt", str(first), str(count)]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
        return json.loads(done.stdout.strip().splitlines()[-1])

    def measure(self, target):
        token = None
        if target.tokens != "none":
            with open(self.folder / "tokens.txt") as lines:
                token = next(lines).strip()
        self.check(target, token)
        row = {"name": target.name}
        for connections in (1, 64):
            self.load(target, connections, 1)
            before = processor_s(target.process.pid) if target.process else 0
            figures = self.load(target, connections, self.options.seconds)
            used = (processor_s(target.process.pid) - before) if target.process else 0
            figures["rate"] = figures["requests"] / (figures["duration_us"] / 1e6)
            figures["cpu_us"] = used * 1e6 / max(figures["requests"], 1)
            row[str(connections)] = figures
        row["resident_mib"] = resident_mib(target.process.pid) if target.process else 0
        print(line(row), flush=True)
        return row


def line(row):
    one, many = row["1"], row["64"]
    bad = many["bad_status"] + many["socket_errors"] + one["bad_status"] + one["socket_errors"]
    return (
        f"| {row['name']} | {one['rate']:.0f} | {one['p50_us']} | {one['p99_us']} | {one['p999_us']} "
        f"| {many['rate']:.0f} | {many['p50_us']} | {many['p99_us']} | {many['p999_us']} "
        f"| {one['cpu_us']:.0f} | {many['cpu_us']:.0f} | {row['resident_mib']:.0f} | {bad} |"
    )


HEAD = """| target | calls/s, 1 | p50 µs | p99 µs | p99.9 µs | calls/s, 64 | p50 µs | p99 µs | p99.9 µs | cpu µs/call, 1 | cpu µs/call, 64 | resident MiB | errors |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def picture(rows):
    """Processor time per call at 64 connections, as bars."""
    shown = [row for row in rows if row["64"]["cpu_us"] > 0]
    most = max(row["64"]["cpu_us"] for row in shown)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{30 * len(shown) + 40}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20">processor time per call, µs (64 client connections)</text>',
    ]
    for index, row in enumerate(shown):
        top, value = 34 + 30 * index, row["64"]["cpu_us"]
        width = 420 * value / most
        colour = "#2b6cb0" if row["name"].startswith("Callgate") else "#a0aec0"
        parts.append(f'<text x="10" y="{top + 15}">{row["name"]}</text>')
        parts.append(f'<rect x="350" y="{top}" width="{width:.0f}" height="20" fill="{colour}"/>')
        parts.append(f'<text x="{356 + width:.0f}" y="{top + 15}">{value:.0f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def machine():
    model = next(
        (l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown processor"
    )
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} × {model}, load {load:.1f} at the start"


def write(rows, probes, options, note):
    target = ROOT / "docs/performance.md"
    start, end = "<!-- measured -->", "<!-- /measured -->"
    text = target.read_text()
    before, rest = text.split(start)
    _, after = rest.split(end)
    lines = [
        start,
        f"Measured {time.strftime('%Y-%m-%d')} on {note}; {options.seconds} s each, ~{ANSWER_BYTES} bytes of JSON.",
        "",
        HEAD,
        *[line(row) for row in rows],
        "",
        "The disk's own sync (4 KiB append, fdatasync): "
        + ", ".join(f"{name} p50 {p['p50_ms']:.2f} ms, p99 {p['p99_ms']:.2f} ms" for name, p in probes.items())
        + ".",
        "",
        "![processor time per call](performance.svg)",
        end,
    ]
    target.write_text(before + "\n".join(lines) + after)
    (ROOT / "docs/performance.svg").write_text(picture(rows))


WRITERS = (1, 8, 64, 256)
WRITERS_TEST = "record::tests::writers::every_record_that_many_writers_were_told_of_is_in_the_log"
WRITERS_BAR = 0.7


def writers(options):
    """Records a second of the recorder alone, with many writers at once, and of a raw group commit beside it."""
    folder = tempfile.mkdtemp(prefix="callgate-writers-", dir=options.scratch)
    environment = {
        **os.environ,
        "CALLGATE_BENCH_WRITERS": ",".join(map(str, WRITERS)),
        "CALLGATE_BENCH_SECONDS": str(options.seconds),
        "CALLGATE_BENCH_DIR": folder,
    }
    try:
        done = subprocess.run(
            [options.writers, "--exact", WRITERS_TEST, "--nocapture", "--test-threads=1"],
            env=environment, capture_output=True, text=True,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode != 0:
        raise SystemExit(f"the writers did not end well:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    # The harness writes "test NAME ... " without an end of line: the first row follows it.
    rows = (row[row.find('{"what"') :] for row in done.stdout.splitlines() if '{"what"' in row)
    return [json.loads(row) for row in rows]


def write_section(name, lines):
    """Replace one measured section of docs/performance.md; all others stay as they are."""
    page = ROOT / "docs/performance.md"
    start, end = f"<!-- measured {name} -->", f"<!-- /measured {name} -->"
    before, rest = page.read_text().split(start)
    _, after = rest.split(end)
    page.write_text(before + "\n".join([start, *lines, end]) + after)


def writers_lines(rows, probes, options, note):
    figures = {(row["what"], row["writers"]): row for row in rows if "writers" in row}
    size = next(row["bytes"] for row in rows if row["what"] == "bytes")
    lines = [
        f"Measured {time.strftime('%Y-%m-%d')} on {note}; {options.seconds} s a row, {size} bytes of log a record,",
        f"sync before p50 {probes['before']['p50_ms']:.2f} ms, after p50 {probes['after']['p50_ms']:.2f} ms.",
        "",
        "| evidence | writers | records/s | of the raw group commit | added to a call p50 µs | p99 µs | raw p50 µs |",
        "|---|---|---|---|---|---|---|",
    ]
    missed = []
    for what in ("async", "begin", "both"):
        for count in WRITERS:
            row, raw = figures[what, count], figures["probe", count]
            ratio = row["records_s"] / raw["records_s"]
            if what == "both" and ratio < WRITERS_BAR:
                missed.append(f"{count} writers ({ratio:.2f})")
            lines.append(
                f"| {what} | {count} | {row['records_s']} | {ratio:.2f} | {row['p50_us']} | {row['p99_us']} "
                f"| {raw['p50_us']} |"
            )
    bar = f"The bar, {WRITERS_BAR} of the raw group commit with `both`: "
    lines += ["", bar + ("met at every number of writers." if not missed else "missed at " + ", ".join(missed) + ".")]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="length of each measurement")
    parser.add_argument("--tokens", type=int, default=240_000, help="distinct tokens to make")
    parser.add_argument("--binary", help="the release build of callgate; without it only the others are measured")
    parser.add_argument("--scratch", default=None, help="folder on the disk to measure")
    parser.add_argument("--dry", action="store_true", help="print only, do not write docs/performance.md")
    parser.add_argument("--writers", help="the release build of callgate's own tests; without it they are left out")
    parser.add_argument("--only", choices=("proxies", "writers"), help="measure and write one part only")
    options = parser.parse_args()
    for tool in ("wrk", "nginx", "haproxy", "node"):
        if not (shutil.which(tool) or pathlib.Path(f"/usr/sbin/{tool}").exists()):
            raise SystemExit(f"bench needs {tool}; install with: apt-get install -y wrk nginx haproxy nodejs")
    if options.only == "writers" and not options.writers:
        raise SystemExit("--only writers needs --writers")
    run = Run(options)
    try:
        note = machine()
        if options.only != "writers":
            proxies(run, options, note)
        if options.writers and options.only != "proxies":
            probes = {"before": sync_probe(run.folder)}
            rows = writers(options)
            probes["after"] = sync_probe(run.folder)
            lines = writers_lines(rows, probes, options, note)
            print("\n".join(lines))
            if not options.dry:
                write_section("writers", lines)
    finally:
        run.close()
    return 0


def proxies(run, options, note):
    """Callgate beside plain proxies."""
    probes = {}
    run.upstream()
    probes["before"] = sync_probe(run.folder)
    print(HEAD, flush=True)
    rows = [run.measure(run.direct())]
    makers = [run.plain_nginx, lambda: run.haproxy(False), lambda: run.haproxy(True)]
    if options.binary:
        import callgate_targets

        makers += callgate_targets.makers(run)
    for make in makers:
        target = make()
        rows.append(run.measure(target))
        run.stop(target.process)
    probes["after"] = sync_probe(run.folder)
    print(json.dumps(probes))
    if not options.dry:
        write(rows, probes, options, note)


if __name__ == "__main__":
    sys.exit(main())
