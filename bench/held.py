#!/usr/bin/env python3
"""How much memory calls cost that wait for a person: the real program, a caller's connection each, nothing simulated.

    python3 bench/held.py --binary target/release/callgate [--calls 10000] [--body 1024] [--most-kib 64]

Prints what it measured and fails when a held call costs more than `--most-kib`: what the process has in memory of its own
(RssAnon of Linux) while all of them wait, less what it had while a tenth of them did, by the calls in between. The first
tenth pays for what is there once: buffers, caches, threads.
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
POLICIES = """
@id("calls") permit (principal in Group::"bench/bench", action in Action::"call", resource);
@id("asks") @approval("bench/leads") @decide_within("1h")
forbid (principal, action == Action::"held/pay", resource);
"""
# How many are asked about at a time: the database writes one question after the other.
AT_A_TIME = 64
# Longest time for all of them to be held.
PATIENCE_S = 1800


def issuer(folder):
    """Whoever asks for keys gets the files that tokens.mjs made."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=folder / "issuer"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def config(folder, url, calls):
    """Two listeners, because one takes ten thousand connections."""
    settings = {
        "listen": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0"}],
        "data": "./data",
        "policies": "./policies",
        "identity": {"issuers": {"bench": {
            "issuer": url, "audience": AUDIENCE, "groups": "groups", "kind": "workload"}}},
        "approvals": {
            "pending_per_principal_max": calls, "asks_per_hour_max": 1_000_000, "pending_bytes_max": 1 << 34,
            "hold_s": 300},
        "connections": {"held": {
            "protocol": "http", "upstream": "http://127.0.0.1:9", "route": {"prefix": "/held"},
            "functions": {"inline": {"pay": {"method": "POST", "path": "/pay", "body": {"schema": {
                "type": "object", "properties": {"n": {"type": "integer"}, "note": {"type": "string"}}}}}}}}},
    }
    (folder / "policies").mkdir()
    (folder / "policies/held.cedar").write_text(POLICIES)
    path = folder / "callgate.yaml"
    path.write_text(json.dumps(settings))
    return path


def ports(log):
    begin = time.monotonic()
    while time.monotonic() - begin < 60:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        if any("callgate is ready" in json.dumps(line) for line in lines):
            return [int(line["address"].rsplit(":", 1)[1]) for line in lines if "listening for calls" in json.dumps(line)]
        time.sleep(0.05)
    raise SystemExit(f"callgate is not ready: {log.read_text()[-2000:]}")


def own_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])


def pending(folder):
    with sqlite3.connect(f"file:{folder}/data/state/state.db?mode=ro", uri=True) as state:
        return state.execute("SELECT COUNT(*) FROM approvals WHERE state = 'pending'").fetchone()[0]


async def hold(ports, token, options, folder, pid):
    """Every call on a connection of its own, sent and then left waiting."""
    writers = []

    async def one(n):
        body = json.dumps({"n": n, "note": "x" * options.body}).encode()
        port = ports[n % len(ports)]
        head = (
            f"POST /held/pay HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        await writer.drain()
        writers.append((reader, writer))

    begin = time.monotonic()
    seen = []
    for upto in (options.calls // 10, options.calls):
        while len(writers) < upto:
            sent = min(len(writers) + AT_A_TIME, upto)
            await asyncio.gather(*(one(n) for n in range(len(writers), sent)))
            while (held := pending(folder)) < sent:
                if time.monotonic() - begin > PATIENCE_S:
                    raise SystemExit(f"only {held} of {sent} calls are held")
                answered = [bytes(reader._buffer) for reader, _ in writers if reader._buffer]
                if answered:
                    raise SystemExit(f"a call was answered instead of held: {answered[0][:600]!r}")
                await asyncio.sleep(0.02)
        # What was freed meanwhile goes back to the system.
        await asyncio.sleep(2)
        seen.append(own_kib(pid))
    return time.monotonic() - begin, seen


def measure(options, folder):
    url = issuer(folder)
    subprocess.run(["node", HERE / "tokens.mjs", folder, url, AUDIENCE, "1"], check=True)
    token = (folder / "tokens.txt").read_text().strip()
    path = config(folder, url, options.calls)
    subprocess.run([options.binary, "--config", path, "init"], check=True, capture_output=True)
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen([options.binary, "--config", path, "serve"], stdout=out, stderr=out)
    try:
        listening = ports(log)
        took, (tenth, all_of_them) = asyncio.run(hold(listening, token, options, folder, process.pid))
    finally:
        process.kill()
        process.wait()
    each = (all_of_them - tenth) / (options.calls - options.calls // 10)
    print(
        f"{options.calls} calls held, {options.body} bytes of body each: {tenth / 1024:.0f} MiB of memory while a tenth "
        f"waits, {all_of_them / 1024:.0f} MiB while all do, {each:.1f} KiB a call; held within {took:.0f} s"
    )
    return each


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--body", type=int, default=1024)
    parser.add_argument("--most-kib", type=float, default=64)
    options = parser.parse_args()
    wanted = options.calls * 2 + 1_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        raise SystemExit(f"{wanted} open files are needed, {most} are allowed: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    with tempfile.TemporaryDirectory(prefix="callgate-held-") as name:
        each = measure(options, pathlib.Path(name))
    if each > options.most_kib:
        raise SystemExit(f"a held call costs {each:.1f} KiB, {options.most_kib} is the limit")


if __name__ == "__main__":
    main()
