#!/usr/bin/env python3
"""Verifies a log of package auditlog: verify.py KEY DIR. Written from the package comment alone, with nothing but
the standard library. Exit code 2: tampering; 3: intact (there is no anchor here, so never more than that)."""
import base64, hashlib, json, os, re, sys

# Ed25519 (RFC 8032 section 5.1): just enough to verify.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, I = -121665 * pow(121666, P - 2, P) % P, pow(2, (P - 1) // 4, P)

def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    g, h = 2 * D * a[3] * b[3], 2 * a[2] * b[2]
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P

def times(n, p):
    q = (0, 1, 1, 0)
    while n:
        q, p, n = add(q, p) if n & 1 else q, add(p, p), n >> 1
    return q

def point(b):
    y, sign = int.from_bytes(b, "little") & (1 << 255) - 1, b[31] >> 7
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    x = x if x * x % P == x2 else x * I % P
    if y >= P or x * x % P != x2 or x == 0 and sign:
        raise ValueError("no point")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P

def verifies(key, text, sig):
    s = int.from_bytes(sig[32:], "little")
    k = int.from_bytes(hashlib.sha512(sig[:32] + key + text).digest(), "little") % L
    base = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    a, b = times(s, base), add(point(sig[:32]), times(k, point(key)))
    return s < L and (a[0] * b[2] - b[0] * a[2]) % P == 0 == (a[1] * b[2] - b[1] * a[2]) % P

class Damage(Exception):
    pass

def need(ok, what):
    if not ok:
        raise Damage(what)

def b64(s, size):
    b = base64.b64decode(s)
    need(base64.b64encode(b).decode() == s and len(b) == size, "base64")
    return b

def H(b):
    return hashlib.sha256(b"\0" + b).digest()

def parse_key(text):
    name, ident, key = text.strip().split("+", 2)
    key = b64(key, 33)
    need(key[0] == 1 and hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] == ident, "key")
    return name, bytes.fromhex(ident), key[1:]

def open_note(note, key):
    text, sig = note.split("\n\n— ")
    name, sig = sig.split(" ")
    need(sig.endswith("\n") and name == key[0], "signed by " + name)
    sig = b64(sig[:-1], 68)
    need(sig[:4] == key[1] and verifies(key[2], (text + "\n").encode(), sig[4:]), "signature")
    return (text + "\n").split("\n")[:-1]

class Tree:  # one hash for each complete subtree on the right edge
    def __init__(self):
        self.size, self.stack = 0, []

    def add(self, h):
        n = self.size
        while n & 1:
            h, n = hashlib.sha256(b"\1" + self.stack.pop() + h).digest(), n >> 1
        self.stack.append(h)
        self.size += 1

    def root(self):
        h = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            h = hashlib.sha256(b"\1" + left + h).digest()
        return h

REC = re.compile(rb'\{"v":1,"stream":"([A-Za-z0-9._/-]+)","seq":(0|[1-9][0-9]*),"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",'
                 rb'"prev":"([A-Za-z0-9+/]{43}=)","(event|audit)":([ \t]*\{.*\}[ \t]*)\}', re.S)
CP = re.compile(r'\{"cp":"(([A-Za-z0-9._/-]+)\\n([1-9][0-9]*)\\n([A-Za-z0-9+/]{43}=)\\n\\n— \2 [A-Za-z0-9+/]{91}=\\n)"\}'.encode())

def stream(path, root, expired, gone):
    names = sorted(f for f in os.listdir(path) if re.fullmatch(r"\d{8}\.(log|leaves)", f))
    names = [f for f in names if f.endswith(".log") or f[:8] + ".log" not in names]
    tree, prev, last, name, key, kind, torn, allowed = Tree(), bytes(32), None, None, None, None, False, set()
    for n, f in enumerate(names):
        need(int(f[:8]) == n, "segment %d is missing" % n)
        data = open(os.path.join(path, f), "rb").read()
        if f.endswith(".leaves"):
            head, _, hashes = data.partition(b"\n")
            head = json.loads(head)
            key = parse_key(open_note(head["cert"], root)[2])
            name, line = key[0], base64.b64decode(head["cp"])
            for i in range(0, len(hashes), 32):
                tree.add(hashes[i:i + 32])
            m = CP.fullmatch(line)
            need(m and m[2].decode() == name and int(m[3]) == tree.size and b64(m[4].decode(), 32) == tree.root(), "leaves")
            gone.append((name, n, tree.size))
            last, prev = m[1].decode().replace("\\n", "\n"), H(line)
            continue
        *lines, rest = data.split(b"\n")
        fresh, said = False, set()  # records since the last checkpoint, and what they allow
        for i, line in enumerate(lines):
            at = "%s line %d: " % (f, i + 1)
            m = CP.fullmatch(line)
            if m:
                need(m[2].decode() == name and int(m[3]) == tree.size and fresh, at + "checkpoint")
                need(b64(m[4].decode(), 32) == tree.root(), at + "root")
                last, fresh = m[1].decode().replace("\\n", "\n"), False
                allowed, said = allowed | said, set()
            else:
                m = REC.fullmatch(line)
                need(m, at + "malformed")
                name = name or m[1].decode()
                need(m[1].decode() == name and name.endswith("/" + os.path.basename(path)), at + "another stream")
                need(int(m[2]) == tree.size and b64(m[3].decode(), 32) == prev, at + "not the continuation")
                own = json.loads(m[5]) if m[4] == b"audit" else {}
                kind = own.get("event")
                if i == 0:
                    need(kind == ("audit.rotated" if n else "audit.opened"), at + "beginning")
                    text, key = open_note(own["cert"], root), parse_key(own["cert"].split("\n")[2])
                    need(text[:2] == ["scsguard auditlog stream v1", name] and key[0] == name, at + "certificate")
                if kind == "audit.segment_expired":
                    said |= {(own["stream"], *k) for k in zip(own.get("segments", []), own.get("ends", []))}
                tree.add(H(line))
                fresh = True
            prev = H(line)
        torn = fresh or rest
        need(not torn or n == len(names) - 1, f + ": no end")
        need(not rest or rest.strip(b"\0") == b"" or (b'{"v":1,"stream":"%s"' % (name or "").encode()).startswith(rest[:20])
             or rest.startswith(b'{"v":1,"stream":"') or rest.startswith(b'{"cp":"'), f + ": garbage at the end")
        need(not CP.match(rest) or CP.fullmatch(rest), f + ": garbage at the end")
    if last:
        open_note(last, key)
        expired |= allowed
    return name, tree.size, "empty" if not last else "torn" if torn else "closed" if kind == "audit.closed" else "unclosed"

def main(key, path):
    root, expired, gone, bad = parse_key(open(key).read()), set(), [], False
    for sub in sorted(os.listdir(path)):
        try:
            print(sub, *stream(os.path.join(path, sub), root, expired, gone))
        except (Damage, ValueError, KeyError, IndexError, TypeError) as e:
            bad = True
            print(sub, "DAMAGED", e)
    for name, n, end in gone:
        if (name, n, end) not in expired:
            bad = True
            print(name, "DAMAGED segment %d was removed" % n)
    return 2 if bad else 3

sys.exit(main(*sys.argv[1:]))
