#!/usr/bin/python3
"""What the documents show works as it stands there: the README's commands, the subscribers of docs/protocol.md."""
import importlib.util
import re
import shlex
import subprocess

from installation import Installation, documents_of, finish, repository
from scenario import BIN, SOURCE, Skip, main, scenario, wait_until

# Stands in for the CLI of a model's maker: takes its prompt, says so, and works until it is stopped.
CLAUDE = """#!/bin/sh
echo "prompt: $(cat)"
echo made >made.txt
exec tail -f /dev/null
"""


def examples():
    spec = importlib.util.spec_from_file_location("examples_of_documents", SOURCE / "tools" / "lib" / "examples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.examples()


@scenario("every example of the documents is one that a test compiles or runs")
def _(work):
    assert set(examples()) == {"everyday", "follow-python", "follow-cpp"}, sorted(examples())


@scenario("the five everyday commands of the README work as they stand there")
def _(work):
    lines = [shlex.split(line) for line in examples()["everyday"].splitlines()]
    assert [words[:2] for words in lines] == [["skep", w] for w in ("run", "ps", "logs", "stop", "doctor")], lines
    tools = work / "tools"
    tools.mkdir()
    (tools / "claude").write_text(CLAUDE)
    (tools / "claude").chmod(0o755)
    work.chmod(0o711)
    repo = repository(work / "repo")
    with Installation(work, config=f'[local]\nbind = ["{tools}"]\n') as skep:
        skep.environment["PATH"] = f"{tools}:{skep.environment['PATH']}"
        skep.run("secret", "set", "ANTHROPIC_API_KEY", input="sk-not-a-key", code=0)
        run, ps, logs, stop, doctor = ([word.replace("sw_x", "{swarm}") for word in words[1:]] for words in lines)
        running = skep.popen(*run, cwd=repo)
        # Until the run has started its daemon there is nobody to ask.
        swarm = wait_until("the run is listed", lambda: skep.json("ps", code=None).get("swarms"))[0]["swarm"]
        skep.running(swarm, "prompt: Fix the failing test")
        shown = skep.run(*ps, code=0).stdout
        assert swarm in shown and "running" in shown, shown
        follow = skep.popen(*(word.format(swarm=swarm) for word in logs))
        first = follow.stdout.readline()
        assert "prompt: Fix the failing test" in first, first
        assert "Ready." in skep.run(*doctor, code=0).stdout
        skep.run(*(word.format(swarm=swarm) for word in stop), code=0)
        code, _, err = finish(follow)
        assert code == 0, (code, err)
        code, out, err = finish(running)
        assert code == 130, (code, out[-500:], err[-500:])
        # And what the README says of results.
        out = repo / "skep-out" / swarm
        for name in ("p0.patch", "p0.log", "p0/files/made.txt", "swarm.patch", "summary.json"):
            assert (out / name).exists(), f"{name} is not among the results"
        subprocess.run(["git", "apply", out / "p0.patch"], cwd=repo, check=True)
        assert (repo / "made.txt").read_text() == "made\n"


@scenario("the Python subscriber of docs/protocol.md prints every event once, in order, until the swarm closes")
def _(work):
    if subprocess.run(["/usr/bin/python3", "-c", "import zmq, msgpack"], capture_output=True).returncode != 0:
        raise Skip("python3-zmq and python3-msgpack are not installed")
    (work / "follow.py").write_text(examples()["follow-python"])
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho working\n"})
    with Installation(work) as skep:
        skep.json("daemon", "start")
        # One that is there before the run, and one that comes when all is over.
        early = skep.popen("/usr/bin/python3", work / "follow.py")
        swarm = skep.start(repo, "--sandboxes", "2", "--panes", "2", "--", "./agent")
        skep.closed(swarm)
        late = skep.popen("/usr/bin/python3", work / "follow.py")
        events = skep.events()
        end = next(e["seq"] for e in events if e["type"] == "swarm.closed")
        for process in (early, late):
            code, out, err = finish(process)
            assert code == 0, err[-1500:]
            numbers = [int(line.split()[0]) for line in out.splitlines()]
            assert numbers[:end] == list(range(1, end + 1)), numbers
            times = [int(line.split()[2]) for line in out.splitlines()]
            assert times[:end] == [e["at_ms"] for e in events[:end]]


@scenario("the C++ subscriber of docs/protocol.md compiles, and prints the events of its swarm")
def _(work):
    program = BIN / "example_follow"
    assert program.exists(), "example_follow is not built"
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho working\n"})
    with Installation(work) as skep:
        skep.json("daemon", "start")
        other = skep.start(repo, "--", "./agent")
        swarm = skep.start(repo, "--panes", "2", "--", "./agent")
        told = skep.popen(program, skep.state, swarm)
        seen = list(documents_of(told.stdout))
        code, _, err = finish(told)
        assert code == 0, err[-1500:]
        skep.closed(swarm)
        skep.closed(other)
        wanted = [e for e in skep.events(swarm)]
        end = next(i for i, e in enumerate(wanted) if e["type"] == "swarm.closed")
        assert seen == wanted[:end + 1], (len(seen), end)
        assert re.search(r"no_daemon", skep_less(work, program)), "without a daemon it must say so"


def skep_less(work, program):
    done = subprocess.run([program, work / "nothing", "sw_0000000000000000"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done
    return done.stderr


main()
