#!/usr/bin/python3
"""The real Claude Code CLI in sandboxes without a network, driven by a scripted model server through the gateway."""
# timeout: 180
import json
import os
import re
import select
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import schemas  # noqa: E402 behind the path they need
from installation import Installation, git, repository  # noqa: E402 behind the path they need
from scenario import SOURCE, Skip, main, scenario  # noqa: E402 behind the path they need
from secret_forms import forms  # noqa: E402 behind the path they need

PINNED = "2.1.197"
FAKE = SOURCE / "tests" / "fake-anthropic"
KEY = "sk-ant-api03-canary-5f1d0c77e2f94b6a-REAL"
PLACEHOLDER = "skep-placeholder-key"


def claude():
    """The real path of the pinned CLI: $SKEP_CLAUDE, or what `tools/setup --for test` installed."""
    path = Path(os.environ.get("SKEP_CLAUDE") or SOURCE / "build/npm/node_modules/.bin/claude")
    if not path.exists():
        raise Skip(f"the Claude Code CLI {PINNED} is not installed (tools/setup --for test)")
    return path


class Model:
    """The scripted server on a free port of the loopback interface, for the time of a block."""

    def __init__(self, work, script, *options):
        self.log = work / "server.log"
        self.argv = ["node", str(FAKE / "server.mjs"), "--scenario", str(script), "--log", str(self.log), *options]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert select.select([self.process.stdout], [], [], 20)[0], "the model server does not start"
        self.url = json.loads(self.process.stdout.readline())["url"]
        return self

    def __exit__(self, *failure):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()

    def state(self):
        with urllib.request.urlopen(self.url + "/__fake/state", timeout=10) as answer:
            return json.load(answer)


def reachable(program, work):
    """The program, or a copy below `work` where the clone lies in a private home: root's sandboxes belong to another user."""
    folders = [*program.parents, *program.resolve().parents]
    if os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in folders):
        return program
    work.chmod(0o755)
    copy = work / "cli" / "claude"
    copy.parent.mkdir()
    shutil.copy(program.resolve(), copy)
    copy.chmod(0o755)
    return copy


def prepare(work, model, key, more=""):
    """Configuration, key and PATH so that `--agent claude` is the pinned CLI and talks to the scripted server. `more`: of [local]."""
    program = reachable(claude(), work)
    # The file itself lies where npm put it; inside, its folder is shown at the same place.
    folders = sorted({str(program.parent), str(program.resolve().parent)})
    skep = Installation(work, config="[local]\nbind = " + json.dumps(folders)
                        + f'\nupstream = {{"api.anthropic.com" = "{model.url}"}}\n{more}')
    skep.environment["PATH"] = f"{program.parent}:{skep.environment['PATH']}"
    schemas.check(skep.json("secret", "set", "ANTHROPIC_API_KEY", input=key), "secret")
    return skep


def holds(data, key):
    """True when the bytes hold the key in any of its forms."""
    return any(form in data for form in forms(key).values())


def files_with(key, folder):
    return [str(path) for path in Path(folder).rglob("*")
            if path.is_file() and not path.is_symlink() and holds(path.read_bytes(), key)]


@scenario("the real Claude CLI makes the commit of its scenario behind the gateway and it comes back as a patch")
def _(work):
    repo = repository(work / "repo", {"README": "a repository\n"})
    prompt = work / "task.md"
    prompt.write_text("Write hello.txt and commit it.\n")
    with Model(work, FAKE / "scenarios/write-and-run.json", "--key", KEY) as model:
        skep = prepare(work, model, KEY)
        with skep:
            lines = skep.json_lines("run", "--repo", repo, "--agent", "claude", "--prompt-file", prompt,
                                    "--sandboxes", "2", "--keep", limit_s=120)
            for line in lines:
                schemas.check(line, "run")
            swarm, summary = lines[0]["run"]["swarm"], lines[-1]["summary"]
            assert summary["exit_code"] == 0, (summary["swarm"], summary["panes"])
            assert [p["result"] for p in summary["panes"]] == ["completed"] * 2, summary["panes"]
            for pane in summary["panes"]:
                assert pane["turns"] >= 3 and pane["input_tokens"] > 0 and pane["output_tokens"] > 0, pane

            # The server answers 401 to any other key: it saw the real one, and all it expected.
            seen = model.state()
            assert seen["failures"] == [], seen["failures"]
            assert seen["requests"] >= 6 and '"answer":401' not in model.log.read_text(), seen

            out = repo / "skep-out" / swarm
            for name in ("p0", "p1"):
                text = (out / f"{name}.patch").read_text()
                assert len(re.findall(r"^From [0-9a-f]{40} ", text, re.M)) == 1, text
                assert re.search(r"^Subject: \[PATCH\] Add hello\.txt$", text, re.M), text
                assert re.search(r"^From: skep agent <agent@skep\.invalid>$", text, re.M), text
                changed = re.findall(r"^[-+](?![-+]).*$", text.split("\ndiff --git ")[1], re.M)
                assert [c for c in changed if c != "-- "] == ["+hello from the fake model"], changed
                tree = work / f"tree-{name}"
                git(work, "clone", "-q", repo, tree)
                git(tree, "am", "-q", out / f"{name}.patch")
                shown = git(tree, "log", "-1", "--format=%an|%ae|%B", "--name-status").stdout.decode()
                assert shown.split() == "skep agent|agent@skep.invalid|Add hello.txt A hello.txt".split(), shown
                assert (tree / "hello.txt").read_text() == "hello from the fake model\n"
            # Both write the same file with the same words: one goes in, or both are named.
            written = json.loads((out / "summary.json").read_text())
            assert set(written["merged"]) | set(written["conflicts"]) == {"p0", "p1"}, written

            kinds = [e["body"]["kind"] for e in skep.events(swarm) if e["type"] == "pane.block"]
            assert {"text", "tool_use", "tool_result"} <= set(kinds), kinds

            # Inside: only lo, only the placeholder. The kept sandboxes are looked at from outside.
            for remote in skep.sandboxes_at_host():
                home = skep.host_dir() / "sandboxes" / remote / "home"
                assert not files_with(KEY, home), files_with(KEY, home)
            for place in (skep.state / "logs", out):
                assert not files_with(KEY, place), files_with(KEY, place)
            database = sorted(skep.state.glob("skep.db*")) + [skep.state / "skepd.log"]
            assert not [p for p in database if holds(p.read_bytes(), KEY)]


@scenario("inside the sandbox there is only lo and the agent's environment holds only the placeholder")
def _(work):
    """A stand-in named `claude` shows what the real one is given."""
    folder = work / "tools"
    folder.mkdir()
    work.chmod(0o755)
    agent = folder / "claude"
    agent.write_text("#!/bin/bash\nenv >env.txt\nls /sys/class/net >net.txt 2>/dev/null\ncut -d: -f1 /proc/net/dev >dev.txt\n"
                     "cat >prompt.txt\nprintf '%s\\n' \"$@\" >argv.txt\ncat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' >all-env.txt\n"
                     "cat /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n' >all-cmd.txt\n"
                     "echo '{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"ok\",\"num_turns\":1,"
                     "\"total_cost_usd\":0.5,\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}'\n")
    agent.chmod(0o755)
    repo = repository(work / "repo")
    with Installation(work, config=f'[local]\nbind = ["{folder}"]\n') as skep:
        skep.environment["PATH"] = f"{folder}:{skep.environment['PATH']}"
        skep.json("secret", "set", "ANTHROPIC_API_KEY", input=KEY)
        lines = skep.json_lines("run", "--repo", repo, "--agent", "claude", "--prompt", "pane {index} of {count}",
                                "--panes", "2")
        out = repo / "skep-out" / lines[0]["run"]["swarm"]
        for i in range(2):
            files = out / f"p{i}/files"
            environment = dict(line.split("=", 1) for line in (files / "env.txt").read_text().splitlines() if "=" in line)
            assert environment["ANTHROPIC_API_KEY"] == PLACEHOLDER, environment
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api\.anthropic\.com", environment["ANTHROPIC_BASE_URL"])
            assert [x.strip() for x in (files / "dev.txt").read_text().splitlines()[2:]] == ["lo"]
            assert (files / "prompt.txt").read_text() == f"pane {i} of 2"
            argv = (files / "argv.txt").read_text()
            assert "-p" in argv.split() and "pane" not in argv.split(), argv
        assert not files_with(KEY, out), files_with(KEY, out)


@scenario("an agent that says done and changed nothing ends suspect, and one whose task needs no change does not")
def _(work):
    """A stand-in named `claude` that only speaks, or writes where git does not look."""
    folder = work / "tools"
    folder.mkdir()
    work.chmod(0o755)
    agent = folder / "claude"
    agent.write_text("#!/bin/sh\nread -r word\necho built >out.log\n[ $word = write ] && echo text >file.txt\n"
                     "echo '{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"All done!\"}'\n")
    agent.chmod(0o755)
    repo = repository(work / "repo", {"README": "a repository\n", ".gitignore": "*.log\n"})
    with Installation(work, config=f'[local]\nbind = ["{folder}"]\n') as skep:
        skep.environment["PATH"] = f"{folder}:{skep.environment['PATH']}"
        skep.json("secret", "set", "ANTHROPIC_API_KEY", input=KEY)

        def end(word, *options, code):
            summary = skep.json_lines("run", "--repo", repo, "--agent", "claude", "--prompt", f"{word}\n", *options,
                                      code=code)[-1]["summary"]
            pane = summary["panes"][0]
            return summary["swarm"]["result"], pane["result"], pane["error_code"]

        assert end("talk", code=81) == ("suspect", "suspect", "suspect_result")
        assert end("talk", "--allow-no-changes", code=0) == ("completed", "completed", "")
        assert end("write", code=0) == ("completed", "completed", "")


@scenario("a key that the model server refuses ends the run failed with the exit code of the auth family")
def _(work):
    repo = repository(work / "repo", {"README": "a repository\n"})
    prompt = work / "task.md"
    prompt.write_text("case 401\n")
    with Model(work, FAKE / "scenarios/errors.json") as model:
        skep = prepare(work, model, KEY)
        with skep:
            lines = skep.json_lines("run", "--repo", repo, "--agent", "claude", "--prompt-file", prompt,
                                    code=77, limit_s=60)
            summary = lines[-1]["summary"]
            assert summary["swarm"]["result"] == "failed" and summary["exit_code"] == 77, summary["swarm"]
            pane = summary["panes"][0]
            assert pane["result"] == "failed" and pane["error_code"] == "agent_auth", pane
            # Another attempt would meet the same end: there is none.
            assert pane["attempt"] == 1, pane
            assert model.state()["requests"] >= 1
            assert not skep.sandboxes_at_host()


@scenario("models that spend a run's budget end it as budget, and what their agent did comes back")
def _(work):
    """Each call is 1,250 tokens, half a dollar: 6 dollars are 12 calls, and the agent would go on for ever."""
    repo = repository(work / "repo", {"README": "a repository\n"})
    script = work / "spender.json"
    step = {"name": "Bash", "input": {"command": "date >> ticks.txt; sleep 1", "description": "One step"}}
    script.write_text(json.dumps({"usage": {"input_tokens": 1000, "output_tokens": 50, "cache_read_input_tokens": 200},
                                  "turns": [{"text": "One more step.", "tool_use": step}], "at_end": "repeat"}))
    with Model(work, script) as model:
        skep = prepare(work, model, KEY, 'prices = { "claude" = "400,400,400,400" }\n')
        with skep:
            lines = skep.json_lines("run", "--repo", repo, "--agent", "claude", "--prompt", "Go on until somebody stops you.",
                                    "--budget", "6usd", code=80, limit_s=120)
            swarm, summary = lines[0]["run"]["swarm"], lines[-1]["summary"]
            assert (summary["swarm"]["result"], summary["swarm"]["error_code"]) == ("budget", "budget_spent"), summary["swarm"]
            assert [p["result"] for p in summary["panes"]] == ["budget"], summary["panes"]
            out = repo / "skep-out" / swarm
            written = json.loads((out / "summary.json").read_text())
            # The gateway answers the last call it lets through whatever that costs, and then none. A call whose answer
            # the end of the sandbox cut may not be counted.
            answered = model.state()["requests"]
            assert (answered - 1) * 0.5 - 0.01 < written["cost_usd"] < answered * 0.5 + 0.01, (written["cost_usd"], answered)
            assert 4 <= written["cost_usd"] <= 6.5, written["cost_usd"]
            told = [e["body"]["percent"] for e in skep.events(swarm) if e["type"] == "swarm.budget_warned"]
            assert told and told == sorted(set(told)) and told[0] == 50, told
            ticks = (out / "p0/files/ticks.txt").read_text().splitlines()
            assert len(ticks) >= 4, ticks
            assert not skep.sandboxes_at_host()
            day = next(b for b in skep.json("budget")["budgets"] if b["scope"] == "day")
            assert abs(day["spent_usd"] - written["cost_usd"]) < 0.01 and day["reserved_usd"] == 0, day


main()
