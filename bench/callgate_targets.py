"""Callgate, step by step, for bench.py: each target adds one thing to the one before or changes one."""

import json
import re
import subprocess
import time

import bench

POLICY = """
@id("bench-calls")
permit (principal in Group::"bench/bench", action == Action::"bench/json", resource);
"""
# Policies of other callers and other inputs of the same function: all of them are candidates for each call.
FURTHER = """
@id("other-{n}")
permit (principal in Group::"bench/team-{n}", action == Action::"bench/json", resource);
"""


def makers(run):
    def step(label, **settings):
        return lambda: start(run, f"Callgate: {label}", **settings)

    return [
        step("one policy, no masking, evidence async"),
        step("the same, a fresh token each call", tokens="fresh"),
        step("the same, 200 policies", policies=200),
        step("+ masking: everything on, evidence async", policies=200, mask="on"),
        step("everything on, evidence begin", policies=200, mask="on", durability="begin"),
        step("everything on, evidence both (default)", policies=200, mask="on", durability="both"),
        step("everything on, both, fresh tokens", policies=200, mask="on", durability="both", tokens="fresh"),
    ]


def start(run, label, tokens="remembered", policies=1, mask="off", durability="async"):
    folder = run.folder / re.sub(r"\W+", "-", label)
    (folder / "policies").mkdir(parents=True)
    text = POLICY + "".join(FURTHER.format(n=n) for n in range(policies - 1))
    (folder / "policies/bench.cedar").write_text(text)
    issuer = {"issuer": run.issuer, "audience": bench.AUDIENCE, "groups": "groups", "kind": "workload"}
    function = {"method": "GET", "path": "/json", "durability": durability}
    connection = {
        "protocol": "http",
        "upstream": f"http://127.0.0.1:{run.upstream_port}",
        "route": {"prefix": "/bench"},
        "functions": {"inline": {"json": function}},
        "mask": {"mode": mask, **({"detect": ["contact"]} if mask == "on" else {})},
    }
    config = {
        "listen": [{"address": "127.0.0.1:0"}],
        "data": "./data",
        "identity": {"issuers": {"bench": issuer}},
        "policies": "./policies",
        "connections": {"bench": connection},
    }
    # JSON is YAML.
    path = folder / "callgate.yaml"
    path.write_text(json.dumps(config))
    binary = run.options.binary
    subprocess.run([binary, "--config", path, "init"], check=True, capture_output=True)
    process = run.start(folder.name, [binary, "--config", str(path), "serve"])
    return bench.Target(label, listening(run.folder / f"{folder.name}.log"), "/bench/json", tokens, process)


def listening(log, limit_s=30):
    """The port that the log says calls are taken on."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit_s:
        lines = log.read_text().splitlines()
        if any("callgate is ready" in line for line in lines):
            line = next(json.loads(line) for line in lines if "listening for calls" in line)
            return int(line["address"].rsplit(":", 1)[1])
        time.sleep(0.05)
    raise SystemExit(f"callgate is not ready: {log.read_text()[-2000:]}")
