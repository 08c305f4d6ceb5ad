#!/usr/bin/python3
"""Credentials on their way in and on their way back: blocked, asked for, told, recorded, and never shown."""
# timeout: 300
import json
import os
import pty
import select
import signal
import time

import schemas
from installation import Installation, repository
from scenario import main, program, scenario, wait_until
from simulator import KEY, Simulator

# Of GitHub's form, put together here.
VALUE = "github" + "_pat_" + "11AXKQZPM0t7w2r9d4y5v6" + "_" + "Zk3Qw8Lr5Tn2Vb7Xc9Ms4Hd6Jf1Gp0Ye3Ru8Io5Pa2Sz7Dx4Cv9Bn6Mq1Wl"
FILES = {"src/app.py": "print(1)\n", "config/prod.ini": f"[git]\n\ntoken = {VALUE}\n"}


def installation(work, sim, name="state", more=""):
    skep = Installation(work, name, config=sim.config() + more)
    skep.run("secret", "set", "SIM_KEY", input=KEY + "\n")
    return skep


def lines_of(skep, *words, code):
    done = skep.run("--json", *words, code=code)
    return [json.loads(line) for line in done.stdout.splitlines()]


def asked(sim):
    """What the simulator was asked to make, to change or to end, by its own record."""
    return [line for line in sim.record() if line["event"] != "start"]


def holders(folder):
    """Files below a folder in which the value stands."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        if VALUE.encode() in path.read_bytes():
            found.append(str(path))
    return found


def audit(skep, operation):
    return [line for line in skep.json_lines("audit", "show", "-n", "1000") if line["operation"] == operation]


@scenario("a credential blocks a run before anything is made, with exit code 82, findings in JSON and the audit log, and no value anywhere")
def _(work):
    repo = repository(work / "repo", FILES)
    with Simulator(work) as sim, installation(work, sim) as skep:
        out = lines_of(skep, "run", "--repo", repo, "--provider", "sim", "--", "./agent", code=82)
        assert [sorted(line) for line in out] == [["scan"], ["error"]], out
        found = out[0]["scan"]["findings"][0]
        assert (found["path"], found["line"], found["rule"]) == ("config/prod.ini", 3, "github_fine_token"), found
        assert out[1]["error"]["code"] == "credentials_found" and out[1]["error"]["exit_code"] == 82, out[1]
        assert asked(sim) == [], asked(sim)
        skep.json("daemon", "start")
        said = wait_until("the audit log has it", lambda: audit(skep, "SCAN_BLOCKED"), 30)
        assert "config/prod.ini:3 github_fine_token" in said[0]["metadata"]["subject"], said
        assert skep.json("ps", "--all")["swarms"] == []
        assert holders(skep.state) == [] and not any(VALUE in text for text in skep.said)


@scenario("with --scan warn the run goes on; events, JSON and audit log have the findings, and nothing has the value")
def _(work):
    repo = repository(work / "repo", FILES)
    with Simulator(work) as sim, installation(work, sim) as skep:
        out = lines_of(skep, "run", "--repo", repo, "--provider", "sim", "--scan", "warn", "--", "./agent", code=0)
        swarm = out[0]["run"]["swarm"]
        assert out[1]["scan"]["high"] == 1, out[1]
        assert len(sim.record("create")) == 1
        told = [e for e in skep.events(swarm) if e["type"] == "swarm.scanned"]
        assert len(told) == 1 and told[0]["body"]["report"]["findings"][0]["path"] == "config/prod.ini", told
        assert told[0]["body"]["blocked"] is False
        line = audit(skep, "SCAN_FOUND")
        assert line and line[0]["metadata"]["findings"][0]["rule"] == "github_fine_token", line
        skep.run("audit", "verify", code=0)
        assert holders(skep.state) == [] and not any(VALUE in text for text in skep.said)


def at_question(repo, skep, act):
    """The exit code of a run with the policy prompt; `act(terminal, child)` is what is done once it asks."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(str(program("skep")), ["skep", "run", "--repo", str(repo), "--provider", "sim", "--scan", "prompt",
                                         "--detach", "--", "./agent"], skep.environment)
    said, end = b"", time.monotonic() + 60
    try:
        while b"[y/N]" not in said and time.monotonic() < end:
            if select.select([terminal], [], [], 1)[0]:
                said += os.read(terminal, 4096)
        assert b"config/prod.ini:3" in said, said
        act(terminal, child)
        while time.monotonic() < end:
            try:
                if select.select([terminal], [], [], 1)[0]:
                    said += os.read(terminal, 4096)
            except OSError:  # it ended
                break
    finally:
        os.close(terminal)  # one that still asks gets no answer any more
        _, status = os.waitpid(child, 0)
    assert VALUE.encode() not in said
    return os.waitstatus_to_exitcode(status)


@scenario("the policy prompt asks on a terminal, where no is a refusal and yes goes on and is recorded")
def _(work):
    repo = repository(work / "repo", FILES)

    def answer(skep, text):
        """The exit code of a run at whose question this is typed."""
        return at_question(repo, skep, lambda terminal, child: os.write(terminal, text))

    with Simulator(work) as sim, installation(work, sim) as skep:
        assert answer(skep, b"n\n") == 82
        assert asked(sim) == []
        assert answer(skep, b"y\n") == 0
        wait_until("a sandbox is made", lambda: sim.record("create"), 60)
        wait_until("the audit log has both", lambda: audit(skep, "SCAN_BLOCKED") and audit(skep, "SCAN_ASSENTED"), 30)
        wait_until("the run ends", lambda: skep.json("ps", "--all")["swarms"][0]["state"] == "closed", 60)


@scenario("Ctrl+C, a termination and a hangup end a run at the question of the scan, and nothing is asked of anybody")
def _(work):
    repo = repository(work / "repo", FILES)
    with Simulator(work) as sim, installation(work, sim) as skep:
        for act, ended_by in ((lambda terminal, child: os.write(terminal, b"\x03"), signal.SIGINT),
                              (lambda terminal, child: os.kill(child, signal.SIGTERM), signal.SIGTERM),
                              (lambda terminal, child: os.kill(child, signal.SIGHUP), signal.SIGHUP)):
            assert at_question(repo, skep, act) == -ended_by, ended_by
        assert asked(sim) == [], asked(sim)
        assert skep.daemon_pid() is None, "a daemon was started for nothing"
        skep.json("daemon", "start")
        assert skep.json("ps", "--all")["swarms"] == []
        assert not audit(skep, "SCAN_BLOCKED") and not audit(skep, "SCAN_ASSENTED")


@scenario("a dry run with the simulator as its provider makes nothing there and starts no daemon")
def _(work):
    repo = repository(work / "repo", {"a.txt": "one\n", ".env": "A=1\n"})
    more = "usd_per_hour = 0.2\nmax_active = 2\n"
    with Simulator(work) as sim, installation(work, sim, more=more) as skep:
        plan = skep.json("run", "--dry-run", "--repo", repo, "--provider", "sim", "--sandboxes", "3",
                         "--limit", "30min", "--", "./agent")["dry_run"]
        assert plan["would_start"] is True and plan["provider"] == "sim", plan
        assert [(f["path"], f["size_bytes"]) for f in plan["upload"]["files"]] == [("a.txt", 4)]
        assert plan["upload"]["left_out"] == [{"path": ".env", "reason": "always excluded: .env"}]
        assert abs(plan["time_usd_at_most"] - 0.3) < 1e-9, plan
        assert [line["rule"] for line in plan["limits"]] == ["max_active"], plan["limits"]
        assert asked(sim) == [], asked(sim)
        assert not (skep.state / "skep.db").exists()
        # With a daemon that runs, what counts is known; still nothing is made.
        skep.json("daemon", "start")
        plan = skep.json("run", "--dry-run", "--repo", repo, "--provider", "sim", "--", "./agent")["dry_run"]
        assert plan["counts_known"] is True and plan["limits"] == [], plan
        assert plan["upload_ms_estimated"] is None and plan["uploads_measured"] == 0, plan
        assert asked(sim) == [] and skep.json("ps", "--all")["swarms"] == []


@scenario("a credential in what an agent wrote, in a file or in the message of a commit, is told and recorded, and the results are kept")
def _(work):
    agent = "#!/bin/sh\nprintf 'a\\nkey = %s%s\\n' 'github' '" + VALUE[6:] + "' > made.txt\ngit add -A\n" \
            "git -c user.name=A -c user.email=a@example.org commit -qm \"made with $(printf '%s%s' 'github' '" + VALUE[6:] + "')\"\n"
    repo = repository(work / "repo", {"agent": agent})
    with Installation(work) as skep:
        out = lines_of(skep, "run", "--repo", repo, "--", "./agent", code=0)
        swarm = out[0]["run"]["swarm"]
        told = [e["body"] for e in skep.events(swarm) if e["type"] == "transfer.results_scanned"]
        assert len(told) == 1 and told[0]["tree"] == "p0", told
        found = [f for f in told[0]["report"]["findings"] if f["severity"] == "high"]
        assert [(f["path"], f["line"]) for f in found] == [("p0.patch commit 1", 4), ("p0/files/made.txt", 2)], found
        kept = repo / "skep-out" / swarm
        assert VALUE in (kept / "p0" / "files" / "made.txt").read_text() and VALUE in (kept / "p0.patch").read_text()
        assert audit(skep, "RESULTS_SCAN_FOUND"), "not in the audit log"
        assert holders(skep.state) == [] and not any(VALUE in text for text in skep.said)


@scenario("a credential in what a pane has changed so far is told by skep diff, in words and in JSON, and its value is not")
def _(work):
    agent = "#!/bin/sh\nprintf 'a\\nkey = %s%s\\n' 'github' '" + VALUE[6:] + "' > made.txt\necho made\nread line\n"
    repo = repository(work / "repo", {"agent": agent, "README": "a tree\n"})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--", "./agent")
        skep.running(swarm, "made")
        seen = skep.run("diff", f"{swarm}/p0", code=0)
        assert "WARNING: the changes of p0 hold 1 credential: p0/files/made.txt:2 " in seen.stderr, seen.stderr
        assert "SEVERITY" in seen.stderr and "not compared" not in seen.stderr, seen.stderr
        found = schemas.check(skep.json("diff", f"{swarm}/p0"), "diff")
        high = [(f["path"], f["line"], f["rule"]) for f in found["scan"]["findings"] if f["severity"] == "high"]
        assert found["scan"]["high"] == 1 and len(high) == 1 and high[0][:2] == ("p0/files/made.txt", 2), found["scan"]
        assert high[0][2] in seen.stderr, (high, seen.stderr)
        assert not any(VALUE in text for text in skep.said)
        patch = skep.run("diff", f"{swarm}/p0", "--patch", code=0)
        assert VALUE in patch.stdout and VALUE not in patch.stderr and "WARNING: the changes of p0" in patch.stderr
        # A run without the upload at hand goes on; that nothing was compared is said.
        (skep.state / "work" / swarm / "worktree.tar").rename(work / "worktree.tar")
        seen = skep.run("diff", f"{swarm}/p0", code=0)
        assert "not compared with its files" in seen.stderr, seen.stderr
        assert skep.json("diff", f"{swarm}/p0")["panes"][0]["patch_origin"] == "claimed"
        (work / "worktree.tar").rename(skep.state / "work" / swarm / "worktree.tar")
        skep.run("kill", swarm, code=0)


@scenario("what .skepignore leaves out is in no sandbox, and what it takes back is")
def _(work):
    agent = "#!/bin/sh\nfind . -path ./.git -prune -o -type f -print | LC_ALL=C sort\n"
    repo = repository(work / "repo", {"agent": agent, "data/large.bin": "x\n", "data/small.txt": "y\n",
                                      ".skepignore": "data/*.bin\n!/build/\n"})
    (repo / "build").mkdir()
    (repo / "build" / "made.o").write_text("z\n")
    (repo / "node_modules").mkdir()
    (repo / "node_modules" / "m.js").write_text("z\n")
    (repo / ".env").write_text("A=1\n")
    with Installation(work) as skep:
        out = lines_of(skep, "run", "--repo", repo, "--", "./agent", code=0)
        swarm = out[0]["run"]["swarm"]
        seen = (repo / "skep-out" / swarm / "p0.log").read_text().split()
        assert seen == ["./.skepignore", "./agent", "./build/made.o", "./data/small.txt"], seen


main()
