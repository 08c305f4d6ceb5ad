"""Pausing and resuming."""
import time

from e2b import Sandbox, SandboxQuery, SandboxState

from harness import api, create, group, run, test, until


def number(sandbox, path):
    text = sandbox.files.read(path).strip()
    return int(text) if text else 0


group("pause and resume")


@test("a paused sandbox keeps its memory and goes on where it was")
def _():
    sandbox = create()
    counter = sandbox.commands.run("n=0; echo 0 >count; while :; do n=$((n+1)); echo $n >count; sleep 0.02; done", background=True, timeout=0)
    until(lambda: sandbox.files.exists("count") and number(sandbox, "count") > 3, "the counter counts")
    assert sandbox.pause() is True
    assert sandbox.get_info().state == SandboxState.PAUSED
    assert sandbox.is_running() is False
    again = Sandbox.connect(sandbox.sandbox_id)
    assert counter.pid in [p.pid for p in again.commands.list()]
    first = number(again, "count")
    until(lambda: number(again, "count") > first, "the counter goes on")
    assert again.get_info().state == SandboxState.RUNNING


@test("pausing twice says so, and connecting resumes once")
def _():
    sandbox = create()
    assert sandbox.pause() is True
    assert Sandbox.pause(sandbox.sandbox_id) is False
    connect = lambda: api("POST", f"/sandboxes/{sandbox.sandbox_id}/connect", json={"timeout": 60}).status_code
    assert connect() == 201
    assert connect() == 200


@test("a paused sandbox has no end of its lease and is found by its state")
def _():
    mark = f"paused{time.time()}"
    sandbox = create(metadata={"mark": mark}, timeout=3)
    other = create(metadata={"mark": mark})
    sandbox.pause()
    time.sleep(3.5)  # sleep: longer than the lease was, which must not end

    def found(*states):
        return {x.sandbox_id for x in Sandbox.list(query=SandboxQuery(metadata={"mark": mark}, state=list(states))).next_items()}
    assert found(SandboxState.PAUSED) == {sandbox.sandbox_id}
    assert found(SandboxState.RUNNING) == {other.sandbox_id}
    assert len(found(SandboxState.RUNNING, SandboxState.PAUSED)) == 2
    assert Sandbox.kill(sandbox.sandbox_id) is True
    assert found(SandboxState.PAUSED) == set()


@test("a lease that ends in a pause keeps the sandbox")
def _():
    sandbox = create(timeout=600, lifecycle={"on_timeout": "pause"})
    sandbox.files.write("kept", "still here")
    sandbox.set_timeout(1)
    until(lambda: sandbox.get_info().state == SandboxState.PAUSED, "the pause at the end of the lease")
    sandbox.connect()
    assert sandbox.files.read("kept") == "still here"


@test("a request for a sandbox that resumes by itself resumes it")
def _():
    sandbox = create(lifecycle={"on_timeout": "pause", "auto_resume": True})
    sandbox.pause()
    assert sandbox.commands.run("echo awake").stdout == "awake\n"
    assert sandbox.get_info().state == SandboxState.RUNNING


@test("nothing runs while a sandbox is paused")
def _():
    sandbox = create()
    sandbox.commands.run("while :; do date +%s%N >>ticks; sleep 0.02; done", background=True, timeout=0)
    until(lambda: sandbox.files.exists("ticks") and sandbox.files.read("ticks"), "the ticks begin")
    sandbox.pause()
    time.sleep(1.2)  # sleep: what must not be seen is time that passes inside
    Sandbox.connect(sandbox.sandbox_id)

    def gaps():
        ticks = [int(line) / 1e9 for line in sandbox.files.read("ticks").split()]
        wide = [b - a for a, b in zip(ticks, ticks[1:]) if b - a > 1]
        return wide
    assert len(until(gaps, "a gap in the ticks")) == 1


run()
