#!/usr/bin/env python3
"""A second verifier of the log, written from docs/audit-format.md alone. It shares no code with the product.

    verify.py --key log.pub.pem [--anchors checkpoints.txt ...] [--policy witnesses.txt] FILE

FILE is a bundle, an export as JSON lines (without a filter, with --anchors), a proof of one entry, or a proof of consistency. A PDF is
not judged (exit code 2): of a dossier, save the attachment bundle.zip; a report proves nothing. It prints
"ok ENTRIES ROOT", or "BAD seq=N REASON" and exits 1. A bundle of a filtered export that is genuine prints
"genuine ENTRIES of SIZE ROOT; completeness not shown" (exit 1 with --require-complete), or "ok ENTRIES ROOT; complete"
where it has everything of its clients in its period. With --policy, notes say which witnesses vouched for how many entries,
until when, and it is BAD when no checkpoint has the cosignatures that the policy demands, or the newest one was signed more than
--witnessed-within (1h) after what they vouched until. Notes stand before that, on standard error. It needs Python 3.8 or newer,
and no package beyond it.
"""
import argparse
import base64
import datetime
import functools
import hashlib
import json
import re
import sys
import struct
import time
import zipfile
import zlib


class Bad(Exception):
    """The first position that is wrong, and why."""

    def __init__(self, seq, reason):
        super().__init__("BAD seq=%d %s" % (seq, reason))
        self.seq = seq



def unb64(text):
    """The bytes of a text in base64, which must be written in the one way in which base64 writes them."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not written as base64 writes it")
    return raw


def unhash(text):
    raw = unb64(text)
    if len(raw) != 32:
        raise ValueError("not a hash")
    return raw


def is_count(n):
    return type(n) is int and n >= 0


def read_json(raw):
    """JSON in UTF-8; json.loads also guesses other encodings."""
    return json.loads(raw.decode("utf-8"))


def read_path(path):
    """The hashes of a path, which may be absent."""
    must(path is None or isinstance(path, list))
    return [unhash(h) for h in path or []]


def must(fine):
    if not fine:
        raise ValueError("not the form that docs/audit-format.md describes")

# --- Ed25519 (RFC 8032 §5.1.7): verification of one signature, in whole numbers.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)  # a square root of -1


def x_of(y, sign):
    if y >= P:
        return None
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * I % P
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


def doublings(p):
    """The point times 1, 2, 4 and so on up to 2**255."""
    out = [p]
    while len(out) < 256:
        out.append(add(out[-1], out[-1]))
    return out


def times(n, doubled):
    """n, below 2**256, times the point whose doublings are given."""
    out = (0, 1, 1, 0)
    for p in doubled:
        if n & 1:
            out = add(out, p)
        n >>= 1
    return out


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = doublings((x_of(BASE_Y, 0), BASE_Y, 1, x_of(BASE_Y, 0) * BASE_Y % P))


@functools.lru_cache(maxsize=16)
def key_of(public):
    """The doublings of a public key, None when it is no point. The few keys of a log and its witnesses sign many times."""
    a = point(public)
    return None if a is None else doublings(a)


def signed_by(public, message, signature):
    a, r, s = key_of(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- Key, checkpoints.


def read_key(path):
    body = re.search(b"-----BEGIN PUBLIC KEY-----(.*)-----END PUBLIC KEY-----", open(path, "rb").read(), re.S)
    if body is None:
        raise ValueError(path + " has no public key in PEM (-----BEGIN PUBLIC KEY-----)")
    der = base64.b64decode(body.group(1))
    prefix = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of an Ed25519 key
    if len(der) != 44 or not der.startswith(prefix):
        raise ValueError("the key in " + path + " is not an Ed25519 public key")
    return der[12:]


def origin(public):
    return "arauto/" + hashlib.sha256(public).hexdigest()[:16]


BASE64 = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def read_note(note):
    """The text of a signed note (C2SP signed-note), and of each signature the name, the bytes, and whether its base64 is canonical."""
    text, _, lines = note.partition("\n\n")
    lines, out = lines.split("\n"), []
    if lines.pop() != "" or len(lines) > 100 or any(c < " " and c != "\n" for c in note):
        raise ValueError("malformed note")
    for line in lines:
        who, _, sig = line[2:].partition(" ")
        if line[:2] != "\u2014 " or not who or "+" in who or any(c.isspace() for c in who) or not BASE64.fullmatch(sig):
            raise ValueError("malformed note")
        raw = base64.b64decode(sig)
        if len(raw) < 5:
            raise ValueError("malformed note")
        out.append((who, raw, base64.b64encode(raw).decode() == sig))
    return text + "\n", out


def signed_text(note, public):
    """The text of a signed note, once its signature is verified."""
    text, signatures = read_note(note)
    name = origin(public)
    own = [s for s in signatures if s[0] == name and s[1][:4] == key_id(name, 1, public)]
    if not own or not own[0][2] or not signed_by(public, text.encode(), own[0][1][4:]):
        raise ValueError("not signed with this key")
    return text


class Checkpoint:
    def __init__(self, note, public):
        lines, name = signed_text(note, public).split("\n"), origin(public)
        if len(lines) != 6 or lines[0] != name or not re.fullmatch(r"time \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", lines[3], re.ASCII) or not re.fullmatch("skew -?[0-9]+us", lines[4]):
            raise ValueError("not a checkpoint of this log")
        self.size, self.root, self.at, self.note = int(lines[1]), unhash(lines[2]), lines[3][5:], note


def split_notes(text):
    """The notes of a text, with empty lines between them; what is no note is an error."""
    out, at, one = [], 0, re.compile(r"[^\n]+\n(?:[^\n]+\n)*\n(?:— [^\n]*\n)+")
    while True:
        while text[at:at + 1] == "\n":
            at += 1
        if at == len(text):
            return out
        m = one.match(text, at)
        if not m:
            raise Bad(0, "after %d checkpoints there is something that is none" % len(out))
        out.append(m.group(0))
        at = m.end()


def read_checkpoints(text, public):
    out = []
    for note in split_notes(text):
        try:
            out.append(Checkpoint(note, public))
        except ValueError as why:
            raise Bad(out[-1].size if out else 0, "checkpoint %d: %s" % (len(out) + 1, why))
    return out


# --- Witnesses (C2SP tlog-policy, tlog-cosignature).


def key_id(name, kind, key):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def read_vkey(text, kind):
    name, hashed, key = text.split("+", 2)
    raw = unb64(key)
    if not name or len(raw) != 33 or raw[0] != kind or key_id(name, kind, raw[1:]).hex() != hashed:
        raise ValueError("not a verifier key of type %d" % kind)
    return name, raw[1:]


EPOCH = datetime.datetime(1970, 1, 1)
AHEAD = 300  # seconds that the clock of a witness may be ahead of ours


def stamp(seconds):
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "%d seconds after 1970" % seconds


def moment(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


def read_duration(text):
    """Seconds of 1h, 90m, 1h30m0s."""
    m = re.fullmatch("(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?", text)
    if not m or not any(m.groups()):
        raise argparse.ArgumentTypeError("%r is not a time; use one such as 1h or 90m" % text)
    return sum(int(n or 0) * unit for n, unit in zip(m.groups(), (3600, 60, 1)))


class Policy:
    def __init__(self, path, within):
        self.within = within
        self.logs, self.witnesses, self.groups, self.quorum = [], {}, {}, None
        members = set()
        with open(path, encoding="utf-8", newline="\n") as f:
            for line in f:
                words = re.split("[ \t]+", line.rstrip("\n").strip(" \t"))
                if words == [""] or words[0].startswith("#"):
                    continue
                self.line(words, members)
        if self.quorum is None:
            raise ValueError("no quorum")

    def line(self, words, members):
        kind, words = words[0], words[1:]
        if kind == "log" and len(words) in (1, 2):
            key = read_vkey(words[0], 1)
            if any(key[1] == known[1] for known in self.logs):
                raise ValueError("a second log with the same key")
            self.logs.append(key)
        elif kind == "witness" and len(words) in (2, 3):
            key = read_vkey(words[1], 4)
            if self.taken(words[0]) or any(key[1] == known[1] for known in self.witnesses.values()):
                raise ValueError("a second witness with the same name or key")
            self.witnesses[words[0]] = key
        elif kind == "group" and len(words) >= 3:
            name, number, of = words[0], words[1], words[2:]
            least = {"all": len(of), "any": 1}.get(number) or int(number)
            if self.taken(name) or not 1 <= least <= len(of):
                raise ValueError("group " + name)
            for m in of:
                if m in members or m == "none" or not self.taken(m):
                    raise ValueError("member " + m)
                members.add(m)
            self.groups[name] = (least, of)
        elif kind == "quorum" and len(words) == 1 and self.quorum is None and self.taken(words[0]):
            self.quorum = words[0]
        else:
            raise ValueError("line " + kind)

    def taken(self, name):
        return name == "none" or name in self.witnesses or name in self.groups

    def reached(self, name, by):
        if name == "none":
            return True
        if name in self.groups:
            least, of = self.groups[name]
            return sum(self.reached(m, by) for m in of) >= least
        return name in by

    def vouched(self, note):
        """By name, until when the witnesses of the policy vouched; the log's signature is verified before."""
        text, signatures = read_note(note)
        by = {}
        for who, raw, canonical in signatures:
            for name, (key_name, key) in self.witnesses.items():
                if who != key_name or raw[:4] != key_id(key_name, 4, key) or name in by:
                    continue
                at = int.from_bytes(raw[4:12], "big")
                if not canonical or len(raw) != 76 or not 0 < at < 1 << 63 or not signed_by(key, b"cosignature/v1\ntime %d\n" % at + text.encode(), raw[12:]):
                    raise ValueError("a cosignature of witness %s does not verify" % name)
                by[name] = at
        return by

    def confirm(self, checkpoints, size, root, whole, losses, public):
        """Prints who vouched for how many entries, until when; Bad when the quorum of the policy is not reached."""
        if self.logs and (origin(public), public) not in self.logs:
            raise Bad(0, "the policy names other logs")
        if self.quorum == "none":
            return note("the policy demands no witness")
        fit = [c for c in checkpoints if c.note.count("\n\u2014 ") > 1 and (
            (c.size, c.root) == (size, root) or whole and c.size < size and not any(loss.admits(c) for loss in losses))]
        for n in sorted({c.size for c in fit}, reverse=True):
            by, first = {}, None
            for c in fit:
                if c.size != n:
                    continue
                try:
                    said = self.vouched(c.note)
                except ValueError as why:
                    raise Bad(n, "the checkpoint: %s" % why)
                first = first or c
                if (c.root, c.at) == (first.root, first.at):
                    for name, at in said.items():
                        by[name] = max(at, by.get(name, 0))
            if not self.reached(self.quorum, by):
                continue
            until, left = max(t for t in by.values() if self.reached(self.quorum, {w for w, at in by.items() if at >= t})), size - n
            signed = max([c.at for c in checkpoints if (c.size, c.root) == (size, root)])
            if left and (moment(signed) - EPOCH).total_seconds() - until > self.within:
                raise Bad(n, "nobody vouched for the last %d entries: the witnesses vouched until %s, and the newest checkpoint is of %s" % (left, stamp(until), signed))
            if until > time.time() + AHEAD:
                raise Bad(0, "the witnesses vouched until %s, which is yet to come: compare their clocks with this one" % stamp(until))
            for name in self.witnesses:
                if name in by:
                    note("witness %s vouched for the first %d entries until %s" % (name, n, stamp(by[name])))
                else:
                    note("witness %s did not vouch for the first %d entries" % (name, n))
            if left:
                note("nobody vouched for the last %d entries" % left)
            return None
        raise Bad(0, "no checkpoint of it has the cosignatures that the policy demands: witnesses did not vouch for it")


# --- Anchor files: what is no checkpoint of this log is passed over and told.

NOTE_START = re.compile(rb"arauto/[0-9a-f]{16}\n")
SIGNATURES = re.compile(rb"(?:\xe2\x80\x94 [^\n]*\n)*")
BLANKS = b" \t\r\n"


def note_length(text):
    """How long the signed note is that a text begins with; 0 when its signatures are missing or break off."""
    middle = text.find(b"\n\n\xe2\x80\x94 ")
    end = SIGNATURES.match(text, middle + 2).end() if middle >= 0 else 0
    return end if end > middle + 2 else 0


def read_anchor_file(name, public):
    """The checkpoints of a log in a file that an anchor kept."""
    with open(name, "rb") as f:
        text = f.read()
    own, good, foreign = origin(public).encode() + b"\n", [], []

    def passed(start, end, taken):
        piece = text[start:end].lstrip(BLANKS)
        start, piece = end - len(piece), piece.rstrip(BLANKS)
        if not piece:
            return
        if foreign and foreign[-1][2] == taken and not text[foreign[-1][1]:start].strip(BLANKS):
            foreign[-1][1] = start + len(piece)
        else:
            foreign.append([start, start + len(piece), taken])

    begins = [(m.start(), m.end()) for m in NOTE_START.finditer(text)]
    passed(0, begins[0][0] if begins else len(text), "it is no checkpoint")
    for i, (start, after) in enumerate(begins):
        end = begins[i + 1][0] if i + 1 < len(begins) else len(text)
        signed = start + note_length(text[start:end])
        if text[start:after] != own:
            signed = max(signed, after)
            passed(start, signed, "a checkpoint of another log, " + text[start:after - 1].decode())
        elif signed == start:
            passed(start, end, "a checkpoint of this log that breaks off")
            continue
        else:
            try:
                good.append(Checkpoint(text[start:signed].decode(), public))
            except ValueError:
                passed(start, signed, "a note in the name of this log that is not signed with its key, or that is no checkpoint")
        passed(signed, end, "it is no checkpoint")
    line, at = 1, 0
    for n, (start, end, taken) in enumerate(foreign):
        line, at = line + text.count(b"\n", at, start), start
        if n < 20:
            note("--anchors: %s: line %d: %d bytes in %d lines are passed over: %s" % (name, line, end - start, 1 + text.count(b"\n", start, end), taken))
    if len(foreign) > 20:
        note("--anchors: %s: and %d more pieces, the last at line %d, are passed over" % (name, len(foreign) - 20, line))
    if not good:
        print("--anchors: %s: it has no checkpoint of this log, so nothing is compared" % name, file=sys.stderr)
        sys.exit(2)
    return good


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
REMOVED = re.compile(rb'\{"v":1,"seq":\d+,"at":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"')
RECORD_MONTH = re.compile(rb',"at":"(.{7})')


def read_line(line, seq):
    m = LINE.fullmatch(line)
    if not m:
        raise Bad(seq, "not a line of an export")
    try:
        leaf = unhash(m.group(3).decode())
    except ValueError:
        raise Bad(seq, "not a line of an export")
    return int(m.group(2)), m.group(1) + b"}", leaf, REMOVED.fullmatch(m.group(1))


def parse_time(stamp):
    return datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ")


def five_years_after(t):
    try:
        return t.replace(year=t.year + 5)
    except ValueError:  # 29 February
        return t.replace(year=t.year + 5, month=3, day=1)


class Removal:
    """What an entry of kind retention says in its facts."""

    def __init__(self, facts):
        self.partition, self.first, self.last, self.entries = facts["partition"], facts["first"], facts["last"], facts["entries"]
        self.digest = unhash(facts["digest"])
        m = re.fullmatch("entry_([0-9]{4})(0[1-9]|1[0-2])", self.partition)
        numbers = (self.first, self.last, self.entries)
        if not m or len(self.digest) != 32 or not all(type(n) is int for n in numbers) or not 0 <= self.first <= self.last or not 1 <= self.entries <= self.last - self.first + 1:
            raise ValueError("not a removal")
        self.month = "%s-%s" % m.groups()
        year, month = int(m.group(1)), int(m.group(2))
        self.ends = datetime.datetime(year + month // 12, month % 12 + 1, 1)
        self.key = (self.partition, self.first, self.last, self.entries, self.digest)


STATED = []  # statements of loss that were met


class Loss:
    """A statement that published entries are lost, signed with the log's key."""

    def __init__(self, note, public):
        text, name = signed_text(note, public), origin(public)
        lines = text.split("\n")[:-1]
        if len(lines) < 7 or lines[0] != name or lines[1] != "loss":
            raise ValueError("not a statement of loss")
        kept = re.fullmatch(r"kept ([0-9]+) (\S+)", lines[2])
        lost = [re.fullmatch(r"published ([0-9]+) (\S+) (\S+)", line) for line in lines[3:-3]]
        end = [line.split(" ", 1) for line in lines[-3:]]
        if not kept or not all(lost) or [e[0] for e in end] != ["time", "by", "reason"]:
            raise ValueError("not a statement of loss")
        self.kept = int(kept.group(1))
        STATED.append(self)
        self.lost = [(int(m.group(1)), unhash(m.group(2)), parse_time(m.group(3))) for m in lost]
        self.note = "the positions %d to %d as they were published are lost: %s (stated by %s at %s)" % (
            self.kept, max(size for size, _, _ in self.lost) - 1, end[2][1], end[1][1], end[0][1])

    def admits(self, c):
        return any(c.size > self.kept and parse_time(c.at) <= at and (c.size < size or c.size == size and c.root == root) for size, root, at in self.lost)


HOUR = datetime.timedelta(hours=1)


class Missing:
    """What is missing of one month."""

    def __init__(self, first):
        self.first, self.last, self.count, self.tree = first, first, 0, Tree()
        self.covered, self.waiting, self.odd = None, [], None


def verify_lines(lines, public, checkpoints):
    waiting = sorted(checkpoints, key=lambda c: c.size)
    tree, beside, differs, good = Tree(), None, None, 0
    missing, announced, present, losses, forks = {}, {}, {}, [], []
    before = newest = None

    def admitted(c):
        return any(loss.admits(c) for loss in losses)

    def fault(seq, reason):
        for c, bad in forks:
            if not admitted(c) and bad.seq <= seq:
                return bad
        return Bad(differs, "the entry is not the leaf beside it") if differs is not None and differs < seq else Bad(seq, reason)

    def cover(at):
        nonlocal before, newest
        began = None if before is None else min(before, at)
        newest, before = at if newest is None else max(newest, at), at
        for a in announced.values():
            if a.covered is None:
                a.covered = at
        for m in missing.values():
            if m.waiting:
                m.covered = newest
                for seq, claimed in m.waiting:
                    if m.odd is None and (claimed > newest + HOUR or began is not None and claimed < began - HOUR):
                        m.odd = (seq, "missing, and the time of its position, %sZ, cannot be: it was sealed between %s and %s" % (claimed.isoformat(timespec="microseconds"), began, newest))
                m.waiting = []

    def compare():
        nonlocal good
        times = []
        while waiting and waiting[0].size == tree.size:
            c = waiting.pop(0)
            if c.root != tree.root():
                if beside is not None and beside.root() == c.root:
                    raise fault(differs, "the entry is not what was signed at " + c.at)
                forks.append((c, Bad(good, "the entries from %d to %d are not what was signed at %s" % (good, c.size - 1, c.at))))
                continue
            if beside is not None:
                raise fault(differs, "the leaf beside the entry is not the entry's")
            times.append(parse_time(c.at))
        if times:
            good = tree.size
            cover(max(times))

    def about_the_log(seq, e):
        if e["kind"] == "loss":
            try:
                losses.append(Loss(e["facts"]["statement"], public))
            except (ValueError, KeyError, TypeError):
                raise fault(seq, "an entry of kind loss holds a signed statement of loss")
            if losses[-1].kept > seq:
                raise fault(seq, "the statement of loss stands before the last entry it keeps")
        if e["kind"] != "retention":
            return
        try:
            r = Removal(e["facts"])
        except (ValueError, KeyError, TypeError):
            raise fault(seq, "an entry of kind retention announces or records one removal: partition, first, last, entries and digest")
        known = announced.get(r.partition)
        if e.get("outcome") == "announced":
            if known or r.last >= seq:
                raise fault(seq, "the removal of %s is announced twice, or before its last entry" % r.partition)
            r.covered = None
            announced[r.partition] = r
        elif e.get("outcome") != "dropped":
            raise fault(seq, "an entry of kind retention has an outcome that is not known")
        elif not known:
            raise fault(seq, "the removal of %s is recorded, and no entry announced it" % r.partition)
        elif known.key != r.key:
            raise fault(seq, "the removal of %s is recorded otherwise than it was announced" % r.partition)
        elif known.covered is None:
            raise fault(seq, "the removal of %s is recorded, and no checkpoint covers its announcement before" % r.partition)

    def check_month(month, m):
        a = announced.get(month)
        if m.odd:
            return m.odd
        if a is None:
            return m.first, "missing: no entry announces the removal of " + month
        if (a.first, a.last, a.entries) != (m.first, m.last, m.count):
            return m.first, "missing: %d entries of %s from %d to %d are not here; the removal of %d from %d to %d was announced" % (m.count, month, m.first, m.last, a.entries, a.first, a.last)
        if a.digest != m.tree.root():
            return m.first, "missing: the entries of %s that are not here are not those whose removal was announced" % month
        if m.waiting or a.covered is None:
            return m.first, "missing: no checkpoint covers it, or the announcement of its removal"
        if a.covered < max(five_years_after(m.covered), five_years_after(a.ends)):
            return m.first, "missing: the removal of %s was announced by %s, before five years were over" % (month, a.covered)
        if a.covered > datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + HOUR:
            return m.first, "missing: its removal was announced by a checkpoint that is dated %s, which is yet to come" % a.covered
        if a.month in present:
            return present[a.month], "the entry is of %s, which was removed" % month

    compare()
    for line in lines:
        line = line.rstrip(b"\n")
        seq, record, leaf, gone = read_line(line, tree.size)
        if seq != tree.size:
            raise fault(tree.size, "missing or out of order")
        if gone:
            claimed = parse_time(gone.group(1).decode())
            m = missing.setdefault("entry_" + claimed.strftime("%Y%m"), Missing(seq))
            m.last, m.count = seq, m.count + 1
            m.tree.append(leaf)
            m.waiting.append((seq, claimed))
            mine = leaf
        else:
            mine = leaf_of(record)
            present.setdefault(RECORD_MONTH.search(record).group(1).decode(), seq)
            if b',"kind":"retention"' in record[:256] or b',"kind":"loss"' in record[:256]:
                about_the_log(seq, read_json(record))
        if beside is None and mine != leaf:
            differs, beside = seq, tree.copy()
        if beside is not None:
            beside.append(leaf)
        tree.append(mine)
        compare()
    found = [f for f in (check_month(month, m) for month, m in missing.items()) if f]
    if found:
        raise fault(*min(found))
    for c in reversed(waiting):
        if not admitted(c):
            raise fault(tree.size, "the end is cut off: %d entries were signed" % c.size)
    if good != tree.size:
        raise fault(good, "no checkpoint covers the entries from %d on" % good)
    for c, bad in forks:
        if not admitted(c):
            raise bad
    if tree.size == 0:
        raise Bad(0, "the log is empty: nothing is sealed, so nothing is proven")
    for loss in losses:
        print("note: " + loss.note, file=sys.stderr)
    return tree.size, tree.root()


ELSEWHERE = 0xFFFFFFFF  # in a ZIP file, in the place of a number that stands in a block or a record of ZIP64


def zip_directory(read, size):
    """How many members a ZIP file lists, how long the list is and where it stands; ValueError when its end says two things."""
    must(size >= 22)
    tail = read(max(0, size - 98), 98)
    before, end = tail[:-22], tail[-22:]
    must(end[:4] == b"PK\x05\x06")
    disks, here, count, length, at, comment = struct.unpack("<IHHIIH", end[4:])
    stop, long = size - 22, (count, length, at) == (0xFFFF, ELSEWHERE, ELSEWHERE)
    must(disks == 0 and here == count and comment == 0 and (before[-20:-16] == b"PK\x06\x07") == long)
    if long:
        must(len(before) == 76)
        stop -= 76
        sign, rest, _, needs, disks, here, count, length, at = struct.unpack("<4sQHHQQQQQ", before[:56])
        must(sign == b"PK\x06\x06" and rest == 44 and needs <= 45 and disks == 0 and here == count and struct.unpack("<IQI", before[60:]) == (0, stop, 1))
    must(length <= 1 << 20 and at + length == stop)
    return count, length, at


def check_zip(path):
    """Raises ValueError when the ZIP file has bytes that belong to no member, or describes a member in two ways."""
    with open(path, "rb") as f:
        size = f.seek(0, 2)

        def read(at, n):
            f.seek(at)
            return f.read(n)

        count, length, at = zip_directory(read, size)
        body, names, entries = 0, set(), read(at, length)
        for _ in range(count):
            must(len(entries) >= 46 and entries[:4] == b"PK\x01\x02")
            needs, flags, method = struct.unpack("<HHH", entries[6:12])
            packed, unpacked, named, extra = struct.unpack("<IIHH", entries[20:32])
            place, name, sums = struct.unpack("<I", entries[42:46])[0], entries[46:46 + named], entries[16:28]
            long = packed == ELSEWHERE
            must(needs <= 45 and flags & ~0x808 == 0 and method in (0, 8) and entries[32:36] == bytes(4) and len(entries) >= 46 + named + extra and name not in names)
            must(long == (unpacked == ELSEWHERE) and (long or place != ELSEWHERE))
            if long:
                must(extra == 28)
                mark, unpacked, packed, there = struct.unpack("<4sQQQ", entries[46 + named:74 + named])
                must(mark == b"\x01\x00\x18\x00" and place in (ELSEWHERE, there))
                place = there
            must(place == body and packed <= at and (method == 8 or packed == unpacked))
            names.add(name)
            own = read(body, 30 + named)
            must(own[:4] == b"PK\x03\x04" and struct.unpack("<H", own[4:6])[0] <= 45 and own[6:10] == entries[8:12] and own[26:28] == entries[28:30] and own[30:] == name)
            repeated, own_extra = own[14:26] == sums, struct.unpack("<H", own[28:30])[0]
            must(repeated or flags & 8 and own[14:26] == bytes(12))
            body += 30 + named
            if long and repeated:
                must(flags & 8 == 0 and own_extra == 20 and read(body, 20) == b"\x01\x00\x10\x00" + struct.pack("<QQ", unpacked, packed))
            body += own_extra + packed
            if flags & 8:
                after = b"PK\x07\x08" + sums[:4] + struct.pack("<QQ" if max(packed, unpacked) >= ELSEWHERE else "<II", packed, unpacked)
                must(read(body, len(after)) == after)
                body += len(after)
            must(body <= at)
            entries = entries[46 + named + extra:]
        must(not entries and body == at)


def read_manifest(text):
    m = {name: value for name, value in read_json(text).items() if value is not None}
    must(is_count(m["size"]) and is_count(m["entries"]) and isinstance(m["root"], str))
    must(isinstance(m["filter"], dict) and all(isinstance(v, str) for v in m["filter"].values()))
    must(is_count(m.get("context", 0)) and is_count(m.get("windows", 0)) and isinstance(m.get("verifier", ""), str))
    must(isinstance(m.get("clients", []), list) and all(isinstance(c, str) for c in m.get("clients", [])))
    must(isinstance(m["files"], list) and all(isinstance(f["name"], str) and is_count(f["bytes"]) for f in m["files"]))
    return m


def verify_bundle(path, public, anchors):
    check_zip(path)
    archive = zipfile.ZipFile(path)
    text = archive.read("manifest.json")
    must(len(text) == archive.getinfo("manifest.json").file_size)
    manifest = read_manifest(text)
    if manifest.get("format") not in ("arauto-bundle/1", "arauto-bundle/2") or manifest["log"] != origin(public):
        raise Bad(0, "not a bundle of this log")
    checkpoints = read_checkpoints(archive.read("checkpoints.txt").decode(), public)
    head = checkpoints[-1] if checkpoints else None
    if head is None or head.size != manifest["size"] or manifest["size"] == 0 or manifest["root"] != base64.b64encode(head.root).decode():
        raise Bad(0, "the manifest is not about the last checkpoint")
    if not manifest["filter"]:
        with archive.open("entries.jsonl") as lines:
            verdict = verify_lines(lines, public, checkpoints + [a for a in anchors if a.size <= head.size])
    else:
        verdict = verify_some(archive, manifest, head)
        if manifest["format"] == "arauto-bundle/2":
            verdict += (verify_counts(archive, manifest, checkpoints),)
        else:
            note("the bundle has no counts: an export can be shown to be complete when its filter names a client and the end of a period that is counted, and no single resource")
    if "private.jsonl" in archive.namelist():
        verify_private(archive)
    known = {"manifest.json"}
    for f in manifest["files"]:
        if f["name"] in known:
            raise Bad(0, "the manifest speaks of %s twice, or of itself" % f["name"])
        known.add(f["name"])
        digest, length = hashlib.sha256(), 0
        with archive.open(f["name"]) as content:  # it may be longer than the memory
            for part in iter(lambda: content.read(1 << 20), b""):
                digest.update(part)
                length += len(part)
        if length != f["bytes"] or length != archive.getinfo(f["name"]).file_size or digest.hexdigest() != f["sha256"]:
            raise Bad(0, "the sum of %s is not the manifest's" % f["name"])
    if known != set(archive.namelist()):
        raise Bad(0, "the manifest does not know every file")
    return verdict


def verify_some(archive, manifest, head):
    n, last = 0, -1
    if manifest["entries"]:
        with archive.open("entries.jsonl") as lines, archive.open("proofs.jsonl") as proofs:
            for line in lines:
                seq, record, leaf, _ = read_line(line.rstrip(b"\n"), max(last, 0))
                proof = read_json(proofs.readline() or b"{}")
                if seq <= last or proof.get("seq") != seq or type(proof["seq"]) is not int:
                    raise Bad(max(last, 0), "after it there is something that is not a record in order")
                n, last = n + 1, seq
                path = read_path(proof.get("path"))
                if root_by_path(leaf_of(record), seq, head.size, path) != head.root or leaf != leaf_of(record):
                    raise Bad(seq, "the record is not what was signed at " + head.at)
    if n != manifest["entries"]:
        raise Bad(max(last, 0), "the manifest speaks of %d entries, %d are here" % (manifest["entries"], n))
    return n, head.root, head.size


# --- Private texts (section "Private text"). The entries are verified before.


def commitment_of(record):
    """What an entry commits to; None when it commits to nothing."""
    e = read_json(record)
    if e.get("kind") not in ("attempt", "result", "late-result"):
        return None
    facts = e["facts"]
    if isinstance(facts, str):
        try:
            facts = json.loads(facts)
        except ValueError:
            return None
    return facts.get("private") if isinstance(facts, dict) else None


def verify_private(archive):
    last, here, record = -1, -1, b""
    with archive.open("entries.jsonl") as entries, archive.open("private.jsonl") as texts:
        for line in texts:
            try:
                line = read_json(line)
                seq, text = line["seq"], line.get("private")
            except (ValueError, KeyError, TypeError, AttributeError):
                seq = None
            if type(seq) is not int or seq <= last or not isinstance(text, (str, type(None))):
                raise Bad(max(last, 0), "after it private.jsonl has something that is not a private text in order")
            last = seq
            while here < seq:
                entry = entries.readline().rstrip(b"\n")
                if not entry:
                    break
                here, record, _, _ = read_line(entry, seq)
            if here != seq:
                raise Bad(seq, "private.jsonl has a text of an entry that is not in the bundle")
            commitment = commitment_of(record)
            if commitment is None:
                raise Bad(seq, "its facts commit to no private text, and private.jsonl has one")
            if text is None:
                raise Bad(seq, "its private text is missing, and its facts commit to one")
            if base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=") != commitment:
                raise Bad(seq, "its private text is not the one that its facts commit to")


# --- Completeness of a bundle (section "Completeness").

KINDS = {"payment-consent": 1, "pix-payment": 2, "recurring-consent": 3, "recurring-payment": 4, "enrollment": 5}
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z", re.ASCII)
WORD = re.compile(r"[!-~]+")  # what kinds of entries and outcomes are called, today's and later ones
HOUR_MICROS = 3600 * 10**6


def micros(text):
    """Microseconds since 1970 of a time as records write it, years 0 to 9999; ValueError for any other text."""
    m = TIME.fullmatch(text)
    must(m)
    year, month, day, hour, minute, second, micro = map(int, m.groups())
    must(hour < 24 and minute < 60 and second < 60)
    days = datetime.date(2000 + year % 400, month, day).toordinal() - EPOCH.toordinal() + (year // 400 - 5) * 146097  # the calendar repeats itself
    return ((days * 24 + hour) * 60 + minute) * 60 * 10**6 + second * 10**6 + micro


def is_time(text):
    try:
        micros(text)
    except ValueError:
        return False
    return True


def note(text):
    print("note: " + text, file=sys.stderr)


def finds(filters, record):
    """Whether a filter finds a record; the client is judged elsewhere."""
    for name, value in filters.items():
        if name == "kind" and record.get("resourceKind") != KINDS[value]:
            return False
        if name == "entry" and record["kind"] not in value.split(","):
            return False
        if name == "outcome" and record.get("outcome") != value:
            return False
        if name == "late" and not (record["kind"] == "attempt" and isinstance(record["facts"], dict) and record["facts"].get("late") is True):
            return False
        if name == "from" and record["at"] < value or name == "to" and record["at"] >= value:
            return False
    return True


def unjudged(filters, clients):
    """Why it cannot be said whether the filter left something out; None when it can."""
    if clients and (clients != [filters["clientId"]] if filters.get("clientId") else not filters.get("organisationId")):
        return "the manifest names other clients than its filter"
    for name, value in filters.items():
        if name not in ("clientId", "organisationId", "kind", "entry", "outcome", "late", "from", "to"):
            return "the filter's member %s is not one whose completeness can be shown" % name
        if name == "kind" and value not in KINDS or name == "late" and value != "true":
            return "the filter's member %s is not one whose completeness can be shown" % name
        if name in ("entry", "outcome") and not all(WORD.fullmatch(word) for word in (value.split(",") if name == "entry" else [value])):
            return "the filter's member %s is not one whose completeness can be shown" % name
        if name in ("from", "to") and not is_time(value):
            return "the filter's member %s is not a time" % name
    return None


def client_key(client):
    return hashlib.sha256(b"arauto client\n" + client.encode()).digest()


def inner_hash(count, root):
    return hashlib.sha256(count.to_bytes(8, "big") + root).digest()


def in_counts(counts, index, key, inner, path):
    return is_count(index) and index < counts["clients"] and root_by_path(leaf_of(key + inner), index, counts["clients"], read_path(path)) == unhash(counts["root"])


def place_of(client, said, counts, seq):
    """How many entries a client has in a window, and their root."""
    said = {"count": 0, "index": 0, **{name: value for name, value in said.items() if value is not None}}
    key, beside = client_key(client), said.get("beside", [])
    wrong = Bad(seq, "what is said of client %r is not in the counts" % client)
    must(type(said["count"]) is int and isinstance(beside, list))
    if not beside and said["count"] > 0:
        root = unhash(said["root"])
        if not in_counts(counts, said["index"], key, inner_hash(said["count"], root), said.get("path")):
            raise wrong
        return said["count"], root
    empty = hashlib.sha256(b"").digest()
    if not all(in_counts(counts, n["index"], unhash(n["key"]), unhash(n["inner"]), n.get("path")) for n in beside):
        raise wrong
    at, keys = [n["index"] for n in beside], [unhash(n["key"]) for n in beside]
    if len(at) == 2 and at[1] == at[0] + 1 and keys[0] < key < keys[1] or at == [0] and key < keys[0] or len(at) == 1 and at[0] == counts["clients"] - 1 and keys[0] < key:
        return 0, empty
    if not at and counts["clients"] == 0 and unhash(counts["root"]) == empty:
        return 0, empty
    raise wrong


def verify_counts(archive, manifest, checkpoints):
    """Raises Bad when the counts do not fit; else tells whether everything of the clients in the period is there."""
    clients, filters, head = manifest.get("clients") or [], manifest["filter"], checkpoints[-1]
    why = unjudged(filters, clients)
    if why:
        note(why)
    have, written = {c: [] for c in clients}, []
    for member, count, wanted in (("entries.jsonl", manifest["entries"], True), ("context.jsonl", manifest.get("context", 0), False)):
        last, n = -1, 0
        for line in archive.open(member) if count else []:
            seq, text, leaf, _ = read_line(line.rstrip(b"\n"), max(last, 0))
            if seq <= last:
                raise Bad(last, "after it %s has something that is not a record in order" % member)
            last, n = seq, n + 1
            record = read_json(text)
            if leaf_of(text) != leaf or not is_time(record["at"]):
                raise Bad(seq, "the leaf beside the entry is not the entry's")
            if record.get("clientId") not in have:
                raise Bad(seq, "the entry is of another client than the manifest names")
            if not why and finds(filters, record) != wanted:
                raise Bad(seq, "the entry does not belong into %s by the filter" % member)
            have[record["clientId"]].append((seq, leaf))
            written.append((seq, record["at"]))
        if n != count:
            raise Bad(max(last, 0), "the manifest speaks of %d entries in %s, %d are here" % (count, member, n))
    begin = end = n = 0
    for line in archive.open("counts.jsonl") if manifest.get("windows") else []:
        w = read_json(line)
        text, seq = unb64(w["record"]), w["seq"]
        must(is_count(seq) and isinstance(w["clients"], list))
        if not re.match(rb'\{"v":\d+,"seq":%d,' % seq, text) or root_by_path(leaf_of(text), seq, head.size, read_path(w.get("path"))) != head.root:
            raise Bad(seq, "the record is not what was signed at " + head.at)
        record = read_json(text)
        counts = record["facts"].get("counts") if isinstance(record["facts"], dict) else None
        if record["kind"] != "verification" or record.get("outcome") != "ok" or not counts or not 0 <= counts["from"] < counts["to"] or counts["clients"] < 0:
            raise Bad(seq, "the entry is not one about a verification that counted")
        if counts["to"] > seq:
            raise Bad(seq, "the entry counts positions that were not there when it was written")
        if n and counts["from"] != end:
            raise Bad(end, "the windows have a gap: the next one begins at %d" % counts["from"])
        if len(w["clients"]) != len(clients):
            raise Bad(seq, "the window does not speak of each client of the manifest")
        begin, end, n = begin if n else counts["from"], counts["to"], n + 1
        written.append((seq, record["at"]))
        for client, said in zip(clients, w["clients"]):
            count, root = place_of(client, said, counts, seq)
            tree = Tree()
            for _, leaf in sorted(e for e in have[client] if counts["from"] <= e[0] < counts["to"]):
                tree.append(leaf)
            if (tree.size, tree.root()) != (count, root):
                raise Bad(counts["from"], "the log has %d entries of client %r up to %d, and the bundle has %d, or others" % (count, client, counts["to"] - 1, tree.size))
    if n != manifest.get("windows", 0):
        raise Bad(end, "the manifest speaks of %d windows, %d are here" % (manifest.get("windows", 0), n))
    if not n:
        note("the log's counts of clients are not in the bundle")
        return False
    starts = begin == 0 or any(c.size >= begin and c.at <= filters.get("from", "") for c in checkpoints[:-1])
    if not starts:
        note("entries before position %d are not counted: begin the period later" % begin)
    if not filters.get("to"):
        note("the period has no end, and what is new is not counted yet: name one with to")
        return False
    behind = is_time(filters["to"]) and any(seq < end and micros(at) >= micros(filters["to"]) + HOUR_MICROS for seq, at in written)
    if not behind:
        note("entries from position %d on are not counted yet, and the period may reach beyond it" % end)
    return bool(starts and behind and not why and clients)


def verify_proof(text, public):
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    must(3 <= len(lines) <= 67 and lines[1].startswith("extra ") and re.fullmatch("index (0|[1-9][0-9]*)", lines[2]))
    record, seq, path = unb64(lines[1][6:]), int(lines[2][6:]), [unhash(h) for h in lines[3:]]
    try:
        c = Checkpoint(note, public)
    except ValueError as why:
        raise Bad(seq, "the checkpoint: %s" % why)
    if not record.startswith(b'{"v":1,"seq":%d,' % seq):
        raise Bad(seq, "the record has another position")
    if root_by_path(leaf_of(record), seq, c.size, path) != c.root:
        raise Bad(seq, "the record is not what was signed at " + c.at)
    return 1, c.root


def verify_consistency(text, public):
    head, _, notes = text.partition("\n\n")
    path, both = [unhash(h) for h in head.split("\n")[1:]], split_notes(notes)
    must(len(both) == 2 and "\n".join(both) == notes)
    old, new = read_checkpoints(notes, public)
    if not consistent(path, old.size, old.root, new.size, new.root):
        raise Bad(0, "the %d entries of %s are not the first of the %d of %s" % (old.size, old.at, new.size, new.at))
    return new.size, new.root


def read_text(path):
    with open(path, "rb") as f:
        return f.read().decode("utf-8")


def about(path, start, verdict, public):
    """The checkpoints in a file that was verified, the size of the log that the verdict is about, and whether the whole log was compared."""
    whole, found, size = len(verdict) == 2, [], verdict[0] if len(verdict) == 2 else verdict[2]
    if start.startswith(b"PK"):
        found = read_checkpoints(zipfile.ZipFile(path).read("checkpoints.txt").decode(), public)
    elif start.startswith((b"c2sp.org/tlog-proof@v1\n", b"arauto-consistency/1\n")):
        found = read_checkpoints(read_text(path).partition("\n\n")[2], public)
        whole, size = False, found[-1].size
    return found, size, whole


def filtered(path):
    """Whether a file has the lines that a filter chose: the first says so, or there is none."""
    with open(path, "rb") as lines:
        first = lines.readline()
    return not first or first.rstrip(b"\n").endswith(b',"filtered":true}')


def about_pdf(path):
    """Why a PDF is not judged. Which one it is the names of its attachments tell, which are UTF-16; nothing is verified."""
    with open(path, "rb") as f:
        pdf = f.read()
    has = {name for name in ("report.json", "bundle.zip", "dossier.json", "checkpoint.txt", "log.pub.pem") if name.encode("utf-16-be") in pdf}
    if has == {"report.json"}:
        return "not judged: this PDF is a report, which proves nothing; export its period as a bundle"
    return "not judged: this program reads no PDF; save the attachment bundle.zip of a dossier and verify that"


def refuse_two_histories(checkpoints):
    first = {}
    for c in checkpoints:
        other = first.setdefault(c.size, c)
        if other.root != c.root:
            raise Bad(0, "two histories: the log was signed over %d entries at %s and at %s, with different roots; only a statement of loss in the whole log can admit that" % (c.size, other.at, c.at))


def main():
    p = argparse.ArgumentParser(description="Verify what arauto audit export and proof wrote.")
    p.add_argument("file")
    p.add_argument("--key", required=True)
    p.add_argument("--anchors", action="append", default=[])
    p.add_argument("--policy", help="a file that names the witnesses and which of them must have vouched")
    p.add_argument("--witnessed-within", type=read_duration, default=3600, metavar="TIME", help="how much later than what the witnesses vouched for the newest entries may have been signed (1h)")
    p.add_argument("--require-complete", action="store_true", help="exit 1 unless a filtered bundle is proven to be complete")
    o = p.parse_args()
    try:
        public = read_key(o.key)
    except (OSError, ValueError) as why:
        p.error("argument --key: " + str(why))
    try:
        policy = Policy(o.policy, o.witnessed_within) if o.policy else None
    except (OSError, ValueError) as why:
        print("--policy: %s: %s" % (o.policy, why), file=sys.stderr)
        sys.exit(2)
    try:
        anchors = []
        for a in o.anchors:
            anchors += read_anchor_file(a, public)
        with open(o.file, "rb") as f:
            start = f.read(64)
        if start.startswith(b"PK"):
            verdict = verify_bundle(o.file, public, anchors)
        elif start.startswith(b"c2sp.org/tlog-proof@v1\n"):
            verdict = verify_proof(read_text(o.file), public)
        elif start.startswith(b"arauto-consistency/1\n"):
            verdict = verify_consistency(read_text(o.file), public)
        elif start.startswith(b"%PDF-"):
            print(about_pdf(o.file), file=sys.stderr)
            sys.exit(2)
        elif filtered(o.file):
            print("a filtered export as JSON lines cannot be proven: it has no proof of where its entries stand in the log; export a bundle with the same filter, or JSON lines without a filter", file=sys.stderr)
            sys.exit(2)
        elif not anchors:
            print("records alone prove nothing; name checkpoints with --anchors", file=sys.stderr)
            sys.exit(2)
        else:
            with open(o.file, "rb") as lines:
                verdict = verify_lines(lines, public, anchors)
        found, size, whole = about(o.file, start, verdict, public)
        if not whole:
            refuse_two_histories(found + anchors)
        if policy:
            policy.confirm(found + anchors, size, verdict[1], whole, STATED, public)
    except Bad as bad:
        print(bad)
        sys.exit(1)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, EOFError, OverflowError, struct.error, zlib.error, zipfile.BadZipFile) as why:
        print("BAD seq=0 the file cannot be read: %r" % why)
        sys.exit(1)
    root = base64.b64encode(verdict[1]).decode()
    if len(verdict) == 2:
        print("ok", verdict[0], root)
        return
    if verdict[3:] == (True,):
        print("ok %d %s; complete" % (verdict[0], root))
        return
    print("genuine %d of %d %s; completeness not shown" % (verdict[0], verdict[2], root))
    sys.exit(1 if o.require_complete else 0)


if __name__ == "__main__":
    main()
