#!/usr/bin/env python3
"""What calls cost that wait for a person, and how fast decisions let them go: the real program, a caller's connection each,
nothing simulated.

    python3 bench/held.py --binary target/release/callgate [--calls 10000] [--body 1024] [--most-kib 64] [--decide] [--postgres]

Prints what it measured and fails when a held call costs more than `--most-kib`: what the process has in memory of its own
(RssAnon of Linux) while all of them wait, less what it had while a tenth of them did, by the calls in between. The first
tenth pays for what is there once: buffers, caches, threads.

With `--decide` a lead then says yes to every one of them over the console's API: first to some, one after the other, to see
how long a decision takes to its function while all the others wait; then to the rest, several at a time. It fails unless
every call runs once and every caller gets its own answer. `--postgres` keeps the state in a PostgreSQL server of its own,
which syncs, in place of the embedded database.
"""

import argparse
import asyncio
import functools
import http.server
import json
import pathlib
import resource
import sqlite3
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
AUDIENCE = "https://gateway.test"
CONSOLE = "https://console.test"
POLICIES = """
@id("calls") permit (principal in Group::"bench/bench", action in Action::"call", resource);
@id("asks") @approval("bench/leads") @decide_within("1h")
forbid (principal, action == Action::"held/pay", resource);
@id("decides") permit (principal in Group::"bench/leads", action == Action::"approve", resource);
"""
# How many are asked about at a time.
AT_A_TIME = 64
# Longest time for all of them to be held, and for all of them to be let go.
PATIENCE_S = 1800
# Decisions that are made one after the other, and connections of the lead for the others.
ALONE = 200
LEADS = 32


def issuer(folder):
    """Whoever asks for keys gets the files that tokens.mjs made."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=folder / "issuer"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def private(path, text):
    path.write_text(text)
    path.chmod(0o600)


def config(folder, url, options, store):
    """Two listeners, because one takes ten thousand connections."""
    settings = {
        "listen": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0"}],
        "console": {"address": "127.0.0.1:0", "audience": CONSOLE},
        "data": "./data",
        "policies": "./policies",
        "identity": {"issuers": {"bench": {
            "issuer": url, "audience": AUDIENCE, "groups": "groups",
            "kind": [{"when": {"account_type": "person"}, "kind": "human"}, {"when": {"sub": "bench"}, "kind": "workload"}]}}},
        "approvals": {
            "pending_per_principal_max": options.calls, "asks_per_hour_max": 1_000_000, "pending_bytes_max": 1 << 34,
            "hold_s": 300},
        "connections": {"held": {
            "protocol": "http", "upstream": f"http://127.0.0.1:{options.upstream}", "route": {"prefix": "/held"},
            "functions": {"inline": {"pay": {"method": "POST", "path": "/pay", "body": {"schema": {
                "type": "object", "properties": {"n": {"type": "integer"}, "note": {"type": "string"}}}}}}}}},
    }
    settings |= store.config(folder)
    (folder / "policies").mkdir()
    (folder / "policies/held.cedar").write_text(POLICIES)
    path = folder / "callgate.yaml"
    path.write_text(json.dumps(settings))
    return path


class Sqlite:
    """The embedded database."""

    name = "SQLite"

    def config(self, folder):
        self.path = f"file:{folder}/data/state/state.db?mode=ro"
        return {}

    def rows(self, text):
        with sqlite3.connect(self.path, uri=True) as state:
            return state.execute(text.replace("HEX(binding)", "LOWER(HEX(binding))")).fetchall()

    def stop(self):
        pass


class Postgres:
    """A server of its own, which syncs: without it, decisions would be faster than they are."""

    name = "PostgreSQL"

    def __init__(self):
        self.server = subprocess.Popen(
            [HERE.parent / "scripts/throwaway-postgres.sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.host = self.server.stdout.readline().split()[1]
        self.psql("ALTER SYSTEM SET fsync = on")
        self.psql("SELECT pg_reload_conf()")

    def psql(self, text):
        command = ["psql", "-h", self.host, "-U", "callgate", "-d", "postgres", "-At", "-F", "\x1f", "-R", "\x1e", "-c", text]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip("\n")

    def config(self, folder):
        private(folder / "url", f"postgres:///postgres?user=callgate&host={self.host}")
        private(folder / "key", "0a" * 32)
        return {"store": {"postgres": {"url": "file:url", "key": "file:key"}}}

    def rows(self, text):
        found = self.psql(text.replace("HEX(binding)", "encode(binding, 'hex')"))
        return [tuple(row.split("\x1f")) for row in found.split("\x1e") if row]

    def stop(self):
        self.server.stdin.close()
        self.server.wait()


def ports(log):
    """Where it listens for calls, and where its console is."""
    begin = time.monotonic()
    while time.monotonic() - begin < 60:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        if any("callgate is ready" in json.dumps(line) for line in lines):
            of = lambda words: [
                int(line["address"].rsplit(":", 1)[1]) for line in lines if words in json.dumps(line)]
            return of("listening for calls"), of("listening for console")[0]
        time.sleep(0.05)
    raise SystemExit(f"callgate is not ready: {log.read_text()[-2000:]}")


def own_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Function:
    """What the calls are for: notes when each arrived, and says its number."""

    def __init__(self):
        self.hits = {}
        self.hit = asyncio.Event()

    async def serve(self):
        return await asyncio.start_server(self.connection, "127.0.0.1", 0, backlog=1024)

    async def connection(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                n = json.loads(await reader.readexactly(length))["n"]
                self.hits.setdefault(n, []).append(time.monotonic())
                self.hit.set()
                body = json.dumps({"n": n}).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def answer(reader):
    """One answer: its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head.decode(), await reader.readexactly(length)
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return head.decode(), body


async def hold(listening, token, options, store, pid):
    """Every call on a connection of its own, sent and then left waiting."""
    callers = []

    async def one(n):
        body = json.dumps({"n": n, "note": "x" * options.body}).encode()
        port = listening[n % len(listening)]
        head = (
            f"POST /held/pay HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        await writer.drain()
        callers.append((n, reader, writer))

    def pending():
        return int(store.rows("SELECT COUNT(*) FROM approvals WHERE state = 'pending'")[0][0])

    begin, spent = time.monotonic(), cpu_s(pid)
    seen = []
    for upto in (options.calls // 10, options.calls):
        while len(callers) < upto:
            sent = min(len(callers) + options.at_a_time, upto)
            await asyncio.gather(*(one(n) for n in range(len(callers), sent)))
            while (held := pending()) < sent:
                if time.monotonic() - begin > PATIENCE_S:
                    raise SystemExit(f"only {held} of {sent} calls are held")
                answered = [bytes(reader._buffer) for _, reader, _ in callers if reader._buffer]
                if answered:
                    raise SystemExit(f"a call was answered instead of held: {answered[0][:600]!r}")
                await asyncio.sleep(0.02)
        # What was freed meanwhile goes back to the system.
        await asyncio.sleep(2)
        seen.append(own_kib(pid))
    return callers, time.monotonic() - begin, cpu_s(pid) - spent, seen


class Lead:
    """Somebody who decides, on a connection of their own."""

    def __init__(self, console, token):
        self.console, self.token = console, token
        self.link = None

    async def approves(self, digest, rule, approval):
        if self.link is None:
            self.link = await asyncio.open_connection("127.0.0.1", self.console)
        reader, writer = self.link
        body = json.dumps({"rule": rule, "verdict": "yes", "reason": "seen", "digest": digest}).encode()
        head = (
            f"POST /api/v1/approvals/{approval}/votes HTTP/1.1\r\nHost: 127.0.0.1:{self.console}\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        head, said = await answer(reader)
        if " 200 " not in head.split("\r\n")[0] or json.loads(said)["state"] != "approved":
            raise SystemExit(f"a vote was not taken: {head}{said.decode()}")
        return time.monotonic()


def share(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] * 1000


async def decide(callers, console, token, function, store, pid):
    """Yes to all of them; how fast that was."""
    rows = store.rows("SELECT id, call, HEX(binding), terms FROM approvals WHERE state = 'pending' ORDER BY id")
    waiting = [(digest, bytes(json.loads(terms)["rules"][0]["hash"]).hex(), approval) for approval, _, digest, terms in rows]
    answers = [asyncio.create_task(answer(reader)) for _, reader, _ in callers]
    lead = Lead(console, token)
    alone = []
    for one in waiting[:ALONE]:
        function.hit.clear()
        sent = time.monotonic()
        await lead.approves(*one)
        await asyncio.wait_for(function.hit.wait(), 60)
        alone.append(time.monotonic() - sent)
    rest = iter(waiting[ALONE:])
    begin, spent = time.monotonic(), cpu_s(pid)
    decided = {}

    async def works():
        lead = Lead(console, token)
        for one in rest:
            decided[one[2]] = await lead.approves(*one)

    await asyncio.gather(*(works() for _ in range(LEADS)))
    took = time.monotonic() - begin
    done = await asyncio.wait_for(asyncio.gather(*answers), PATIENCE_S)
    ran, cpu = time.monotonic() - begin, cpu_s(pid) - spent
    by_call = {call: approval for approval, call, _, _ in rows}
    waits = []
    for (n, _, _), (head, body) in zip(callers, done, strict=True):
        if " 200 " not in head.split("\r\n")[0] or json.loads(body) != {"n": n}:
            raise SystemExit(f"a caller got another answer: {head}{body.decode()}")
        if len(function.hits[n]) != 1:
            raise SystemExit(f"call {n} ran {len(function.hits[n])} times")
        call = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("callgate-call:"))
        if (at := decided.get(by_call[call])) is not None:
            waits.append(max(0.0, function.hits[n][0] - at))
    many = len(waiting) - ALONE
    print(
        f"one decision at a time while the others wait, to the call's arrival at its function: p50 {share(alone, .5):.1f} ms, "
        f"p99 {share(alone, .99):.1f} ms ({ALONE} decisions)\n"
        f"{many} decisions over {LEADS} connections: {many / took:.0f} decisions/s; every call had run once, and every caller "
        f"had its answer, {ran:.1f} s after the first of them ({many / ran:.0f} calls/s, {cpu / many * 1e3:.2f} ms of processor "
        f"time each); from a decision's answer to the function p50 {share(waits, .5):.0f} ms, p99 {share(waits, .99):.0f} ms"
    )


async def play(options, folder, store):
    function = Function()
    server = await function.serve()
    options.upstream = server.sockets[0].getsockname()[1]
    url = issuer(folder)
    person = {"sub": "lena", "groups": ["leads"], "aud": CONSOLE, "account_type": "person"}
    subprocess.run(["node", HERE / "tokens.mjs", folder, url, AUDIENCE, "1", json.dumps(person)], check=True)
    token, lead = ((folder / name).read_text().strip() for name in ("tokens.txt", "person.txt"))
    path = config(folder, url, options, store)
    subprocess.run([options.binary, "--config", path, "init"], check=True, capture_output=True)
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen([options.binary, "--config", path, "serve"], stdout=out, stderr=out)
    try:
        listening, console = ports(log)
        callers, took, cpu, (tenth, all_of_them) = await hold(listening, token, options, store, process.pid)
        each = (all_of_them - tenth) / (options.calls - options.calls // 10)
        print(
            f"{options.calls} calls held ({store.name}), {options.body} bytes of body each, {options.at_a_time} asked at a "
            f"time: {tenth / 1024:.0f} MiB of memory while a tenth waits, {all_of_them / 1024:.0f} MiB while all do, "
            f"{each:.1f} KiB a call; held within {took:.0f} s ({cpu / options.calls * 1e3:.2f} ms of processor time each)",
            flush=True,
        )
        if options.decide:
            await decide(callers, console, lead, function, store, process.pid)
    finally:
        process.kill()
        process.wait()
        # The function sees its connections end, before the loop does.
        server.close()
        await asyncio.sleep(1)
    return each


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--body", type=int, default=1024)
    parser.add_argument("--at-a-time", type=int, default=AT_A_TIME)
    parser.add_argument("--most-kib", type=float, default=64)
    parser.add_argument("--decide", action="store_true")
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    # The program has one end of every connection, and this one the other.
    wanted = options.calls + 1_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        raise SystemExit(f"{wanted} open files are needed, {most} are allowed: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    store = Postgres() if options.postgres else Sqlite()
    try:
        with tempfile.TemporaryDirectory(prefix="callgate-held-") as name:
            each = asyncio.run(play(options, pathlib.Path(name), store))
    finally:
        store.stop()
    if each > options.most_kib:
        raise SystemExit(f"a held call costs {each:.1f} KiB, {options.most_kib} is the limit")


if __name__ == "__main__":
    main()
