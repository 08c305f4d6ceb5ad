"""Creating, listing, connecting to and killing sandboxes."""
import re
import time

from e2b import Sandbox, SandboxNotFoundException, SandboxQuery, SandboxState

from harness import api, create, failure, run, test, until


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


@test("a sandbox whose lease is over is gone on the control API and at its own address")
def _():
    sandbox = create(timeout=60)
    sandbox.set_timeout(1)
    until(lambda: not sandbox.is_running(), "the end of the lease")
    assert Sandbox.kill(sandbox.sandbox_id) is False
    failure(lambda: Sandbox.connect(sandbox.sandbox_id), SandboxNotFoundException)


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


run()
