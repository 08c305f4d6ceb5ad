"""A sandbox's time: its limit, pausing and resuming, its figures and logs."""
import time

from control_cases import UNKNOWN, filter_of, left_s, listed, mark, refused
from suite import case
from wire import wait_until

# -- time --

@case("a new timeout counts from now and may be shorter")
def _(t):
    with t.create(timeout=600) as box:
        for seconds in (900, 60):
            assert box.api("POST", "/timeout", {"timeout": seconds}).status == 204
            assert abs(left_s(box) - seconds) < 5, (seconds, left_s(box))


@case("a timeout of zero ends the sandbox at once")
def _(t):
    with t.create() as box:
        assert box.api("POST", "/timeout", {"timeout": 0}).status == 204
        wait_until("it is gone", lambda: box.api("GET").status == 404)
        assert box.request("GET", "/health").status == 502


@case("a timeout that is no whole number is 400 and changes nothing")
def _(t):
    with t.create(timeout=600) as box:
        for body in ({}, {"timeout": "60"}, b"nonsense"):
            refused(box.api("POST", "/timeout", body), 400)
        assert left_s(box) > 500


@case("a refresh only ever extends")
def _(t):
    with t.create(timeout=600) as box:
        assert box.api("POST", "/refreshes", {"duration": 20}).status == 204
        assert left_s(box) > 500
        assert box.api("POST", "/refreshes", {"duration": 1800}).status == 204
        assert abs(left_s(box) - 1800) < 5
        refused(box.api("POST", "/refreshes", {"duration": 3601}), 400)


@case("a sandbox whose time is over is gone for all calls")
def _(t):
    with t.create(timeout=1) as box:
        wait_until("it is gone", lambda: box.api("GET").status == 404)
        assert box.request("GET", "/health").status == 502
        refused(box.api("POST", "/connect", {"timeout": 5}), 404)


# -- connect, pause, resume --

@case("connect with a running sandbox is 200, gives the token and only extends")
def _(t):
    with t.create(timeout=600) as box:
        for path, body in (("", {"timeout": 10}), ("/v2", {}), ("/v2", None)):
            answer = t.api("POST", f"{path}/sandboxes/{box.id}/connect", body)
            assert answer.status == 200 and answer.json()["envdAccessToken"] == box.token, answer
            assert answer.json()["sandboxID"] == box.id and answer.json()["envdVersion"], answer
        assert left_s(box) > 500
        assert box.api("POST", "/connect", {"timeout": 1200}).status == 200
        assert abs(left_s(box) - 1200) < 5


@case("the old connect needs its timeout")
def _(t):
    with t.create() as box:
        refused(box.api("POST", "/connect", {}), 400)


@case("a paused sandbox is paused for get and lists, and pausing it again is 409")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}) as box:
        assert box.api("POST", "/pause", {}).status == 204
        assert box.info()["state"] == "paused"
        refused(box.api("POST", "/pause", {"memory": True}), 409, "already paused")

        def ids(**query):
            return [row["sandboxID"] for row in listed(t, metadata=filter_of(mark=name), **query).json()]
        assert ids(state="paused") == [box.id] and ids(state="running") == [] and ids() == [box.id]
        assert t.api("GET", "/sandboxes?metadata=" + filter_of(mark=name)).json() == []


@case("a paused sandbox answers 502 and takes no timeout")
def _(t):
    with t.create() as box:
        assert box.api("POST", "/pause").status == 204
        assert box.request("GET", "/health").status == 502
        refused(box.api("POST", "/timeout", {"timeout": 60}), 409)


@case("connect with a paused sandbox resumes it with 201, files and token as before")
def _(t):
    with t.create() as box:
        box.write("/home/user/kept", b"kept\n")
        assert box.api("POST", "/pause", {}).status == 204
        answer = t.api("POST", f"/v2/sandboxes/{box.id}/connect", {"timeout": 90})
        assert answer.status == 201 and answer.json()["sandboxID"] == box.id, answer
        box.token = answer.json().get("envdAccessToken", "")
        assert box.info()["state"] == "running" and box.read("/home/user/kept").body == b"kept\n"


@case("the old resume is 201 for a paused sandbox and 409 for a running one")
def _(t):
    with t.create() as box:
        refused(box.api("POST", "/resume", {"timeout": 60}), 409, "running")
        assert box.api("POST", "/pause", {}).status == 204
        assert box.api("POST", "/resume", {"timeout": 60}).status == 201
        assert box.info()["state"] == "running"


@case("a process goes on after pause and resume, with what it held in memory", real=True)
def _(t):
    with t.create() as box:
        stream = box.start("/bin/sh", "-c", "x=held; read line; echo $x $line; sleep 600", stdin=True)
        pid = stream.pid()
        stream.leave()
        assert box.api("POST", "/pause", {}).status == 204
        assert t.api("POST", f"/v2/sandboxes/{box.id}/connect", {}).status == 201
        again = box.stream("process.Process/Connect", {"process": {"pid": pid}})
        again.pid()
        assert box.rpc("process.Process/SendInput", {"process": {"pid": pid}, "input": {"stdin": "Z29uCg=="}}).status == 200
        again.until_said("held gon\n")


@case("a sandbox that pauses at its end is there to be resumed")
def _(t):
    with t.create(timeout=1, autoPause=True) as box:
        wait_until("it is paused", lambda: box.info()["state"] == "paused")
        assert t.api("POST", f"/v2/sandboxes/{box.id}/connect", {"timeout": 60}).status == 201
        assert box.request("GET", "/health").status == 204


@case("a paused sandbox can be killed")
def _(t):
    with t.create() as box:
        assert box.api("POST", "/pause", {}).status == 204
        assert box.api("DELETE").status == 204
        refused(box.api("GET"), 404)


# -- metrics, logs --

@case("the figures of many sandboxes come by their ids, unknown ones are left out")
def _(t):
    with t.create() as a, t.create() as b:
        answer = t.api("GET", f"/sandboxes/metrics?sandbox_ids={a.id},{b.id},{UNKNOWN}")
        assert answer.status == 200 and set(answer.json()["sandboxes"]) <= {a.id, b.id}, answer
        wait_until("both have figures", lambda: set(t.api(
            "GET", f"/sandboxes/metrics?sandbox_ids={a.id},{b.id}").json()["sandboxes"]) == {a.id, b.id})


@case("figures hold every member that the SDKs read")
def _(t):
    with t.create() as box:
        rows = wait_until("a figure", lambda: box.api("GET", "/metrics").json())
        for name in ("timestamp", "timestampUnix", "cpuCount", "cpuUsedPct", "memUsed", "memTotal", "memCache", "diskUsed",
                     "diskTotal"):
            assert name in rows[0], (name, rows[0])
        assert abs(rows[0]["timestampUnix"] - time.time()) < 60 and rows[0]["memTotal"] > 0, rows[0]


@case("figures of a time before the sandbox are none")
def _(t):
    with t.create() as box:
        wait_until("a figure", lambda: box.api("GET", "/metrics").json())
        assert box.api("GET", "/metrics?start=1700000000&end=1700000100").json() == []


@case("more than a hundred ids, or none, are 400 for figures")
def _(t):
    refused(t.api("GET", "/sandboxes/metrics?sandbox_ids=" + ",".join(["iabc"] * 101)), 400)


@case("both forms of the logs answer with their members")
def _(t):
    with t.create() as box:
        box.run("echo", "hi")
        old, new = box.api("GET", "/logs"), t.api("GET", f"/v2/sandboxes/{box.id}/logs?limit=5")
        assert old.status == 200 and {"logs", "logEntries"} <= set(old.json()), old
        assert new.status == 200 and isinstance(new.json()["logs"], list), new
        for entry in new.json()["logs"]:
            assert {"timestamp", "level", "message", "fields"} <= set(entry), entry


@case("logs with a direction, level or limit that does not exist are 400")
def _(t):
    with t.create() as box:
        for query in ("direction=sideways", "level=loud", "limit=1001"):
            refused(t.api("GET", f"/v2/sandboxes/{box.id}/logs?{query}"), 400)
