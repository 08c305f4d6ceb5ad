"""Creating, listing, connecting to and killing sandboxes."""
import re
import time
from concurrent.futures import ThreadPoolExecutor

from e2b import CommandExitException, Sandbox, SandboxNotFoundException, SandboxQuery, SandboxState

from harness import api, create, failure, group, run, test, until


def found(**query):
    return [x.sandbox_id for x in Sandbox.list(query=SandboxQuery(**query)).next_items()]


group("create")


@test("a created sandbox runs, says its id and serves until it is killed")
def _():
    sandbox = create()
    assert re.fullmatch("[a-z0-9]+", sandbox.sandbox_id)
    assert sandbox.is_running() is True
    assert sandbox.kill() is True
    assert sandbox.is_running() is False
    assert sandbox.kill() is False


@test("a sandbox keeps template, metadata and environment of its creation")
def _():
    sandbox = create("my-tpl", metadata={"who": "me & you", "a=b": "c d"}, envs={"COLOUR": "blue"}, timeout=60)
    info = sandbox.get_info()
    assert info.template_id == "my-tpl"
    assert info.metadata == {"who": "me & you", "a=b": "c d"}
    assert info.state == SandboxState.RUNNING
    assert sandbox.commands.run("echo $COLOUR").stdout == "blue\n"
    assert 55 < (info.end_at - info.started_at).total_seconds() < 65
    assert info.cpu_count >= 1 and info.memory_mb > 0


@test("a sandbox knows its own id and that it is one")
def _():
    sandbox = create()
    assert sandbox.commands.run("echo $E2B_SANDBOX $E2B_SANDBOX_ID").stdout == f"true {sandbox.sandbox_id}\n"


@test("a sandbox without a word about its lease has one of five minutes")
def _():
    info = create().get_info()
    assert 295 < (info.end_at - info.started_at).total_seconds() < 305


@test("two sandboxes made at once have files and processes of their own")
def _():
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: create(), range(2))
    one.files.write("/home/user/mine", "x")
    one.commands.run("exec sleep 1000", background=True, timeout=0)
    assert other.files.exists("/home/user/mine") is False
    assert other.commands.list() == []


@test("every field that the API promises is in its answers")
def _():
    sandbox = create()
    detail = api("GET", f"/sandboxes/{sandbox.sandbox_id}").json()
    wanted = {"templateID", "sandboxID", "clientID", "startedAt", "endAt", "envdVersion", "cpuCount", "memoryMB", "diskSizeMB",
              "state", "metadata", "envdAccessToken", "lifecycle"}
    assert wanted <= set(detail), wanted - set(detail)
    assert detail["lifecycle"] == {"autoResume": False, "onTimeout": "kill"}
    listed = next(x for x in api("GET", "/v2/sandboxes").json() if x["sandboxID"] == sandbox.sandbox_id)
    assert "envdAccessToken" not in listed and listed["state"] == "running"


group("list")


@test("the list finds sandboxes by metadata that needs escaping")
def _():
    mark = f"m{time.time()} & =x"
    one = create(metadata={"k y": mark, "n": "1"})
    create(metadata={"k y": mark, "n": "2"})
    found = Sandbox.list(query=SandboxQuery(metadata={"k y": mark, "n": "1"})).next_items()
    assert [x.sandbox_id for x in found] == [one.sandbox_id]
    assert len(Sandbox.list(query=SandboxQuery(metadata={"k y": mark})).next_items()) == 2


@test("the list comes in pages that hold each sandbox once, newest first")
def _():
    mark = f"pages{time.time()}"
    made = [create(metadata={"mark": mark}).sandbox_id for _ in range(3)]
    pages = Sandbox.list(query=SandboxQuery(metadata={"mark": mark}), limit=2)
    first = pages.next_items()
    assert len(first) == 2 and pages.has_next
    second = pages.next_items()
    assert len(second) == 1 and not pages.has_next
    assert [x.sandbox_id for x in first + second] == made[::-1]


@test("a list that nothing matches is empty and has no next page")
def _():
    pages = Sandbox.list(query=SandboxQuery(metadata={"mark": f"nobody{time.time()}"}))
    assert pages.next_items() == [] and not pages.has_next


@test("the list tells of a sandbox what its creation said")
def _():
    mark = f"told{time.time()}"
    info = create("listed-tpl", metadata={"mark": mark}, timeout=90).get_info()
    listed, = Sandbox.list(query=SandboxQuery(metadata={"mark": mark})).next_items()
    assert (listed.template_id, listed.metadata, listed.state) == ("listed-tpl", {"mark": mark}, SandboxState.RUNNING)
    assert (listed.started_at, listed.end_at) == (info.started_at, info.end_at)


@test("the list tells running and paused ones apart")
def _():
    mark = {"mark": f"state{time.time()}"}
    runs, rests = create(metadata=mark), create(metadata=mark)
    rests.pause()
    assert found(metadata=mark, state=[SandboxState.RUNNING]) == [runs.sandbox_id]
    assert found(metadata=mark, state=[SandboxState.PAUSED]) == [rests.sandbox_id]
    assert len(found(metadata=mark)) == 2


group("connect")


@test("a second client connects by id and sees the same files")
def _():
    sandbox = create()
    sandbox.files.write("/home/user/shared.txt", "from the first")
    other = Sandbox.connect(sandbox.sandbox_id)
    assert other.sandbox_id == sandbox.sandbox_id
    assert other.files.read("/home/user/shared.txt") == "from the first"


@test("connect only moves the end later, set_timeout also earlier")
def _():
    sandbox = create(timeout=600)
    before = sandbox.get_info().end_at
    Sandbox.connect(sandbox.sandbox_id, timeout=10)
    assert sandbox.get_info().end_at >= before
    sandbox.set_timeout(120)
    assert 110 < sandbox.get_info().end_at.timestamp() - time.time() < 125


@test("connect makes a short lease as long as it says")
def _():
    sandbox = create(timeout=60)
    Sandbox.connect(sandbox.sandbox_id, timeout=600)
    assert 590 < sandbox.get_info().end_at.timestamp() - time.time() < 605


@test("a client that connects finds the processes of the one before")
def _():
    sandbox = create()
    handle = sandbox.commands.run('read line; echo "got $line"', background=True, stdin=True, timeout=0)
    other = Sandbox.connect(sandbox.sandbox_id)
    assert [p.pid for p in other.commands.list()] == [handle.pid]
    other.commands.send_stdin(handle.pid, "it\n")
    assert handle.wait().stdout == "got it\n"


group("kill")


@test("a sandbox whose lease is over is gone on the control API and at its own address")
def _():
    sandbox = create(timeout=60)
    sandbox.set_timeout(1)
    until(lambda: not sandbox.is_running(), "the end of the lease")
    assert Sandbox.kill(sandbox.sandbox_id) is False
    failure(lambda: Sandbox.connect(sandbox.sandbox_id), SandboxNotFoundException)


@test("a sandbox is killed by its id once")
def _():
    sandbox = create()
    assert [Sandbox.kill(sandbox.sandbox_id), Sandbox.kill(sandbox.sandbox_id)] == [True, False]


@test("killing one sandbox leaves the others and takes it off the list")
def _():
    mark = {"mark": f"kill{time.time()}"}
    one, other = create(metadata=mark), create(metadata=mark)
    one.kill()
    assert found(metadata=mark) == [other.sandbox_id]
    assert other.commands.run("echo alive").stdout == "alive\n"


@test("killing a sandbox ends the commands that run in it")
def _():
    sandbox = create()
    handle = sandbox.commands.run("exec sleep 1000", background=True, timeout=0)
    sandbox.kill()
    error = failure(handle.wait)
    assert not isinstance(error, CommandExitException), "it did not exit, its sandbox went"


run()
