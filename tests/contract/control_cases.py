"""The control API: creating, finding and killing, and what it refuses."""
import datetime
import re
import time
import uuid
from urllib.parse import quote

from suite import case

UNKNOWN = "izzzzzzzzzzzzzzzzzzzz"


def refused(answer, status, word=""):
    """The error body of the control API: code as the status, a message that holds the word."""
    assert answer.status == status, answer
    body = answer.json()
    assert body["code"] == status and isinstance(body["message"], str) and body["message"], body
    assert word.lower() in body["message"].lower(), body
    return body


def mark():
    return uuid.uuid4().hex


def when(text):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text), text
    return datetime.datetime.fromisoformat(text.split(".")[0].rstrip("Z")).replace(tzinfo=datetime.timezone.utc).timestamp()


def listed(t, **query):
    text = "&".join(f"{k}={v}" for k, v in query.items())
    answer = t.api("GET", "/v2/sandboxes" + ("?" + text if text else ""))
    assert answer.status == 200, answer
    return answer


def filter_of(**pairs):
    """The metadata parameter as the JS SDK writes it: a query string in the query, encoded once too often."""
    return quote("&".join(f"{quote(quote(k))}={quote(quote(v))}" for k, v in pairs.items()), safe="")


def left_s(box):
    return when(box.info()["endAt"]) - time.time()


# -- create --

@case("a created sandbox has an id that names can hold, a version the SDKs accept and a token")
def _(t):
    with t.create() as box:
        assert re.fullmatch(r"[a-z0-9]+", box.id), box.made
        assert tuple(map(int, box.made["envdVersion"].split("."))) >= (0, 5, 7), box.made
        assert box.made["templateID"] == "base" and box.made["clientID"] and len(box.token) >= 32, box.made


@case("the old create gives a token where secure is asked for, as the SDKs always do")
def _(t):
    with t.create("", secure=True) as box:
        assert box.token and box.rpc("process.Process/List", {}, token="").status == 401


@case("two creates give two ids and two tokens")
def _(t):
    with t.create() as a, t.create() as b:
        assert a.id != b.id and a.token != b.token


@case("create without a key or with an unknown one is 401")
def _(t):
    for key in ("", "e2b_" + "1" * 40, "nonsense"):
        refused(t.api("POST", "/v2/sandboxes", {"templateID": "base"}, key=key), 401)


@case("create without a template is 400")
def _(t):
    refused(t.api("POST", "/v2/sandboxes", {}), 400, "template")
    refused(t.api("POST", "/v2/sandboxes", {"templateID": 7}), 400)


@case("create with a body that is no JSON object is 400")
def _(t):
    for body in (b"{", b"[]", b"\xff\xfe"):
        refused(t.api("POST", "/v2/sandboxes", body), 400)


@case("a timeout of zero or less, or none of a number, is 400 at create")
def _(t):
    for timeout in (0, -5, "long"):
        refused(t.api("POST", "/v2/sandboxes", {"templateID": "base", "timeout": timeout}), 400)


@case("a timeout beyond 24 hours is 400 and says the limit")
def _(t):
    refused(t.api("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 86401}), 400, "24 hours")


@case("the timeout of create is when it ends")
def _(t):
    with t.create(timeout=77) as box:
        info = box.info()
        assert abs(when(info["endAt"]) - when(info["startedAt"]) - 77) <= 2, info


@case("without a timeout the new create gives 300 seconds and the old one 15")
def _(t):
    for version, seconds in (("/v2", 300), ("", 15)):
        answer = t.api("POST", f"{version}/sandboxes", {"templateID": "base"})
        assert answer.status == 201, answer
        box = answer.json()["sandboxID"]
        info = t.api("GET", f"/sandboxes/{box}").json()
        t.api("DELETE", f"/sandboxes/{box}")
        assert abs(when(info["endAt"]) - when(info["startedAt"]) - seconds) <= 2, (version, info)


@case("metadata comes back as it was given")
def _(t):
    data = {"a": "b c", "k y": "a&b=c d", "ü": "☂ %20 +"}
    with t.create(metadata=data) as box:
        assert box.info()["metadata"] == data, box.info()


@case("metadata that is no map of texts is 400")
def _(t):
    for bad in ([], {"a": 1}, "x"):
        refused(t.api("POST", "/v2/sandboxes", {"templateID": "base", "metadata": bad}), 400)


@case("environment variables that are no map of texts are 400")
def _(t):
    for bad in (["A=1"], {"A": 1}, "A=1"):
        refused(t.api("POST", "/v2/sandboxes", {"templateID": "base", "envVars": bad}), 400)


@case("a domain that is let out needs everything else denied")
def _(t):
    refused(t.api("POST", "/v2/sandboxes", {"templateID": "base", "network": {"allowOut": ["example.com"]}}), 400)


@case("a network of the wrong shape is 400")
def _(t):
    for bad in ({"allowOut": "x"}, {"denyOut": [7]}, []):
        refused(t.api("POST", "/v2/sandboxes", {"templateID": "base", "network": bad}), 400)


@case("a refused create leaves no sandbox")
def _(t):
    name = mark()
    refused(t.api("POST", "/v2/sandboxes", {"templateID": "base", "metadata": {"mark": name}, "timeout": -1}), 400)
    assert listed(t, metadata=filter_of(mark=name)).json() == []


@case("unknown members of create are ignored")
def _(t):
    with t.create(somethingNew={"x": 1}) as box:
        assert box.info()["state"] == "running"


@case("a chunked body is read like any other")
def _(t):
    answer = t.api("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 60},
                   headers={} if t.domain else {"Transfer-Encoding": "chunked"})
    assert answer.status == 201, answer
    assert t.api("DELETE", "/sandboxes/" + answer.json()["sandboxID"]).status == 204


# -- get --

@case("get tells every required member, with figures of the machine")
def _(t):
    with t.create(metadata={"a": "b"}) as box:
        info = box.info()
        for name in ("templateID", "sandboxID", "clientID", "startedAt", "endAt", "envdVersion", "cpuCount", "memoryMB",
                     "diskSizeMB", "state"):
            assert name in info, (name, info)
        assert info["sandboxID"] == box.id and info["state"] == "running", info
        assert info["cpuCount"] >= 1 and info["memoryMB"] >= 1 and isinstance(info["diskSizeMB"], int), info
        assert abs(when(info["startedAt"]) - time.time()) < 30, info


@case("get tells the token, the lists do not")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}) as box:
        assert box.info().get("envdAccessToken") == box.token
        (row,) = listed(t, metadata=filter_of(mark=name)).json()
        assert row["sandboxID"] == box.id and "envdAccessToken" not in row and box.token not in str(row), row


@case("what happens at the end is told by get")
def _(t):
    with t.create() as killed, t.create(autoPause=True) as paused:
        assert killed.info()["lifecycle"]["onTimeout"] == "kill", killed.info()
        assert paused.info()["lifecycle"]["onTimeout"] == "pause", paused.info()


@case("an unknown sandbox is 404 with the code in the body, for every call about one")
def _(t):
    for method, path, body in (("GET", "", None), ("DELETE", "", None), ("POST", "/timeout", {"timeout": 5}),
                               ("POST", "/refreshes", {"duration": 20}), ("POST", "/pause", {}),
                               ("POST", "/connect", {"timeout": 5}), ("GET", "/metrics", None)):
        refused(t.api(method, f"/sandboxes/{UNKNOWN}{path}", body), 404)


@case("an id with characters that no id has is 400")
def _(t):
    refused(t.api("GET", "/sandboxes/NOT_AN_ID"), 400, "sandbox id")


@case("the old form of an id with a client's part is understood")
def _(t):
    with t.create() as box:
        answer = t.api("GET", f"/sandboxes/{box.id}-00000000")
        assert answer.status == 200 and answer.json()["sandboxID"] == box.id, answer
        refused(t.api("GET", f"/sandboxes/{box.id}-1-2"), 400)


# -- kill --

@case("a killed sandbox is gone, and killing it again is 404")
def _(t):
    with t.create() as box:
        answer = box.api("DELETE")
        assert answer.status == 204 and answer.body == b"", answer
        refused(box.api("DELETE"), 404)
        refused(box.api("GET"), 404)


@case("a killed sandbox is 502 for its envd, in E2B's words")
def _(t):
    with t.create() as box:
        box.api("DELETE")
        answer = box.request("GET", "/health")
        assert answer.status == 502, answer
        assert answer.json() == {"sandboxId": box.id, "message": "The sandbox was not found", "code": 502}, answer


@case("a kill ends the streams of the sandbox")
def _(t):
    with t.create() as box:
        stream = box.start("sleep", "600")
        stream.pid()
        assert box.api("DELETE").status == 204
        ended = stream.finish()
        assert ended.end is None and (ended.last is None or ended.error or "broken" in ended.last), ended


@case("a killed sandbox stands in no list")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}) as box:
        box.api("DELETE")
        assert listed(t, metadata=filter_of(mark=name)).json() == []
