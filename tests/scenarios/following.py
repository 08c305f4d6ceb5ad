#!/usr/bin/python3
"""skep logs -f shows output as it is made, ends with the run, and goes on from any byte."""
# presets: dev
import base64
import statistics
import time
from pathlib import Path

from installation import Installation, documents_of, finish, repository
from scenario import PATIENCE, main, scenario, wait_until

# Answers each line at once with the time at which it wrote; wall time is one clock inside and outside.
STAMPS = """#!/usr/bin/python3
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    if line == "end\\n":
        break
    print(f"{line.strip()} {time.time():.6f}", flush=True)
print("the last words", flush=True)
"""
LIMIT_S = 1.0


@scenario("logs -f shows new output within a second, ends with the run, and goes on from any byte")
def _(work):
    repo = repository(work / "repo", {"agent": STAMPS})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--", "./agent")
        skep.running(swarm, "ready")
        follow = skep.popen("logs", "-f", "--from", "0", "--json", f"{swarm}/p0")
        pieces = documents_of(follow.stdout)
        text, first, delays, seen = "", None, [], []
        for number in range(20):
            skep.run("send", f"{swarm}/p0", f"line {number}", code=0)
            while f"line {number} " not in text or not text.endswith("\n"):
                seen.append(next(pieces))
                text += seen[-1]["text"]
            delays.append(time.time() - float(text.splitlines()[-1].split()[2]))
        assert statistics.median(delays) < LIMIT_S / 2 and sorted(delays)[-2] < LIMIT_S, f"delays {sorted(delays)}"
        skep.run("send", f"{swarm}/p0", "end", code=0)
        seen += list(pieces)
        code, _, err = finish(follow)
        assert code == 0, (code, err)
        whole = skep.log_of(skep.closed(swarm)["panes"][0]).read_bytes()
        assert whole.endswith(b"the last words\n") and whole.count(b"\n") == 22, whole
        at = 0
        for piece in seen:
            assert piece["offset"] == at and piece["size_bytes"] == len(base64.b64decode(piece["data"])), piece
            at += piece["size_bytes"]
        assert b"".join(base64.b64decode(p["data"]) for p in seen) == whole
        # Any byte is a place to go on from, also one in the middle of a line, and also after the end.
        for start in (0, 1, len(whole) // 2, len(whole) - 1, len(whole)):
            again = skep.json_lines("logs", "-f", "--from", start, f"{swarm}/p0")
            assert b"".join(base64.b64decode(p["data"]) for p in again) == whole[start:], start


@scenario("logs -f of a swarm that has only been asked for shows every line of all its panes and ends with it")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho ready\nread -r line\necho \"over, $line\"\n"})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--sandboxes", "2", "--panes", "2", "--", "./agent")
        follow = skep.popen("logs", "-f", swarm)
        panes = wait_until("four panes run", lambda: [s["panes"] for s in [skep.running(swarm, "ready")]
                                                      if len(s["panes"]) == 4])[0]
        assert follow.poll() is None, finish(follow)
        for pane in panes:
            skep.run("send", pane["pane"], f"says {pane['name']}", code=0)
        code, out, err = finish(follow)
        assert code == 0, (code, out, err)
        assert skep.status(swarm)["swarm"]["state"] == "closed"
        expected = [f"p{n} | {text}" for n in range(4) for text in ("ready", f"over, says p{n}")]
        assert sorted(out.splitlines()) == sorted(expected), out


@scenario("logs shows the last 100 lines unless told otherwise")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\nseq 1 250\n"})
    with Installation(work) as skep:
        swarm = skep.json_lines("run", "--repo", repo, "--", "./agent")[0]["run"]["swarm"]
        def lines(*options):
            return skep.run("logs", f"{swarm}/p0", *options, code=0).stdout.splitlines()
        assert lines() == [str(n) for n in range(151, 251)]
        assert lines("--tail", "3") == ["248", "249", "250"]
        assert lines("--tail", "1000") == [str(n) for n in range(1, 251)]


@scenario("of a long log the newest 50 KiB are shown from a whole character on, and skepd grows with neither")
def _(work):
    megabytes = 24
    writer = ("#!/usr/bin/python3\nimport os, sys\nprint('ready', flush=True)\nsys.stdin.readline()\n"
              f"for i in range({megabytes}):\n    os.write(1, ('x' + '\u20ac' * 349525).encode())\n"
              "print(flush=True)\nsys.stdin.readline()\n")
    repo = repository(work / "repo", {"agent": writer})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--", "./agent")
        pane = skep.running(swarm, "ready")["panes"][0]
        resident = Path(f"/proc/{skep.daemon_pid()}/status")

        def memory():
            return int(next(line for line in resident.read_text().splitlines() if line.startswith("VmRSS")).split()[1])
        before = memory()
        skep.run("send", f"{swarm}/p0", "go", code=0)
        log, size = skep.log_of(pane), megabytes * (1 + 3 * 349525) + len("ready\n") + 1
        wait_until("all was written", lambda: log.stat().st_size >= size, 60, every_s=0.2)
        whole = log.read_bytes()
        for newest in (51200, 51201, 51202):
            shown = skep.run("logs", f"{swarm}/p0", "--raw", "--tail-bytes", str(newest), code=0).stdout.encode()
            assert newest - 3 < len(shown) <= newest and whole.endswith(shown), (newest, len(shown))
            assert shown.decode().startswith("\u20ac"), shown[:10]
        grown = memory() - before
        print(f"# skepd grew by {grown} KiB", flush=True)
        if PATIENCE == 1:  # a sanitizer keeps what was freed
            assert grown < 12 * 1024, f"skepd grew by {grown} KiB with {megabytes} MiB of output"
        skep.run("send", f"{swarm}/p0", "end", code=0)
        assert skep.closed(swarm)["swarm"]["result"] == "completed"


main()
