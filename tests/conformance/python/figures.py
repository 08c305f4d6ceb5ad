"""Figures, ports and logs."""
import time
from datetime import datetime, timedelta, timezone

from harness import api, at, create, group, run, test, until

group("metrics")


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


@test("figures are asked for in a span of time, and come in its order")
def _():
    sandbox = create()
    until(sandbox.get_metrics, "a first sample")
    until(lambda: len(sandbox.get_metrics()) > 1 or time.sleep(0.2), "a second one")  # sleep: between two samples
    times = [m.timestamp for m in sandbox.get_metrics()]
    assert times == sorted(times)
    assert sandbox.get_metrics(end=datetime.now(timezone.utc) - timedelta(hours=1)) == []


@test("figures of many sandboxes come in one answer, without those that are not there")
def _():
    ids = sorted(create().sandbox_id for _ in range(2))

    def both():
        found = api("GET", f"/sandboxes/metrics?sandbox_ids={','.join(ids)},inosuchsandbox0000000").json()["sandboxes"]
        return sorted(found) == ids and found
    assert until(both, "a first sample of both")[ids[0]]["memTotal"] > 0


group("ports and logs")


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
