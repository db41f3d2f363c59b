#!/usr/bin/env python3
"""Measures what reading the audit log costs, on a log that the real gateway wrote, and writes docs/performance.md.

A gateway carries calls (1,000,000 unless fewer are asked for) with evidence `async`. Then, with
wall and processor time of each command: a start on that log, lists, one call shown and played back (the first, one in
the middle, the newest), the index made anew, `audit verify` and `policy simulate`. The gateway runs beside those that
need one. `--keep FOLDER` leaves the log there and uses it again, to measure another build on the same log.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import bench
import callgate_targets

TOKENS = 200
VERIFY_BAR, SIMULATE_BAR = 500_000, 50_000


def timed(command, **more):
    """Wall and processor seconds of a command, and what it printed."""
    begin = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    out, problem = child.stdout.read(), child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begin
    code = os.waitstatus_to_exitcode(status)
    child.returncode = code
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, code, out.decode(), problem.decode()


class Log:
    def __init__(self, run, folder):
        self.run, self.folder = run, pathlib.Path(folder)
        self.config = self.folder / "callgate.yaml"
        self.rows = []

    def configure(self):
        """The same paths and names each time; only the ports change."""
        (self.folder / "policies").mkdir(parents=True, exist_ok=True)
        (self.folder / "draft").mkdir(exist_ok=True)
        further = "".join(callgate_targets.FURTHER.format(n=n) for n in range(20))
        (self.folder / "policies/bench.cedar").write_text(callgate_targets.POLICY + further)
        (self.folder / "draft/bench.cedar").write_text(callgate_targets.POLICY)
        function = {"method": "GET", "path": "/json", "durability": "async"}
        config = {
            "listen": [{"address": "127.0.0.1:0"}],
            "data": "./data",
            "identity": {
                "issuers": {
                    "bench": {
                        "issuer": self.run.issuer, "audience": bench.AUDIENCE, "groups": "groups", "kind": "workload",
                    }
                }
            },
            "policies": "./policies",
            "connections": {
                "bench": {
                    "protocol": "http",
                    "upstream": f"http://127.0.0.1:{self.run.upstream_port}",
                    "route": {"prefix": "/bench"},
                    "functions": {"inline": {"json": function}},
                    "mask": {"mode": "off"},
                }
            },
        }
        self.config.write_text(json.dumps(config))

    def callgate(self, *arguments, binary=None):
        return [binary or self.run.options.binary, *arguments, "--config", self.config]

    @contextlib.contextmanager
    def serving(self, binary=None):
        """The gateway; its log file is new each time."""
        name = f"serve-{time.monotonic_ns()}"
        child = self.run.start(name, [str(part) for part in self.callgate("serve", binary=binary)])
        log = self.run.folder / f"{name}.log"
        try:
            yield child, lambda limit_s=900: callgate_targets.listening(log, limit_s)
        finally:
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(120)
            self.run.stop(child)

    def fill(self, calls):
        done = 0
        with self.serving() as (_, ready):
            target = bench.Target("fill", ready(), "/bench/json", "remembered")
            url = f"http://127.0.0.1:{target.port}{target.path}"
            with open(self.run.folder / "tokens.txt") as lines:
                self.run.check(target, next(lines).strip())
            while done < calls:
                command = ["wrk", "-t1", "-c32", "-d5s", "--timeout", "10s", "-s", bench.HERE / "load.lua", url, "--"]
                command += [self.run.folder / "tokens.txt", "0", "1"]
                out = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
                figures = json.loads(out.stdout.strip().splitlines()[-1])
                if figures["bad_status"] + figures["socket_errors"]:
                    raise SystemExit(f"the gateway did not answer every call: {figures}")
                done += figures["requests"]
                print(f"{done} calls of {calls}", file=sys.stderr, flush=True)
        (self.folder / "filled").write_text(str(done))

    def row(self, what, wall, cpu, resident, more=""):
        self.rows.append((what, wall, cpu, resident, more))
        print(f"| {what} | {wall * 1000:.0f} | {cpu * 1000:.0f} | {resident:.0f} | {more} |", flush=True)

    def ask(self, what, *arguments, codes=(0,)):
        wall, cpu, resident, code, out, problem = timed(self.callgate(*arguments))
        if code not in codes:
            raise SystemExit(f"{what}: exit code {code}: {problem[-1000:]}")
        self.row(what, wall, cpu, resident)
        return out

    def start(self, what):
        begin = time.perf_counter()
        with self.serving() as (child, ready):
            ready()
            wall = time.perf_counter() - begin
            self.row(what, wall, bench.processor_s(child.pid), bench.resident_mib(child.pid))

    def indexed(self, limit_s=600):
        """Wait until the gateway has saved the index, which it does when it starts."""
        begin = time.monotonic()
        while not (self.folder / "data/audit/index/state").exists():
            if time.monotonic() - begin > limit_s:
                raise SystemExit("the gateway does not save its index")
            time.sleep(0.2)
        time.sleep(3)

    def read(self):
        """With a gateway beside them, as it is in the field: what is read goes on its record."""
        with self.serving() as (_, ready):
            ready()
            self.indexed()
            newest = self.ask("`calls list`, the newest 50", "calls", "list", "--output", "json", "--limit", "50")
            calls = [json.loads(line)["call"] for line in newest.splitlines() if '"call"' in line]
            self.ask("`calls list`, a status that no call has", "calls", "list", "--status", "599")
            middle = self.ask(
                "`calls list`, a page from the middle", "calls", "list", "--output", "json", "--limit", "1",
                "--cursor", str(self.records // 2),
            )
            first = self.ask(
                "`calls list`, the oldest", "calls", "list", "--output", "json", "--limit", "1", "--cursor", "40",
            )
            one = lambda text: next(json.loads(line)["call"] for line in text.splitlines() if '"call"' in line)
            for name, call in (("newest", calls[0]), ("middle", one(middle)), ("oldest", one(first))):
                self.ask(f"`calls show`, the {name}", "calls", "show", call)
                self.ask(f"`calls replay`, the {name}", "calls", "replay", call)
            self.ask("`audit prove`, the middle", "audit", "prove", one(middle))
            shutil.rmtree(self.folder / "data/audit/index", ignore_errors=True)
            self.ask("`calls list`, the index made anew from the log", "calls", "list", "--limit", "1")

    def verify(self):
        wall, cpu, resident, code, out, problem = timed(self.callgate("audit", "verify"))
        if code != 0:
            raise SystemExit(f"audit verify: exit code {code}: {problem[-1000:]}")
        self.records = int(re.search(r"(\d+) records", out).group(1))
        self.verified = self.records / cpu
        self.row("`audit verify`", wall, cpu, resident, f"{self.verified:,.0f} records/s of processor time")

    def simulate(self):
        with self.serving() as (_, ready):
            ready()
            command = self.callgate("policy", "simulate", "--against", "3650d", "--with", self.folder / "draft")
            wall, cpu, resident, code, out, problem = timed([*command, "--output", "json"])
            if code != 0:
                raise SystemExit(f"policy simulate: exit code {code}: {problem[-1000:]}{out[-1000:]}")
            evaluated = json.loads(out)["evaluated"]
            self.simulated = evaluated / cpu
            self.row("`policy simulate`", wall, cpu, resident, f"{self.simulated:,.0f} calls/s of processor time")

    def measure(self):
        self.verify()
        self.start("a start")
        self.start("a second start")
        self.read()
        self.simulate()

    def write(self, note, command):
        calls = int((self.folder / "filled").read_text())
        bytes_ = sum(path.stat().st_size for path in (self.folder / "data/audit/wal").iterdir())
        bar = lambda have, want: "met" if have >= want else f"missed by {100 - 100 * have / want:.0f} %"
        lines = [
            f"Measured {time.strftime('%Y-%m-%d')} on {note}, with `{command}`: {calls:,} calls, {self.records:,} records,",
            f"{bytes_ / 2**30:.1f} GiB of log, in the page cache as far as it fits.",
            "",
            "| | wall ms | processor ms | resident MiB | |",
            "|---|---|---|---|---|",
            *[f"| {what} | {wall * 1000:.0f} | {cpu * 1000:.0f} | {mib:.0f} | {more} |"
              for what, wall, cpu, mib, more in self.rows],
            "",
            f"The bars: {VERIFY_BAR:,} records a second and core verified: {bar(self.verified, VERIFY_BAR)}. "
            f"{SIMULATE_BAR:,} calls a second and core simulated: {bar(self.simulated, SIMULATE_BAR)}.",
        ]
        bench.write_section("log", lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, help="the release build of callgate")
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls in the log")
    parser.add_argument("--keep", default=None, help="folder of the log: made, or used again when it is there")
    parser.add_argument("--scratch", default=None, help="folder on the disk to measure")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="print only, do not write docs/performance.md")
    options = parser.parse_args()
    for tool in ("wrk", "nginx", "node"):
        if not (shutil.which(tool) or pathlib.Path(f"/usr/sbin/{tool}").exists()):
            raise SystemExit(f"bench-log needs {tool}; install with: apt-get install -y wrk nginx nodejs")
    run = bench.Run(options)
    try:
        note = bench.machine()
        run.upstream()
        folder = pathlib.Path(options.keep) if options.keep else run.folder / "log"
        folder.mkdir(parents=True, exist_ok=True)
        log = Log(run, folder.resolve())
        log.configure()
        if not (log.folder / "filled").exists():
            subprocess.run([str(part) for part in log.callgate("init")], check=True, capture_output=True)
            log.fill(options.calls)
        log.measure()
        if not options.dry:
            log.write(note, f"make bench-log ARGS='--calls {options.calls}'")
    finally:
        run.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
