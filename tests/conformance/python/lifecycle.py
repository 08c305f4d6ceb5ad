"""Pausing and resuming, figures, ports and logs."""
import time

from e2b import Sandbox, SandboxQuery, SandboxState

from harness import api, at, create, run, test, until


def number(sandbox, path):
    text = sandbox.files.read(path).strip()
    return int(text) if text else 0


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


@test("figures have every field and move with the load")
def _():
    sandbox = create()
    latest = lambda: (sandbox.get_metrics() or [None])[-1]
    idle = until(latest, "a first sample")
    assert idle.cpu_count >= 1 and idle.mem_total > idle.mem_used >= 0 and idle.disk_total > idle.disk_used > 0
    busy = sandbox.commands.run("while :; do :; done", background=True, timeout=0)
    until(lambda: latest().cpu_used_pct > idle.cpu_used_pct + 5, "a busy loop to show")
    busy.kill()


@test("a hundred megabytes show in the figures as about that")
def _():
    sandbox = create()
    latest = lambda: (sandbox.get_metrics() or [None])[-1]
    before = until(latest, "a first sample").mem_used
    holder = sandbox.commands.run("exec python3 -c 'import time; x = bytearray(b\"x\") * 104857600; time.sleep(1000)'", background=True, timeout=0)  # sleep: the command inside holds its memory
    until(lambda: latest().mem_used > before + 95e6, "the memory to show")
    assert latest().mem_used < before + 150e6
    holder.kill()


@test("a port of a program inside answers through the host, and a closed one says so")
def _():
    sandbox = create()
    sandbox.commands.run("mkdir web; echo from inside >web/index.html")
    server = sandbox.commands.run("exec python3 -m http.server 8123 --bind 127.0.0.1 --directory web", background=True, timeout=0)
    answer = until(lambda: (a := at(sandbox, "GET", "/index.html", port=8123)).status_code == 200 and a, "the server inside")
    assert answer.text == "from inside\n"
    closed = at(sandbox, "GET", "/", port=8124)
    assert closed.status_code == 502 and closed.json()["port"] == 8124
    server.kill()


@test("a port that is not public needs the traffic token")
def _():
    sandbox = create(network={"allow_public_traffic": False})
    token = sandbox.traffic_access_token
    assert token
    assert at(sandbox, "GET", "/", port=8124).status_code == 403
    assert at(sandbox, "GET", "/", port=8124, headers={"e2b-traffic-access-token": "wrong"}).status_code == 403
    assert at(sandbox, "GET", "/", port=8124, headers={"e2b-traffic-access-token": token}).status_code == 502
    assert sandbox.commands.run("echo in").stdout == "in\n"  # envd has its own token


@test("the log tells of commands that ran")
def _():
    sandbox = create()
    sandbox.commands.run("true")

    def ended():
        logs = api("GET", f"/v2/sandboxes/{sandbox.sandbox_id}/logs").json()["logs"]
        return [e for e in logs if e["message"] == "process ended"]
    assert until(ended, "the log line")[0]["fields"]["status"] == "exit status 0"


run()
