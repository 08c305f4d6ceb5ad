#!/usr/bin/python3
"""A large repository goes up, is edited inside and comes back: exactly, and with progress shown.

10,000 files (2,000 with sanitized programs, else SKEP_TREE_FILES). It prints how long the way up and the way back took."""
# timeout: 600
import collections
import fcntl
import hashlib
import itertools
import os
import pty
import random
import re
import select
import stat
import struct
import subprocess
import termios
import time

import scenario
from installation import Installation, git
from scenario import main, scenario as result

FILES = int(os.environ.get("SKEP_TREE_FILES") or (2000 if os.environ.get("SKEP_PRESET") == "asan" else 10_000))
# Runs in the real sandbox and, for comparison, outside in a copy: every decision is made from the sorted list of paths.
AGENT = r"""#!/usr/bin/env python3
import os, shutil, subprocess
paths = sorted(p for p in subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout.split(b"\0") if p)
paths = [p for p in paths if not os.path.islink(p) and p not in (b"agent", b"random.bin")]
def some(first, every=100):
    return paths[first::every]
for p in some(0):                         # a line in the middle
    with open(p, "rb") as f:
        lines = f.read().split(b"\n")
    lines.insert(len(lines) // 2, b"edited " + p)
    with open(p, "wb") as f:
        f.write(b"\n".join(lines))
for p in some(1):                         # other content altogether, of any bytes
    with open(p, "wb") as f:
        f.write(bytes(range(256)) * 5 + p)
for p in some(2):
    os.remove(p)
for n, p in enumerate(some(3)):           # renamed, some into new folders and to odd names
    to = os.path.join(b"moved \xc3\xa4", b"%d" % (n % 7), b"to\n" + b"%d" % n if n % 5 == 0 else os.path.basename(p) + b"-moved")
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.rename(p, to)
for p in some(4):
    os.chmod(p, 0o644 if os.stat(p).st_mode & 0o100 else 0o755)
for p in some(5):                         # a file becomes a link
    target = os.path.basename(p) + b" is gone"
    os.remove(p)
    os.symlink(target, p)
for n, p in enumerate(some(6)):           # added, next to old ones and in a new place
    for q in (p + b".new", b"fresh/\xff%d" % n):
        os.makedirs(os.path.dirname(q) or b".", exist_ok=True)
        with open(q, "wb") as f:
            f.write(b"new " + q + b"\n")
for p in some(7):                         # copied as they are
    shutil.copyfile(p, p + b".copy")
with open("random.bin", "r+b") as f:      # binary, 10 MB: turned round
    turned = f.read()[::-1]
    f.seek(0)
    f.write(turned)
print("edited", len(paths), flush=True)
"""


def make_repository(path, files):
    """`files` files of 0 to 6 KiB in folders of different depth, a fifth executable, some links; one commit."""
    path.mkdir()
    git(path, "init", "-q")
    git(path, "config", "gc.auto", "0")  # not behind our back, while the copy is made
    for n in range(files):
        folder = path / f"part{n % 40}" / (f"deep{n % 11}/er{n % 3}" if n % 4 else ".")
        folder.mkdir(parents=True, exist_ok=True)
        seed = hashlib.sha256(str(n).encode()).hexdigest()
        name = folder / (f"file {n}.txt" if n % 9 else f"-file-{n}.bin")
        if n % 50 == 49:
            name.symlink_to(f"file {n - 1}.txt")
            continue
        name.write_bytes(b"".join(f"{seed[i % 60:]} line {i} of {n}\n".encode() for i in range(n % 90)))
        name.chmod(0o755 if n % 5 == 0 else 0o644)
    (path / "random.bin").write_bytes(random.Random(5).randbytes(10_000_000))
    (path / "agent").write_text(AGENT)
    (path / "agent").chmod(0o755)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "first")
    return path


def tree(top):
    """Every file and link below a folder but git's and our own: kind, executable bit, content."""
    top, out = os.fsencode(top), {}
    for folder, folders, names in os.walk(top):
        if folder == top:
            folders[:] = [f for f in folders if f not in (b".git", b"skep-out")]
        for name in names + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                out[path[len(top) + 1:]] = ("link", os.readlink(path))
            else:
                with open(path, "rb") as file:
                    out[path[len(top) + 1:]] = ("file", bool(mode & 0o100), hashlib.sha256(file.read()).digest())
    return out


def on_terminal(skep, *words, limit_s=300):
    """`skep WORDS` on a terminal of 120 columns: its exit code and everything that it drew."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    process = subprocess.Popen([scenario.program("skep"), *map(str, words)], env={**skep.environment, "TERM": "xterm"},
                               stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    skep.started.append(process)
    shown, end = b"", time.monotonic() + limit_s * scenario.PATIENCE
    while time.monotonic() < end:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            shown += os.read(master, 65536)
        except OSError:  # it ended
            break
    os.close(master)
    return process.wait(timeout=30), shown.decode(errors="replace")


def seconds_in(events, phase):
    """From the moment at which the sandbox came into a phase to the next one, or to the kill that ends it."""
    moves = [(e["at_ms"], e["body"].get("to")) for e in events if e["type"] in ("sandbox.phase_changed", "sandbox.kill_intended")]
    for (began, to), (ended, _) in zip(moves, moves[1:]):
        if to == phase:
            return (ended - began) / 1000
    raise AssertionError(f"never in {phase}: {moves}")


@result("a large repository goes up, is edited and comes back exactly, with progress shown on the way")
def _(work):
    repo = make_repository(work / "repo", FILES)
    twin = work / "twin"
    subprocess.run(["cp", "-a", str(repo), str(twin)], check=True)
    before = tree(repo)
    subprocess.run([str(twin / "agent")], cwd=twin, check=True, stdout=subprocess.DEVNULL)
    want = tree(twin)
    changed = {p for p in before.keys() | want.keys() if before.get(p) != want.get(p)}
    assert len(changed) >= FILES // 20, len(changed)
    with Installation(work, config="[policy]\nupload_part_kib = 1024\n") as skep:
        code, shown = on_terminal(skep, "run", "--repo", repo, "--", "./agent")
        assert code == 0, shown[-2000:]
        assert re.search(r"upload: part \d+ of \d+, \S+ \S+ of \S+ \S+, \S+ \S+/s, [^\r\n]+ left", shown), shown[-3000:]
        swarm = skep.json("ps", "--all")["swarms"][0]["swarm"]
        events = skep.events(swarm)
        told = [e["body"] for e in events if e["type"] == "transfer.progress"]
        # Each of them, at least once: a part that takes longer than a second is told of meanwhile.
        assert [n for n, _ in itertools.groupby(x["parts_done"] for x in told)] == list(range(told[-1]["parts"] + 1)), told
        assert told[-1]["parts"] >= 2 and [x["done_bytes"] for x in told] == sorted(x["done_bytes"] for x in told), told
        assert told[-1]["done_bytes"] == told[-1]["size_bytes"], told[-1]

        # Nothing of the work tree was touched so far; diff names exactly what changed.
        assert tree(repo) == before
        pane = skep.json("diff", swarm)["panes"][0]
        named = {os.fsencode(c["path"]) for c in pane["changes"]}
        named |= {os.fsencode(c["from"]) for c in pane["changes"] if c["change"] == "renamed"}
        plain = {p for p in changed if p.isascii() and b"\n" not in p}  # others are shown quoted
        assert plain <= named and len(named) == len(changed), (sorted(plain - named)[:5], len(named), len(changed))
        kinds = collections.Counter(c["change"] for c in pane["changes"])
        assert all(kinds[kind] >= FILES // 200 for kind in ("modified", "added", "deleted", "renamed", "copied")), kinds
        print(f"    {FILES} files, {len(changed)} paths changed: {dict(kinds)}", flush=True)
        began = time.monotonic()
        skep.run("apply", swarm, code=0, limit_s=120)
        took = time.monotonic() - began
        got = tree(repo)
        assert got.keys() == want.keys(), sorted(got.keys() ^ want.keys())[:5]
        wrong = [p for p in want if got[p] != want[p]]
        assert not wrong, wrong[:5]
        print(f"    up {seconds_in(events, 'uploading'):.1f} s, back {seconds_in(events, 'collecting'):.1f} s, "
              f"apply {took:.1f} s; archive {told[-1]['size_bytes'] / 1e6:.1f} MB in {told[-1]['parts']} parts", flush=True)


main()
