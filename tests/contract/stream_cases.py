"""Streams of envd's processes: listening, deadlines, terminals, and the protocol itself."""
import json
import struct

from process_cases import call, rpc_error, running
from suite import case
from wire import b64, envelope, wait_until

# -- listening --

@case("a client that goes away kills nothing, and another listens on")
def _(t):
    box = t.shared.get()
    stream = box.start("cat", stdin=True)
    pid = stream.pid()
    stream.leave()
    again = box.stream("process.Process/Connect", {"process": {"pid": pid}})
    assert again.pid() == pid
    call(box, "SendInput", {"process": {"pid": pid}, "input": {"stdin": b64("still here\n")}})
    again.until_said("still here\n")
    call(box, "CloseStdin", {"process": {"pid": pid}})
    assert again.finish().end["exited"]


@case("several clients each hear everything")
def _(t):
    box = t.shared.get()
    first = box.start("cat", stdin=True, tag="heard-by-all")
    pid = first.pid()
    others = [box.stream("process.Process/Connect", {"process": {"tag": "heard-by-all"}}) for _ in range(2)]
    for other in others:
        assert other.pid() == pid
    call(box, "SendInput", {"process": {"pid": pid}, "input": {"stdin": b64("to all\n")}})
    call(box, "CloseStdin", {"process": {"pid": pid}})
    assert [s.finish().out for s in (first, *others)] == [b"to all\n"] * 3


@case("who comes after the end still learns how it ended, without the output")
def _(t):
    box = t.shared.get()
    stream = box.start("/bin/bash", "-c", "echo said; exit 7", stdin=False)
    pid = stream.pid()
    stream.finish()
    late = box.stream("process.Process/Connect", {"process": {"pid": pid}}).finish()
    assert late.out == b"" and late.end["exitCode"] == 7 and late.last == {}, late


@case("the deadline of Start kills the process and ends the stream with deadline_exceeded")
def _(t):
    box = t.shared.get()
    stream = box.start("sleep", "600", headers={"Connect-Timeout-Ms": "300"})
    pid = stream.pid()
    assert stream.finish().error.get("code") == "deadline_exceeded"
    wait_until("the process is gone", lambda: pid not in running(box))


@case("the deadline of Connect ends that stream only")
def _(t):
    box = t.shared.get()
    stream = box.start("sleep", "600")
    pid = stream.pid()
    brief = box.stream("process.Process/Connect", {"process": {"pid": pid}}, headers={"Connect-Timeout-Ms": "300"})
    assert brief.finish().error.get("code") == "deadline_exceeded"
    assert pid in running(box)
    call(box, "SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
    assert stream.finish().end["status"] == "signal: killed"


@case("a deadline that is no number, or longer than ten digits, is invalid_argument")
def _(t):
    for text in ("soon", "-1", "12345678901"):
        ended = t.shared.get().start("true", headers={"Connect-Timeout-Ms": text}).finish()
        assert ended.error.get("code") == "invalid_argument", (text, ended)


@case("silence is filled with keepalives at the interval that was asked for")
def _(t):
    box = t.shared.get()
    stream = box.start("sleep", "600", headers={"Keepalive-Ping-Interval": "1"})
    pid = stream.pid()
    stream.until(lambda m: "keepalive" in m.get("event", {}), 10)
    call(box, "SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
    stream.finish()


# -- terminals --

@case("a terminal has the size it was given, also after a change", real=True)
def _(t):
    box = t.shared.get()
    stream = box.start("/bin/sh", pty={"size": {"cols": 91, "rows": 37}}, envs={"PS1": "$ ", "TERM": "dumb"})
    pid = stream.pid()

    def type_in(text):
        assert call(box, "SendInput", {"process": {"pid": pid}, "input": {"pty": b64(text)}}).status == 200
    type_in("stty size\n")
    stream.until_said("37 91", "pty")
    assert call(box, "Update", {"process": {"pid": pid}, "pty": {"size": {"cols": 50, "rows": 20}}}).body == b"{}"
    type_in("stty size\n")
    stream.until_said("20 50", "pty")
    type_in("exit 4\n")
    assert stream.finish().end["exitCode"] == 4


@case("a terminal takes no plain input, and what is no terminal has no size", real=True)
def _(t):
    box = t.shared.get()
    stream = box.start("/bin/cat", pty={"size": {"cols": 80, "rows": 24}})
    pid = stream.pid()
    rpc_error(call(box, "SendInput", {"process": {"pid": pid}, "input": {"stdin": b64("x")}}), 500, "internal")
    rpc_error(call(box, "CloseStdin", {"process": {"pid": pid}}), 500, "unknown")
    call(box, "SendInput", {"process": {"pid": pid}, "input": {"pty": b64("\x04")}})
    ended = stream.finish()
    assert ended.end.get("exited"), ended
    plain = box.start("sleep", "600")
    pid = plain.pid()
    rpc_error(call(box, "Update", {"process": {"pid": pid}, "pty": {"size": {"cols": 80, "rows": 24}}}), 500, "internal")
    call(box, "SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
    plain.finish()


@case("the end waits for whoever holds the output", real=True)
def _(t):
    ended = t.shared.get().run("/bin/sh", "-c", "(sleep 0.3; echo late) & echo early")
    assert ended.out == b"early\nlate\n" and ended.end["exited"], ended


@case("fifty commands at once end each with its own output")
def _(t):
    box = t.shared.get()
    streams = [box.start("echo", f"number {i}", stdin=False) for i in range(50)]
    assert [s.finish().out for s in streams] == [f"number {i}\n".encode() for i in range(50)]


# -- the protocol itself --

@case("a wrong method of HTTP is 405 and says which is right")
def _(t):
    answer = t.shared.get().request("GET", "/process.Process/Start")
    assert answer.status == 405 and answer.headers.get("allow") == "POST", (answer, answer.headers)


@case("a call of another type is 415 and says which are taken")
def _(t):
    box = t.shared.get()
    answer = box.request("POST", "/process.Process/List", b"x", headers={"Content-Type": "text/plain"})
    assert answer.status == 415 and "json" in answer.headers.get("accept-post", ""), (answer, answer.headers)


@case("an RPC that does not exist is 404")
def _(t):
    assert t.shared.get().rpc("process.Process/NoSuchCall", {}).status == 404
    assert t.shared.get().rpc("no.Such/Service", {}).status == 404


@case("a unary call whose body is no JSON is invalid_argument")
def _(t):
    for body in (b"{", b"[1]", b"\xff"):
        rpc_error(call(t.shared.get(), "List", body), 400, "invalid_argument")


@case("a stream whose envelope is cut short or holds no JSON is invalid_argument")
def _(t):
    box = t.shared.get()
    for raw in (struct.pack(">BI", 0, 100) + b"{}", envelope(b"{nonsense"), b"\0\0"):
        ended = box.stream("process.Process/Start", {}, raw=raw).finish()
        assert ended.error.get("code") == "invalid_argument", (raw, ended)


@case("a stream that begins with a length of gigabytes is refused, not waited for")
def _(t):
    ended = t.shared.get().stream("process.Process/Start", {}, raw=struct.pack(">BI", 0, 0xFFFFFFFF)).finish()
    assert ended.error.get("code") in ("invalid_argument", "resource_exhausted"), ended


@case("a start without a command is invalid_argument")
def _(t):
    ended = t.shared.get().stream("process.Process/Start", {"stdin": False}).finish()
    assert ended.error.get("code") == "invalid_argument" and not ended.events, ended


@case("the answer to a stream says what it is")
def _(t):
    stream = t.shared.get().start("true", stdin=False)
    stream.finish()
    heads = b"".join(stream.lines).lower()
    assert b"content-type: application/connect+json" in heads, heads


@case("a unary answer says that it is JSON, and holds at least an empty message")
def _(t):
    answer = call(t.shared.get(), "List", {})
    assert answer.headers["content-type"].startswith("application/json") and isinstance(json.loads(answer.body), dict)
