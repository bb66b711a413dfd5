#!/usr/bin/env python3
"""A second verifier of the log, written from docs/audit-format.md alone. It shares no code with the product.

    verify.py --key log.pub.pem [--anchors checkpoints.txt ...] FILE

FILE is a bundle, an export as JSON lines (with --anchors), a proof of one entry, or a proof of consistency. It prints
"ok ENTRIES ROOT", or "BAD seq=N REASON" and exits 1. A bundle of a filtered export that is genuine prints
"genuine ENTRIES of SIZE ROOT; completeness not shown" (exit 1 with --require-complete). It needs Python 3.8 or newer,
and no package beyond it.
"""
import argparse
import base64
import datetime
import hashlib
import json
import re
import sys
import zipfile


class Bad(Exception):
    """The first position that is wrong, and why."""

    def __init__(self, seq, reason):
        super().__init__("BAD seq=%d %s" % (seq, reason))


# --- Ed25519 (RFC 8032 §5.1.7): verification of one signature, in whole numbers.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def x_of(y, sign):
    if y >= P:
        return None
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - xx) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def point(b):
    number = int.from_bytes(b, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    x = x_of(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, p):
    out = (0, 1, 1, 0)
    while n:
        if n & 1:
            out = add(out, p)
        p, n = add(p, p), n >> 1
    return out


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (x_of(BASE_Y, 0), BASE_Y, 1, x_of(BASE_Y, 0) * BASE_Y % P)


def signed_by(public, message, signature):
    a, r, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- Key, checkpoints.


def read_key(path):
    text = open(path, encoding="ascii").read()
    body = re.search(r"-----BEGIN PUBLIC KEY-----(.*)-----END PUBLIC KEY-----", text, re.S).group(1)
    der = base64.b64decode(body)
    prefix = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of an Ed25519 key
    if len(der) != 44 or not der.startswith(prefix):
        sys.exit("the key is not an Ed25519 public key")
    return der[12:]


def origin(public):
    return "arauto/" + hashlib.sha256(public).hexdigest()[:16]


class Checkpoint:
    def __init__(self, note, public):
        text, _, signatures = note.partition("\n\n")
        text += "\n"
        name = origin(public)
        key_id = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
        for line in signatures.splitlines():
            mark, who, sig = (line.split(" ") + ["", ""])[:3]
            if mark == "—" and who == name:
                raw = base64.b64decode(sig)
                if raw[:4] == key_id and signed_by(public, text.encode(), raw[4:]):
                    break
        else:
            raise ValueError("not signed with this key")
        lines = text.split("\n")
        if len(lines) != 6 or lines[0] != name or not re.fullmatch(r"time \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", lines[3]) or not re.fullmatch(r"skew -?\d+us", lines[4]):
            raise ValueError("not a checkpoint of this log")
        self.size, self.root, self.at = int(lines[1]), base64.b64decode(lines[2]), lines[3][5:]


def split_notes(text):
    return [n.strip("\n") + "\n" for n in re.findall(r"\n*([^\n]+\n(?:[^\n]+\n)*\n(?:— [^\n]*\n)+)", text)]


def read_checkpoints(text, public):
    out = []
    for note in split_notes(text):
        try:
            out.append(Checkpoint(note, public))
        except ValueError as why:
            raise Bad(out[-1].size if out else 0, "checkpoint %d: %s" % (len(out) + 1, why))
    return out


# --- Tree (RFC 6962 §2.1).


def leaf_of(record):
    return hashlib.sha256(b"\x00" + record).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """One hash for each bit set in the number of leaves."""

    def __init__(self):
        self.size, self.stack = 0, []

    def copy(self):
        out = Tree()
        out.size, out.stack = self.size, list(self.stack)
        return out

    def append(self, leaf):
        n = self.size
        while n & 1:
            leaf, n = node(self.stack.pop(), leaf), n >> 1
        self.stack.append(leaf)
        self.size += 1

    def root(self):
        if not self.stack:
            return hashlib.sha256(b"").digest()
        h = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            h = node(left, h)
        return h


def root_by_path(leaf, seq, size, path):
    """RFC 9162 §2.1.3.2; None when the path has the wrong length."""
    if seq >= size:
        return None
    fn, sn, r = seq, size - 1, leaf
    for p in path:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = node(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    return r if sn == 0 else None


def consistent(path, first, first_root, second, second_root):
    """RFC 9162 §2.1.4.2."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    path = list(path)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr == first_root and sr == second_root and sn == 0


# --- Lines, proofs, bundles.

LINE = re.compile(rb'(\{"v":1,"seq":(0|[1-9]\d*),.*),"leaf":"([A-Za-z0-9+/]{43}=)"\}', re.S)
REMOVED = re.compile(rb'\{"v":1,"seq":\d+,"at":"(\d{4})-(\d\d)-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"')


def read_line(line, seq):
    m = LINE.fullmatch(line)
    if not m:
        raise Bad(seq, "not a line of an export")
    return int(m.group(2)), m.group(1) + b"}", base64.b64decode(m.group(3)), REMOVED.fullmatch(m.group(1))


def verify_lines(lines, checkpoints):
    waiting = sorted(checkpoints, key=lambda c: c.size)
    tree, beside, differs, good = Tree(), None, None, 0
    removed, dropped = {}, []

    def fault(seq, reason):
        return Bad(differs, "the entry is not the leaf beside it") if differs is not None and differs < seq else Bad(seq, reason)

    def compare():
        nonlocal good, waiting
        while waiting and waiting[0].size == tree.size:
            c = waiting.pop(0)
            if c.root != tree.root():
                if beside is not None and beside.root() == c.root:
                    raise Bad(differs, "the entry is not what was signed at " + c.at)
                raise Bad(good, "the entries from %d to %d are not what was signed at %s" % (good, c.size - 1, c.at))
            if beside is not None:
                raise Bad(differs, "the leaf beside the entry is not the entry's")
            good = c.size

    compare()
    for line in lines:
        line = line.rstrip(b"\n")
        seq, record, leaf, gone = read_line(line, tree.size)
        if seq != tree.size:
            raise fault(tree.size, "missing or out of order")
        if gone:
            month = "entry_%s%s" % (gone.group(1).decode(), gone.group(2).decode())
            first, _, count = removed.get(month, (seq, seq, 0))
            removed[month] = (first, seq, count + 1)
            mine = leaf
        else:
            mine = leaf_of(record)
            if b',"kind":"retention",' in record[:256]:
                dropped = json.loads(record)["facts"].get("dropped") or []
        if beside is None and mine != leaf:
            differs, beside = seq, tree.copy()
        if beside is not None:
            beside.append(leaf)
        tree.append(mine)
        compare()
    for month, (first, last, count) in sorted(removed.items(), key=lambda r: r[1]):
        told = [d for d in dropped if d["partition"] == month]
        if not told or (told[0]["first"], told[0]["last"], told[0]["entries"]) != (first, last, count):
            raise fault(first, "missing, and the log does not say that %s was removed so" % month)
        year, number = int(month[6:10]), int(month[10:12])
        end = datetime.datetime(year + 5 + number // 12, number % 12 + 1, 1)
        if datetime.datetime.strptime(told[0]["droppedAt"][:19], "%Y-%m-%dT%H:%M:%S") < end:
            raise fault(first, "missing: %s was removed before its time was over" % month)
    if waiting:
        raise fault(tree.size, "the end is cut off: %d entries were signed" % waiting[-1].size)
    if good != tree.size:
        raise fault(good, "no checkpoint covers the entries from %d on" % good)
    if tree.size == 0:
        raise Bad(0, "the log is empty: nothing is sealed, so nothing is proven")
    return tree.size, tree.root()


def verify_bundle(path, public, anchors):
    archive = zipfile.ZipFile(path)
    manifest = json.loads(archive.read("manifest.json"))
    if manifest.get("format") != "arauto-bundle/1" or manifest["log"] != origin(public):
        raise Bad(0, "not a bundle of this log")
    checkpoints = read_checkpoints(archive.read("checkpoints.txt").decode(), public)
    head = checkpoints[-1] if checkpoints else None
    if head is None or head.size != manifest["size"] or base64.b64decode(manifest["root"]) != head.root:
        raise Bad(0, "the manifest is not about the last checkpoint")
    if not manifest["filter"]:
        with archive.open("entries.jsonl") as lines:
            verdict = verify_lines(lines, checkpoints + [a for a in anchors if a.size <= head.size])
    else:
        verdict = verify_some(archive, manifest, head)
    known = {"manifest.json"}
    for f in manifest["files"]:
        known.add(f["name"])
        content = archive.read(f["name"])
        if len(content) != f["bytes"] or hashlib.sha256(content).hexdigest() != f["sha256"]:
            raise Bad(0, "the sum of %s is not the manifest's" % f["name"])
    if known != set(archive.namelist()):
        raise Bad(0, "the manifest does not know every file")
    return verdict


def verify_some(archive, manifest, head):
    n, last = 0, -1
    if manifest["entries"]:
        with archive.open("entries.jsonl") as lines, archive.open("proofs.jsonl") as proofs:
            for line, proof in zip(lines, proofs):
                seq, record, leaf, _ = read_line(line.rstrip(b"\n"), max(last, 0))
                proof = json.loads(proof)
                if seq <= last or proof["seq"] != seq:
                    raise Bad(max(last, 0), "after it there is something that is not a record in order")
                n, last = n + 1, seq
                path = [base64.b64decode(h) for h in proof["path"]]
                if root_by_path(leaf_of(record), seq, head.size, path) != head.root or leaf != leaf_of(record):
                    raise Bad(seq, "the record is not what was signed at " + head.at)
    if n != manifest["entries"]:
        raise Bad(max(last, 0), "the manifest speaks of %d entries, %d are here" % (manifest["entries"], n))
    return n, head.root, head.size


def verify_proof(text, public):
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    record, seq = base64.b64decode(lines[1].split(" ")[1]), int(lines[2].split(" ")[1])
    c = read_checkpoints(note, public)[0]
    if not record.startswith(b'{"v":1,"seq":%d,' % seq):
        raise Bad(seq, "the record has another position")
    if root_by_path(leaf_of(record), seq, c.size, [base64.b64decode(h) for h in lines[3:]]) != c.root:
        raise Bad(seq, "the record is not what was signed at " + c.at)
    return 1, c.root


def verify_consistency(text, public):
    head, _, notes = text.partition("\n\n")
    old, new = read_checkpoints(notes, public)
    if not consistent([base64.b64decode(h) for h in head.split("\n")[1:] if h], old.size, old.root, new.size, new.root):
        raise Bad(0, "the %d entries of %s are not the first of the %d of %s" % (old.size, old.at, new.size, new.at))
    return new.size, new.root


def main():
    p = argparse.ArgumentParser(description="Verify what arauto audit export and proof wrote.")
    p.add_argument("file")
    p.add_argument("--key", required=True)
    p.add_argument("--anchors", action="append", default=[])
    p.add_argument("--require-complete", action="store_true", help="exit 1 unless a filtered bundle is proven to be complete")
    o = p.parse_args()
    public = read_key(o.key)
    try:
        anchors = [c for a in o.anchors for c in read_checkpoints(open(a, encoding="utf-8").read(), public)]
        with open(o.file, "rb") as f:
            start = f.read(64)
        if start.startswith(b"PK"):
            verdict = verify_bundle(o.file, public, anchors)
        elif start.startswith(b"c2sp.org/tlog-proof@v1\n"):
            verdict = verify_proof(open(o.file, encoding="utf-8").read(), public)
        elif start.startswith(b"arauto-consistency/1\n"):
            verdict = verify_consistency(open(o.file, encoding="utf-8").read(), public)
        elif not anchors:
            sys.exit("records alone prove nothing; name checkpoints with --anchors")
        else:
            with open(o.file, "rb") as lines:
                verdict = verify_lines(lines, anchors)
    except Bad as bad:
        print(bad)
        sys.exit(1)
    except (ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as why:
        print("BAD seq=0 the file cannot be read: %r" % why)
        sys.exit(1)
    root = base64.b64encode(verdict[1]).decode()
    if len(verdict) == 2:
        print("ok", verdict[0], root)
        return
    print("genuine %d of %d %s; completeness not shown" % (verdict[0], verdict[2], root))
    sys.exit(1 if o.require_complete else 0)


if __name__ == "__main__":
    main()
