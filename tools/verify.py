#!/usr/bin/env python3
"""Verifies a Callgate audit log with nothing of Callgate's code: Python's standard library only.
  verify.py proof FILE.tlog-proof --key VKEY [--entry FILE]      an entry is in the log
  verify.py consistency OLD-CHECKPOINT PROOF --key VKEY          the log only grew since OLD-CHECKPOINT
  verify.py tiles DIRECTORY --key VKEY [--since OLD-CHECKPOINT]  every entry, every hash, the signed root
  verify.py checkpoint FILE --key VKEY                           the signature of a checkpoint
VKEY is the log's public key, `name+id+base64`. Instead of it --policy FILE names logs and the witnesses that must
have cosigned (C2SP tlog-policy). DIRECTORY may be a URL. The formats are described in docs/audit-log-format.md.
Exit code: 0 good, 1 tampered with or not in form, 2 incomplete, 64 wrong usage, key or policy."""
import argparse, base64, hashlib, re, sys, urllib.request
NOTE_MAX, SIGNATURES_MAX, TREE_MAX, EXTRA_MAX = 128 * 1024, 16, 2**62, 65535
PROOF_MAX, HASHES_MAX, CHECKPOINT_MAX, NAME_MAX = 96 * 1024 + 63 * 45 + NOTE_MAX, 63, 512, 255
def need(condition, message):  # what is not as it was signed is a ValueError, what is not there an OSError
    if not condition:
        raise ValueError(message)
# --- Ed25519 (RFC 8032 section 5.1), slow and plain: it handles nothing but public values. ---
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
def point_add(a, b):
    s, t, u = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0]), 2 * a[3] * b[3] * D
    e, f, g, h = t - s, 2 * a[2] * b[2] - u, 2 * a[2] * b[2] + u, t + s
    return (e * f % P, g * h % P, f * g % P, e * h % P)
def point_mul(k, point):
    if k < 2:
        return point if k else (0, 1, 1, 0)
    rest = point_mul(k >> 1, point_add(point, point))
    return point_add(rest, point) if k & 1 else rest
def point_read(data):
    y, sign = int.from_bytes(data, "little") & (2**255 - 1), data[31] >> 7
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    x = x if x * x % P == x2 else x * pow(2, (P - 1) // 4, P) % P
    need(y < P and x * x % P == x2 and (x or not sign), "a public key is not a point of the curve")
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)
def ed25519_good(public, message, signature):
    s = int.from_bytes(signature[32:], "little")
    need(len(signature) == 64 and s < L, "a signature is not in form")
    (x, y, z, t), base = point_read(public), point_read(b"\x58" + b"\x66" * 31)
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    x, y, z, t = point_add(point_mul(s, base), point_mul(k, (P - x, y, z, P - t)))
    x, y = x * pow(z, P - 2, P) % P, y * pow(z, P - 2, P) % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]
# --- Texts. Each value has one spelling; any other is refused. ---
def text_of(data, limit, what):
    text, control = data.decode("utf-8"), "[\x00-\x09\x0b-\x1f\x7f-\x9f]"
    need(len(data) <= limit and not re.search(control, text), f"{what}: over {limit} bytes, or a control character")
    return text
def decode64(text, what, size=None):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text and size in (None, len(data)), f"{what}: not the form of base64")
    return data
def decimal(text, what):
    need(re.fullmatch("0|[1-9][0-9]{0,19}", text) and int(text) < 2**64, f"{what}: not a number in its one form")
    return int(text)
class Key:
    """A public key `name+id+base64(type, key)`; type 1 is a log's, type 4 a witness's."""
    def __init__(self, text, kind):
        match = re.fullmatch(r"([^+\s]+)\+([0-9a-f]{8})\+(\S+)", text_of(text.encode(), 512, "a key"))
        need(match, "a key is not of the form name+id+key")
        self.name, data = match[1], decode64(match[3], "a key")
        need(len(data) == 33 and data[0] == kind, f"the key `{self.name}` is not of type {kind}")
        self.kind, self.public = kind, data[1:]
        self.id = sha256(self.name.encode(), b"\n", data)[:4]
        need(self.id.hex() == match[2], f"the id of the key `{self.name}` is not that of its bytes")
    def check(self, text, signature):
        if self.kind == 4:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            need(time < 2**63, f"the cosignature of `{self.name}` carries an impossible time")
            text = f"cosignature/v1\ntime {time}\n{text}"
        need(ed25519_good(self.public, text.encode(), signature), f"the signature of `{self.name}` does not verify")
class Policy:
    """Which logs and which cosignatures make a checkpoint good. Names are octets."""
    def __init__(self, data):
        need(re.fullmatch(rb"[^\x00-\x08\x0b-\x1f\x7f]*\n", data), "policy: unfinished, or a control character")
        self.logs, self.members, quorum, used, names = [], {b"none": None}, [], [], [b"none"]
        for word, *rest in [re.split(rb"[ \t]+", line.strip(b" \t")) for line in data[:-1].split(b"\n")]:
            if word == b"log" and len(rest) in (1, 2):
                self.logs.append(Key(rest[0].decode(), 1))
            elif word == b"witness" and len(rest) in (2, 3):
                names, self.members[rest[0]] = [*names, rest[0]], Key(rest[1].decode(), 4)
            elif word == b"group" and len(rest) > 2:
                used += rest[2:]
                least = {b"all": len(rest) - 2, b"any": 1}.get(rest[1]) or decimal(rest[1].decode(), "a threshold")
                need(0 < least <= len(rest) - 2, "policy: a group needs one to all of its members")
                need(self.members.keys() - {b"none"} >= set(used), "policy: a member that no line before defines")
                names, self.members[rest[0]] = [*names, rest[0]], (least, rest[2:])
            elif word == b"quorum" and len(rest) == 1 and rest[0] in self.members:
                quorum += rest
            else:
                need(word[:1] in (b"", b"#"), "policy: a line is not in form")
        self.witnesses = [key for key in self.members.values() if isinstance(key, Key)]
        for once in names, used, [key.public for key in self.logs], [key.public for key in self.witnesses]:
            need(len(set(once)) == len(once), "policy: a name, a member or a key stands there twice")
        need(len(quorum) == 1, "policy: not exactly one quorum")
        self.quorum = quorum[0]
    def met(self, name, seen):
        member = self.members[name]
        least, of = member if isinstance(member, tuple) else (None, ())
        return sum(self.met(one, seen) for one in of) >= least if of else member is None or member in seen
def checkpoint(data, policy):
    """Verifies a signed checkpoint; returns the size and the root that the log has signed."""
    note = text_of(data, NOTE_MAX, "checkpoint")
    text, found, lines = note.rpartition("\n\n")
    text, lines, seen, signed = text + "\n", lines.split("\n"), [], []
    need(found and lines.pop() == "" and 0 < len(lines) <= SIGNATURES_MAX, "checkpoint: not a signed note")
    for line in lines:
        match = re.fullmatch(r"— ([^+\s]+) (\S+)", line)
        need(match and len(match[1].encode()) <= NAME_MAX, "checkpoint: a signature line is not in form")
        signed.append((match[1], decode64(match[2], "a signature")[:4], decode64(match[2], "a signature")[4:]))
        need(signed[-1][2], "a signature is too short")
    parts = text.split("\n")
    logs = [key for key in policy.logs if key.name == parts[0]]
    need(logs, f"the checkpoint is of log `{parts[0]}`, of which no key is given")
    log = ([key for key in logs if any(one[:2] == (key.name, key.id) for one in signed)] or logs)[0]
    for key, one in [(key, one) for key in (log, *policy.witnesses) for one in signed]:
        if one[:2] == (key.name, key.id):
            need(key not in seen, f"`{key.name}` signed twice")
            key.check(text, one[2])
            seen.append(key)
    need(log in seen, f"there is no signature of `{log.name}`")
    need(policy.met(policy.quorum, seen), f"only {len(seen) - 1} witnesses have cosigned: not the policy's quorum")
    need(len(parts) == 4 and len(text.encode()) <= CHECKPOINT_MAX, "checkpoint: not exactly three lines")
    size, root = decimal(parts[1], "tree size"), decode64(parts[2], "the root", 32)
    need(size <= TREE_MAX and (size > 0 or root == tree_hash([])), "no tree of that size has that root")
    return size, root
# --- The tree (RFC 6962 section 2.1), by its recursive definition. ---
def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()
def tree_hash(leaves):
    while len(leaves) > 1:  # the last one of an odd row moves up as it is
        pairs = [leaves[i : i + 2] for i in range(0, len(leaves), 2)]
        leaves = [sha256(b"\1", *pair) if pair[1:] else pair[0] for pair in pairs]
    return leaves[0] if leaves else sha256()
def root_by_path(leaf, index, size, path):
    need(bool(path) == (size > 1), "the proof has not the right number of hashes")
    if size == 1:
        return leaf
    middle = 1 << (size - 1).bit_length() - 1
    if index < middle:
        return sha256(b"\1", root_by_path(leaf, index, middle, path[:-1]), path[-1])
    return sha256(b"\1", path[-1], root_by_path(leaf, index - middle, size - middle, path[:-1]))
def roots_by_path(old, new, old_root, path):
    """The roots of both trees; `old_root` is None where the old tree is only a part of this one."""
    if old == new:
        need(len(path) == (old_root is None), "the proof has not the right number of hashes")
        return (old_root or path[0],) * 2
    need(path, "the proof has too few hashes")
    middle = 1 << (new - 1).bit_length() - 1
    if old <= middle:
        older, newer = roots_by_path(old, middle, old_root, path[:-1])
        return older, sha256(b"\1", newer, path[-1])
    older, newer = roots_by_path(old - middle, new - middle, None, path[:-1])
    return sha256(b"\1", path[-1], older), sha256(b"\1", path[-1], newer)
# --- What can be verified. ---
def read(*path):
    path = "/".join(path)
    with urllib.request.urlopen(path) if re.match("https?://", path) else open(path, "rb") as file:
        return file.read()
def read_proof(path, header, fields):
    """A proof file: the values of its named lines, its hashes, and the checkpoint after the empty line."""
    head, found, rest = text_of(read(path), PROOF_MAX, "proof").partition("\n\n")
    need(found and head.startswith(header), "not a proof of this kind")
    lines, values = head[len(header) :].split("\n"), []
    for name in fields:
        present = lines and lines[0].startswith(name + " ")
        need(present or name == "extra", f"the proof has no `{name}` line")
        values.append(lines.pop(0)[len(name) + 1 :] if present else None)
    need(len(lines) <= HASHES_MAX, "the proof has too many hashes")
    return values, [decode64(line, "a hash", 32) for line in lines], rest.encode()
def verify_proof(file, args, trust):
    (extra, index), path, note = read_proof(file, "c2sp.org/tlog-proof@v1\n", ["extra", "index"])
    index, entry = decimal(index, "index"), None if extra is None else decode64(extra, "extra data")
    need(entry is None or len(entry) <= EXTRA_MAX, "extra data: too long")
    size, root = checkpoint(note, trust)
    entry = read(args.entry) if args.entry else entry
    if entry is None:
        raise OSError("the proof carries no entry: give it with --entry")
    good = index < size and root_by_path(sha256(b"\0", entry), index, size, path) == root
    need(good, f"entry {index} is not what the log of {size} entries holds")
    return f"entry {index} is in the log of {size} entries"
def verify_consistency(old, file, _, trust):
    old_size, old_root = checkpoint(read(old), trust)
    (stated,), path, note = read_proof(file, "", ["old"])
    size, root = checkpoint(note, trust)
    need(decimal(stated, "old size") == old_size <= size, f"the proof does not lead from {old_size} to {size}")
    good = not path if old_size == 0 else roots_by_path(old_size, size, old_root, path) == (old_root, root)
    need(good, f"what lies below {old_size} was changed since the old checkpoint")
    return f"the log of {size} entries begins with the {old_size} of the old checkpoint"
def read_tile(directory, layer, index, width):
    """Path and bytes of a tile, and how many places it has: a full one may stand for a partial one."""
    groups = re.findall("...", str(index).zfill(-(-len(str(index)) // 3) * 3))
    full = "/".join(["tile", layer, *("x" + group for group in groups[:-1]), groups[-1]])
    path = f"{full}.p/{width}" if width < 256 else full
    try:
        return path, read(directory, path), width
    except OSError:
        return full, read(directory, full), 256
def read_bundle(directory, index, width):
    path, bundle, places = read_tile(directory, "entries", index, width)
    leaves, at = [], 0
    for _ in range(places):
        start, at = at + 2, at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        need(max(start, at) <= len(bundle), f"`{path}` ends within an entry")
        leaves.append(sha256(b"\0", bundle[start:at]))
    need(at == len(bundle), f"`{path}` goes on after its last entry")
    return leaves[:width]
def verify_tiles(directory, args, trust):
    size, root = checkpoint(read(directory, "checkpoint"), trust)
    old_size, old_root = checkpoint(read(args.since), trust) if args.since else (0, tree_hash([]))
    starts = range(0, size, 256)
    leaves = [leaf for at in starts for leaf in read_bundle(directory, at // 256, min(256, size - at))]
    row, level = leaves, 0
    while row:
        for at in range(0, len(row), 256):
            path, data, places = read_tile(directory, str(level), at // 256, min(256, len(row) - at))
            need(len(data) == places * 32, f"`{path}` has not {places} hashes")
            for place, value in enumerate(row[at : at + 256], at):
                need(data[(place - at) * 32 :][:32] == value, f"`{path}` does not fit entry {place << (8 * level)}")
        row, level = [tree_hash(row[at : at + 256]) for at in range(0, len(row) - 255, 256)], level + 1
    need(tree_hash(leaves) == root, f"the {size} entries do not give the signed root")
    if old_size > size:
        raise OSError(f"the log has {size} entries, the old checkpoint covers {old_size}")
    need(tree_hash(leaves[:old_size]) == old_root, f"the first {old_size} entries are not the old checkpoint's")
    return f"all {size} entries fit the signed checkpoint, and the first {old_size} the one that was held"
COMMANDS = {
    "proof": (verify_proof, 1), "consistency": (verify_consistency, 2), "tiles": (verify_tiles, 1),
    "checkpoint": (lambda file, _, trust: f"the log signed {checkpoint(read(file), trust)[0]} entries", 1)}
def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("files", nargs="+")
    [parser.add_argument(option) for option in ("--key", "--policy", "--entry", "--since")]
    try:
        args = parser.parse_args(argv)
        run, count = COMMANDS[args.command]
        if len(args.files) != count or bool(args.key) == bool(args.policy):
            parser.error(f"{args.command} takes {count} file(s), and either --key or --policy")
        trust = Policy(read(args.policy) if args.policy else f"log {args.key}\nquorum none\n".encode())
    except (SystemExit, ValueError, OSError) as ended:  # argparse would end with 2, which means incomplete here
        isinstance(ended, SystemExit) or print("UNUSABLE:", ended)
        return 64 if getattr(ended, "code", 1) else 0
    try:
        print("OK:", run(*args.files, args, trust))
        return 0
    except (ValueError, OSError) as fault:
        print("INCOMPLETE:" if isinstance(fault, OSError) else "TAMPERED:", fault)
        return 2 if isinstance(fault, OSError) else 1
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
