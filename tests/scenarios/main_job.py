#!/usr/bin/python3
"""The main job, end to end with real sandboxes: a swarm works on a repository and its changes come back."""
# timeout: 240
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import schemas  # noqa: E402 behind the path they need
from installation import Installation, documents_of, finish, git, repository  # noqa: E402 behind the path they need
from scenario import SOURCE, main, scenario, wait_until  # noqa: E402 behind the path they need

# Waits for a line on its input and repeats it; says first that it is there.
ECHO = "#!/bin/sh\necho ready\nwhile IFS= read -r line; do echo \"heard $line\"; echo \"$line\" >>heard.txt; done\n"
# Leaves a result at once and then stays.
STAYS = "#!/bin/sh\necho kept >result.txt\necho ready\nexec tail -f /dev/null\n"


def clone(work, name="clone"):
    """A clone of this very repository: tracked files as they are now, in a commit of its own if need be."""
    path = work / name
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(SOURCE), str(path)], check=True, timeout=60)
    return path


def types(events):
    return [e["type"] for e in events]


def bodies(events, kind):
    return [e["body"] for e in events if e["type"] == kind]


def applies(tree, patch):
    """`git apply --check` accepts the patch; then applies it for good."""
    assert patch.stat().st_size > 0, f"{patch.name} is empty"
    git(tree, "apply", "--check", patch)
    git(tree, "apply", "--index", patch)


def changes(tree):
    """Status letters and names of what is staged: {(letter, name, ...)}."""
    words = git(tree, "diff", "--cached", "-M", "--name-status", "-z").stdout.decode().split("\0")
    found, at = set(), 0
    while at < len(words) - 1:
        size = 3 if words[at][0] in "RC" else 2
        found.add((words[at][0], *words[at + 1:at + size]))
        at += size
    return found


def fresh_tree(work, repo, name):
    """Another clone at the same commit: the tree that was uploaded from a clean worktree."""
    git(work, "clone", "-q", repo, name)
    return work / name


def nothing_left(skep):
    """The host has no sandbox and no holder runs."""
    wait_until("the host has no sandbox", lambda: not skep.sandboxes_at_host() and not skep.holders(), 15)
    folder = skep.host_dir() / "sandboxes"
    assert not os.listdir(folder), f"files of ended sandboxes: {os.listdir(folder)}"


@scenario("the main job brings back all four kinds of change as patches that git apply accepts")
def _(work):
    repo = clone(work)
    head = git(repo, "rev-parse", "HEAD").stdout.decode().strip()
    with Installation(work) as skep:
        lines = skep.json_lines("run", "--repo", repo, "--sandboxes", "2", "--panes", "2", "--", "tools/demo/agent",
                                limit_s=90)
        for line in lines:
            schemas.check(line, "run")
        swarm = lines[0]["run"]["swarm"]
        summary = lines[-1]["summary"]
        assert summary["exit_code"] == 0 and summary["swarm"]["result"] == "completed", summary["swarm"]
        assert [p["result"] for p in summary["panes"]] == ["completed"] * 4

        out = repo / "skep-out" / swarm
        names = {"summary.json", "swarm.patch", "base", "base.json", "base.manifest"} | {f"p{i}{end}" for i in range(4) for end in ("", ".log", ".patch")}
        assert set(os.listdir(out)) == names, sorted(os.listdir(out))
        every = set()
        for i in range(4):
            tree = fresh_tree(work, repo, f"tree-{i}")
            applies(tree, out / f"p{i}.patch")
            demo = f"examples/demo-files/pane-{i}"
            expected = {("A", f"docs/demo/inventory-{i}.md"), ("M", f"{demo}/edit-me.txt"),
                        ("D", f"{demo}/delete-me.txt"), ("R", f"{demo}/rename-me.txt", f"{demo}/renamed.txt")}
            assert changes(tree) == expected, changes(tree)
            every |= expected
            files = {str(p.relative_to(out / f"p{i}/files")) for p in (out / f"p{i}/files").rglob("*") if p.is_file()}
            assert files == {c[-1] for c in expected if c[0] != "D"}, files
            for name in files:
                assert (out / f"p{i}/files" / name).read_bytes() == (tree / name).read_bytes(), name
            log = (out / f"p{i}.log").read_text()
            assert log.startswith(f"pane {i} of 4: starting\n") and log.endswith(f"pane {i}: finished\n"), log
            assert len(log) == summary["panes"][i]["final_offset"]
            inventory = (tree / f"docs/demo/inventory-{i}.md").read_text()
            rows = re.findall(r"^\| `(.+)` \| (\d+) \| `([0-9a-f]{64})` \|$", inventory, re.M)
            assert len(rows) > 20, inventory[:500]
            for name, count, digest in rows:
                data = (repo / name).read_bytes()
                assert (int(count), digest) == (data.count(b"\n"), hashlib.sha256(data).hexdigest()), name
        tree = fresh_tree(work, repo, "tree-all")
        applies(tree, out / "swarm.patch")
        assert changes(tree) == every, changes(tree) ^ every
        written = schemas.check(json.loads((out / "summary.json").read_text()), "summary")
        assert written["swarm"] == swarm and written["merged"] == ["p0", "p1", "p2", "p3"], written["merged"]
        assert written["conflicts"] == [] and len(written["panes"]) == 4 and len(written["sandboxes"]) == 2

        events = skep.events(swarm)
        for event in events:
            schemas.check(event, "event")
        assert types(events)[:2] == ["command.accepted", "swarm.created"], types(events)
        assert types(events)[-1] == "swarm.closed", types(events)
        base = bodies(events, "sandbox.base_recorded")
        assert [(b["commit"], b["is_head"]) for b in base] == [(head, True)] * 2, base
        assert not git(repo, "status", "--porcelain", "--", ":!skep-out").stdout, "the user's worktree was touched"
        nothing_left(skep)


@scenario("a worktree with changes is uploaded exactly as it is and its base is not HEAD")
def _(work):
    odd = {"with space.txt": "a\n", "ümläut-日本.txt": "b\n", "tab\there.txt": "c\n", "new\nline.txt": "d\n",
           '"quoted" \\back.txt': "e\n", "-dash.txt": "f\n", "deep/er/$HOME;`id`.txt": "g\n"}
    repo = repository(work / "repo", {
        "list": "#!/bin/sh\nset -e\ngit ls-files -z | xargs -0 sha256sum -z -- | sort -z >/tmp/list\n"
                "git status --porcelain >/tmp/status\ncp /tmp/list found.bin\ncp /tmp/status status.txt\n",
        "same.txt": "same\n", "modified.txt": "old\n", "deleted.txt": "gone\n", ".gitignore": "*.ignored\nout/\n"})
    (repo / "modified.txt").write_text("new\n")
    (repo / "deleted.txt").unlink()
    (repo / "untracked.txt").write_text("untracked\n")
    (repo / "untracked.sh").write_text("#!/bin/sh\n")
    (repo / "untracked.sh").chmod(0o755)
    (repo / "secret.ignored").write_text("never\n")
    (repo / "out").mkdir()
    (repo / "out/built.o").write_text("never\n")
    (repo / ".env").write_text("KEY=never\n")
    (repo / "skep-out").mkdir()
    (repo / "skep-out/earlier").write_text("never\n")
    for name, text in odd.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    expected = {name: hashlib.sha256((repo / name).read_bytes()).hexdigest()
                for name in [*odd, "list", "same.txt", "modified.txt", ".gitignore", "untracked.txt", "untracked.sh"]}
    head = git(repo, "rev-parse", "HEAD").stdout.decode().strip()
    with Installation(work) as skep:
        lines = skep.json_lines("run", "--repo", repo, "--", "./list")
        swarm, summary = lines[0]["run"]["swarm"], lines[-1]["summary"]
        files = repo / "skep-out" / swarm / "p0/files"
        assert summary["exit_code"] == 0, summary
        found = {}
        for item in filter(None, (files / "found.bin").read_bytes().decode().split("\0")):
            digest, _, name = item.partition("  ")
            found[name] = digest
        assert found == expected, {k for k in found.items() ^ expected.items()}
        assert (files / "status.txt").read_text() == "", "the base commit does not hold what was uploaded"
        base = bodies(skep.events(swarm), "sandbox.base_recorded")[0]
        assert base["is_head"] is False and base["commit"] != head and base["files"] == len(expected), base
        # The patch is on the tree that was uploaded: the worktree as it stands.
        git(repo, "apply", "--check", repo / "skep-out" / swarm / "p0.patch")


@scenario("with --share-tree the panes of a sandbox work in one tree and results are per sandbox")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/bash\necho $SKEP_PANE_INDEX >from-$SKEP_PANE_INDEX\n"
                                               "mkfifo /tmp/gate-$SKEP_PANE_INDEX\n"
                                               "until [ -e from-0 ] && [ -e from-1 ]; do\n"
                                               "  read -r -t 0.1 x <>/tmp/gate-$SKEP_PANE_INDEX\ndone\n"
                                               "echo both\n"})
    # A pane ends only when it sees the other's file: with trees of their own neither would end.
    with Installation(work) as skep:
        done = skep.json_lines("run", "--repo", repo, "--panes", "2", "--share-tree", "--limit", "60s", "--",
                               "./agent")
        swarm, summary = done[0]["run"]["swarm"], done[-1]["summary"]
        assert summary["exit_code"] == 0, summary["swarm"]
        out = repo / "skep-out" / swarm
        assert {"sandbox-0.patch", "swarm.patch", "p0.log", "p1.log"} <= set(os.listdir(out)), os.listdir(out)
        assert not (out / "p0.patch").exists()
        applies(fresh_tree(work, repo, "tree"), out / "sandbox-0.patch")
        assert changes(work / "tree") == {("A", "from-0"), ("A", "from-1")}


@scenario("a kept sandbox stays, skep says how to end it, and skep kill ends it")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho done >done.txt\n"})
    with Installation(work) as skep:
        done = skep.run("run", "--repo", repo, "--keep", "--name", "kept-one", "--", "./agent")
        assert done.returncode == 0, done.stderr
        assert "Kept sandboxes: 1. End them: skep kill" in done.stderr, done.stderr
        box = skep.json("ps", "--all")["sandboxes"][0]
        assert box["kept"] and box["state"] == "closed" and not box["kill_intended"], box
        running = schemas.check(skep.json("ps"), "ps")
        assert running["swarms"] == [] and [b["sandbox"] for b in running["kept"]] == [box["sandbox"]], running
        told = f"1 kept sandbox: {box['swarm']}, for at most "
        assert told in skep.run("ps", code=0).stdout and told in skep.run("daemon", "status", code=0).stdout
        assert "(1 kept)" in skep.run("ps", "--all", code=0).stdout
        plan = skep.json("recover", "--plan", "--ask")["steps"]
        assert [s["at_provider"] for s in plan if s["action"] == "keep"] == ["there"], plan
        assert "1 of ours, all known" in [s["at_provider"] for s in plan if s["action"] == "look_for_orphans"], plan
        refused = skep.json("stop", "kept-one", code=65)["error"]
        assert f"`skep kill {box['swarm']}` ends it" in refused["message"], refused
        assert skep.sandboxes_at_host() == [box["remote_id"]] and list(skep.holders()) == [box["remote_id"]]
        schemas.check(skep.json("kill", "kept-one"), "stop")
        nothing_left(skep)
        wait_until("the kill is confirmed", lambda: skep.json("ps", "--all")["sandboxes"][0]["kill_confirmed"])


@scenario("a line that is sent reaches the agent exactly once and stop keeps the results")
def _(work):
    repo = repository(work / "repo", {"agent": ECHO})
    with Installation(work) as skep:
        schemas.check(skep.json("daemon", "start"), "daemon")
        started = schemas.check(skep.json("run", "--repo", repo, "--name", "talk", "--detach", "--", "./agent"), "run")
        swarm = started["run"]["swarm"]
        skep.running(swarm, "ready")
        first = schemas.check(skep.json("send", "talk/p0", "hello", "agent"), "send")
        second = skep.json("send", f"{swarm}/p0", input="from standard input\n")
        assert second["seq"] > first["seq"]

        schemas.check(skep.json("ps"), "ps")
        status = schemas.check(skep.json("status", "talk"), "status")
        assert status["swarm"]["state"] == "running" and status["panes"][0]["state"] == "running"
        pane = status["panes"][0]["pane"]

        def heard():
            pieces = [schemas.check(d, "log") for d in skep.json_lines("logs", pane, "--from", "0")]
            text = "".join(d["text"] for d in pieces)
            return text if "standard input" in text else None
        text = wait_until("the agent heard both lines", heard)
        assert text == "ready\nheard hello agent\nheard from standard input\n", text

        asked = schemas.check(skep.json("stop", "talk"), "stop")
        assert asked["swarms"] == [swarm]
        status = schemas.check(skep.closed(swarm), "status")
        assert status["swarm"]["result"] == "cancelled", status["swarm"]
        heard_file = repo / "skep-out" / swarm / "p0/files/heard.txt"
        assert heard_file.read_text() == "hello agent\nfrom standard input\n"
        assert (repo / "skep-out" / swarm / "p0.log").read_text() == text
        for words, code in ((("send", pane, "late"), "wrong_phase"), (("stop", swarm), "wrong_phase"),
                            (("kill", swarm), "wrong_phase"), (("status", "sw_nothing"), "no_such_swarm"),
                            (("send", "pn_nothing", "x"), "no_such_pane")):
            expected = {"wrong_phase": 65}.get(code, 66)
            refused = schemas.check(skep.json(*words, code=expected), "error")["error"]
            assert refused["code"] == code and refused["hint"], refused
        for event in skep.events():
            schemas.check(event, "event")
        nothing_left(skep)


@scenario("skep kill ends a swarm at once and leaves nothing at the host")
def _(work):
    repo = repository(work / "repo", {"agent": STAYS})
    with Installation(work) as skep:
        swarm = skep.json("run", "--repo", repo, "--panes", "2", "--detach", "--", "./agent")["run"]["swarm"]
        skep.running(swarm, "ready")
        assert skep.json("kill", swarm)["swarms"] == [swarm]
        status = skep.closed(swarm, 20)
        assert status["swarm"]["result"] == "killed", status["swarm"]
        assert {p["state"] for p in status["panes"]} == {"closed"}, status["panes"]
        nothing_left(skep)


@scenario("the first Ctrl+C stops the run gracefully, keeps its results and says so")
def _(work):
    repo = repository(work / "repo", {"agent": STAYS})
    with Installation(work) as skep:
        client = skep.popen("run", "--repo", repo)  # no command: refused, and nothing started
        assert finish(client)[0] == 64
        client = skep.popen("run", "--repo", repo, "--json", "--", "./agent")
        lines = documents_of(client.stdout)
        swarm = next(lines)["run"]["swarm"]
        skep.running(swarm, "ready")
        os.kill(client.pid, signal.SIGINT)
        rest = list(lines)
        code, _, err = finish(client)
        assert code == 130, (code, err)
        assert "Stopping" in err and "results are kept" in err, err
        assert rest[-1]["summary"]["swarm"]["result"] == "cancelled", rest[-1]
        assert (repo / "skep-out" / swarm / "p0/files/result.txt").read_text() == "kept\n"
        nothing_left(skep)


@scenario("a second Ctrl+C and a hangup leave the run to itself")
def _(work):
    # Takes no hint, so that a stop takes as long as it is given.
    repo = repository(work / "repo", {"agent": "#!/bin/bash\ntrap '' TERM INT HUP\nmkfifo /tmp/gate\necho ready\n"
                                               "read -r x <>/tmp/gate\n"})
    with Installation(work) as skep:
        hung = skep.popen("run", "--repo", repo, "--json", "--", "./agent")
        swarm = next(documents_of(hung.stdout))["run"]["swarm"]
        skep.running(swarm, "ready")
        os.kill(hung.pid, signal.SIGHUP)
        code, out, _ = finish(hung)
        assert code == 129 and json.loads(out.splitlines()[-1]) == {"detached": {"swarm": swarm}}, (code, out)
        assert skep.json("status", swarm)["swarm"]["state"] == "running"

        client = skep.popen("run", "--repo", repo, "--", "./agent")
        other = wait_until("the second swarm",
                           lambda: {s["swarm"] for s in skep.json("ps")["swarms"]} - {swarm}).pop()
        skep.running(other, "ready")
        os.kill(client.pid, signal.SIGINT)
        wait_until("the stop is accepted",
                   lambda: skep.json("status", other)["swarm"]["state"] == "stopping")
        os.kill(client.pid, signal.SIGINT)
        code, _, err = finish(client)
        assert code == 130 and f"{other} is being stopped; results will be in " in err, (code, err)
        assert f"skep kill {other}" in err and "Still running" not in err, err
        skep.json("kill", "--all")
        for name in (swarm, other):
            skep.closed(name, 20)
        nothing_left(skep)


@scenario("a second run in the same state works and a failed agent gives its exit code")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho \"$SKEP_PANE_INDEX\" >out.txt\nexit $1\n"})
    with Installation(work) as skep:
        first = skep.json_lines("run", "--repo", repo, "--", "./agent", "0")
        pid = skep.json("daemon", "status")["pid"]
        second = skep.json_lines("run", "--repo", repo, "--", "./agent", "0")
        third = skep.json_lines("run", "--repo", repo, "--restarts", "0", "--", "./agent", "3", code=81)
        assert skep.json("daemon", "status")["pid"] == pid
        swarms = [lines[0]["run"]["swarm"] for lines in (first, second, third)]
        assert len(set(swarms)) == 3
        for swarm in swarms:
            assert (repo / "skep-out" / swarm / "p0/files/out.txt").read_text() == "0\n"
        ended = third[-1]["summary"]
        assert ended["swarm"]["result"] == "failed" and ended["panes"][0]["exit_code"] == 3, ended
        assert [s["swarm"] for s in skep.json("ps", "--all")["swarms"]] == swarms[::-1]
        assert skep.json("ps")["swarms"] == []
        nothing_left(skep)
        assert schemas.check(skep.json("daemon", "stop"), "daemon-stop") == {"open_swarms": 0}
        assert skep.json("daemon", "status", code=69)["error"]["code"] == "no_daemon"
        # The next daemon, which a question about runs starts, still knows what was.
        assert len(schemas.check(skep.json("ps", "--all"), "ps")["swarms"]) == 3


@scenario("an agent that makes a virtual environment loses its links to the sandbox, and nothing else")
def _(work):
    agent = """#!/bin/sh
mkdir -p .venv/bin && ln -s /usr/bin/python3 .venv/bin/python3 && ln -s python3 .venv/bin/python && echo home >.venv/pyvenv.cfg
echo made >made.txt
[ "$SKEP_PANE_INDEX" = 0 ] || { git add -A && git commit -qm "all of it"; }
"""
    repo = repository(work / "repo", {"agent": agent})
    with Installation(work) as skep:
        lines = skep.json_lines("run", "--repo", repo, "--panes", "2", "--", "./agent")
        swarm, summary = lines[0]["run"]["swarm"], lines[-1]["summary"]
        assert summary["swarm"]["result"] == "completed", summary["swarm"]
        out = repo / "skep-out" / swarm
        for pane in ("p0", "p1"):
            assert (out / pane / "files/made.txt").read_text() == "made\n"
            assert (out / pane / "files/.venv/pyvenv.cfg").read_text() == "home\n"
            assert os.readlink(out / pane / "files/.venv/bin/python") == "python3"
            assert not (out / pane / "files/.venv/bin/python3").is_symlink(), "a link to the sandbox came back"
            record = json.loads((out / pane / "changes.json").read_text())
            assert record["patch"] == "without_links", record["patch"]
            assert record["left_out"] == [{"path": ".venv/bin/python3", "target": "/usr/bin/python3"}], record["left_out"]
            patch = (out / f"{pane}.patch").read_text()
            assert "made.txt" in patch and "/usr/bin/python3" not in patch, patch
        told = [e["body"]["text"] for e in skep.events(swarm) if e["type"] == "notice" and e["body"]["code"] == "links_left_out"]
        assert len(told) == 2 and all(".venv/bin/python3 -> /usr/bin/python3" in text for text in told), told
        shown = skep.run("diff", f"{swarm}/p0", code=0)
        assert "out of its tree. It is left out." in shown.stdout + shown.stderr, shown


@scenario("a failed agent's exit code is told, its results come back, and nothing is left of its prompt")
def _(work):
    word = "prompt-canary-4be1c9"
    tools = work / "tools"
    tools.mkdir()
    (tools / "claude").write_text("#!/bin/sh\nread -r line\necho \"$line\" | tr a-z A-Z >result.txt\n"
                                  "ls ~/.skep/in >inbox.txt 2>&1\nexit 3\n")
    (tools / "claude").chmod(0o755)
    work.chmod(0o711)
    repo = repository(work / "repo")
    with Installation(work, config=f'[local]\nbind = ["{tools}"]\n') as skep:
        skep.environment["PATH"] = f"{tools}:{skep.environment['PATH']}"
        skep.json("secret", "set", "ANTHROPIC_API_KEY", input="sk-not-a-key")
        lines = skep.json_lines("run", "--repo", repo, "--agent", "claude", "--prompt", word, code=81)
        swarm, summary = lines[0]["run"]["swarm"], lines[-1]["summary"]
        assert summary["swarm"]["result"] == "failed" and summary["panes"][0]["exit_code"] == 3, summary["panes"]
        files = repo / "skep-out" / swarm / "p0/files"
        assert (files / "result.txt").read_text() == word.upper() + "\n"
        assert (files / "inbox.txt").read_text() == "", "the agent ran beside its prompt"
        nothing_left(skep)
        # What is left of it is the order itself, in the journal.
        places = [skep.state, skep.host_dir(), repo / "skep-out"]
        left = [str(p) for place in places for p in place.rglob("*") if p.is_file() and not p.is_symlink()
                and not p.name.startswith("skep.db") and word.encode() in p.read_bytes()]
        assert not left, left


main()
