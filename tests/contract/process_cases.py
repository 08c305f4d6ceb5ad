"""envd's processes: starting, typing, signalling, and how each end is told."""
from suite import case
from wire import b64, envelope


def call(box, method, message, **more):
    return box.rpc("process.Process/" + method, message, **more)


def rpc_error(answer, status, code):
    """The error body of a unary call: a code in words."""
    assert answer.status == status, answer
    body = answer.json()
    assert body["code"] == code and isinstance(body.get("message"), str), body
    return body["message"]


def running(box):
    return {p["pid"]: p for p in call(box, "List", {}).json().get("processes", [])}


def shell(box, text, **fields):
    """As the SDKs run a command."""
    return box.run("/bin/bash", "-l", "-c", text, **fields)


# -- ends --

@case("a command's stream is start, data, end, and an empty end of the stream")
def _(t):
    ended = t.shared.get().run("echo", "hi")
    kinds = [next(iter(e["event"])) for e in ended.events if "keepalive" not in e["event"]]
    assert kinds[0] == "start" and kinds[-1] == "end" and set(kinds[1:-1]) == {"data"}, ended
    assert ended.events[0]["event"]["start"]["pid"] > 0 and ended.last == {} and ended.out == b"hi\n", ended


@case("exit 0 is told without a code")
def _(t):
    end = t.shared.get().run("true").end if t.real else shell(t.shared.get(), "exit 0").end
    assert end.get("exitCode", 0) == 0 and end["exited"] is True and end["status"] == "exit status 0", end
    assert "error" not in end, end


@case("another exit code is told with the error in the same words")
def _(t):
    end = shell(t.shared.get(), "exit 3").end
    assert end == {"exitCode": 3, "exited": True, "status": "exit status 3", "error": "exit status 3"}, end


@case("false ends with 1")
def _(t):
    assert t.shared.get().run("false").end["exitCode"] == 1


@case("a killed command is told in Go's words")
def _(t):
    box = t.shared.get()
    for signal, word in (("SIGNAL_SIGKILL", "killed"), ("SIGNAL_SIGTERM", "terminated")):
        stream = box.start("sleep", "600")
        pid = stream.pid()
        assert call(box, "SendSignal", {"process": {"pid": pid}, "signal": signal}).body == b"{}"
        end = stream.finish().end
        assert end["exitCode"] == -1 and not end.get("exited") and end["status"] == f"signal: {word}", end
        assert end["error"] == f"signal: {word}", end


@case("a program that does not exist ends with 127 and a word on stderr")
def _(t):
    ended = t.shared.get().run("no-such-program-anywhere")
    assert ended.end["exitCode"] == 127 and ended.err and ended.last == {}, ended


@case("output and error output are told apart")
def _(t):
    ended = shell(t.shared.get(), "echo out; cat /no/such/file")
    assert ended.out == b"out\n" and b"/no/such/file" in ended.err, ended


@case("bytes that are no text come as they were", real=True)
def _(t):
    ended = t.shared.get().run("/usr/bin/printf", "\\377\\000\\001\\n")
    assert ended.out == b"\xff\0\x01\n", ended


@case("a megabyte of output comes whole, in pieces of 32 KiB at most")
def _(t):
    box, folder = t.shared.get(), t.shared.folder()
    data = bytes(range(32, 127)) * 11038
    box.write(folder + "/big", data)
    ended = box.run("cat", folder + "/big")
    assert ended.out == data
    assert max(len(e["event"]["data"]["stdout"]) for e in ended.events if "data" in e["event"]) <= 4 * 32768 // 3 + 4


# -- environment and place --

@case("the environment is that of create, then that of the request")
def _(t):
    with t.create(envVars={"A": "create", "B": "create"}) as box:
        ended = box.run("env", envs={"B": "request", "C": "request"})
        lines = ended.out.decode().splitlines()
        assert {"A=create", "B=request", "C=request", "E2B_SANDBOX=true", f"E2B_SANDBOX_ID={box.id}"} <= set(lines), lines
        assert any(line.startswith("PATH=") for line in lines) and "HOME=/home/user" in lines, lines


@case("a command begins in the home directory, or where it is told to")
def _(t):
    box = t.shared.get()
    assert box.run("pwd").out == b"/home/user\n"
    assert box.run("pwd", cwd="/tmp").out == b"/tmp\n"


@case("a place to begin in that does not exist is invalid_argument in the end of the stream")
def _(t):
    ended = t.shared.get().run("pwd", cwd="/no/such/place")
    assert ended.status == 200 and ended.error["code"] == "invalid_argument" and not ended.events, ended
    assert "/no/such/place" in ended.error["message"], ended


@case("words of a command are no shell's text", real=True)
def _(t):
    ended = t.shared.get().run("echo", "$HOME; echo *", "`id`")
    assert ended.out == b"$HOME; echo * `id`\n", ended


@case("a user that does not exist is unauthenticated")
def _(t):
    stream = t.shared.get().start("true", headers={"Authorization": "Basic " + b64("nobody-here:")})
    assert stream.finish().error["code"] == "unauthenticated"


# -- list and selectors --

@case("a list names what runs, with pid, tag and how it was started, and no more when it has ended")
def _(t):
    box = t.shared.get()
    stream = box.start("sleep", "600", tag="listed", envs={"K": "V"})
    pid = stream.pid()
    row = running(box)[pid]
    assert row["tag"] == "listed" and row["config"]["cmd"] == "sleep" and row["config"]["args"] == ["600"], row
    assert row["config"]["envs"]["K"] == "V", row
    call(box, "SendSignal", {"process": {"tag": "listed"}, "signal": "SIGNAL_SIGKILL"})
    stream.finish()
    assert pid not in running(box)


@case("a new sandbox runs nothing, which is told as an empty message")
def _(t):
    with t.create() as box:
        assert call(box, "List", {}).body == b"{}"


@case("an unknown process is not_found for every call, with its number or tag in the message")
def _(t):
    box, nobody = t.shared.get(), {"process": {"pid": 99999999}}
    for method, message in (("SendSignal", {**nobody, "signal": "SIGNAL_SIGTERM"}), ("CloseStdin", nobody),
                            ("SendInput", {**nobody, "input": {"stdin": b64("x")}})):
        assert "99999999" in rpc_error(call(box, method, message), 404, "not_found")
    assert "no-tag" in rpc_error(call(box, "CloseStdin", {"process": {"tag": "no-tag"}}), 404, "not_found")
    ended = box.stream("process.Process/Connect", nobody).finish()
    assert ended.status == 200 and ended.error["code"] == "not_found", ended


@case("members may be written in snake case and unknown ones are ignored")
def _(t):
    box = t.shared.get()
    assert call(box, "List", {"somethingNew": 1}).status == 200
    assert box.stream("process.Process/Start", {"process": {"cmd": "echo", "args": ["x"], "new_thing": 1}, "stdin": False}).finish().out == b"x\n"


# -- input --

@case("input reaches the process until it is closed")
def _(t):
    box = t.shared.get()
    stream = box.start("cat", stdin=True)
    pid = stream.pid()
    for text in ("one\n", "two\n"):
        assert call(box, "SendInput", {"process": {"pid": pid}, "input": {"stdin": b64(text)}}).body == b"{}"
    stream.until_said("one\ntwo\n")
    assert call(box, "CloseStdin", {"process": {"pid": pid}}).body == b"{}"
    ended = stream.finish()
    assert ended.out == b"one\ntwo\n" and ended.end["status"] == "exit status 0", ended


@case("closing the input twice is fine while the process runs", real=True)
def _(t):
    box = t.shared.get()
    stream = box.start("sleep", "600", stdin=True)
    pid = stream.pid()
    for _ in range(2):
        assert call(box, "CloseStdin", {"process": {"pid": pid}}).status == 200
    call(box, "SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
    stream.finish()


@case("a process without input takes none")
def _(t):
    box = t.shared.get()
    stream = box.start("sleep", "600", stdin=False)
    pid = stream.pid()
    rpc_error(call(box, "SendInput", {"process": {"pid": pid}, "input": {"stdin": b64("x")}}), 500, "internal")
    call(box, "SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
    stream.finish()


@case("without a word about it a process has an input")
def _(t):
    box = t.shared.get()
    stream = box.start("cat")
    pid = stream.pid()
    assert call(box, "SendInput", {"process": {"pid": pid}, "input": {"stdin": b64("x\n")}}).status == 200
    stream.until_said("x\n")
    call(box, "CloseStdin", {"process": {"pid": pid}})
    stream.finish()


@case("many pieces of input go through one request")
def _(t):
    box = t.shared.get()
    stream = box.start("cat", stdin=True)
    pid = stream.pid()
    body = envelope({"start": {"process": {"pid": pid}}})
    for text in ("a\n", "b\n", "c\n"):
        body += envelope({"data": {"input": {"stdin": b64(text)}}}) + envelope({"keepalive": {}})
    ended = box.stream("process.Process/StreamInput", {}, raw=body).finish()
    assert ended.status == 200 and ended.last == {} and ended.events == [{}], ended
    call(box, "CloseStdin", {"process": {"pid": pid}})
    assert stream.finish().out == b"a\nb\nc\n"


@case("input that is not base64 is refused")
def _(t):
    box = t.shared.get()
    stream = box.start("cat", stdin=True)
    pid = stream.pid()
    rpc_error(call(box, "SendInput", {"process": {"pid": pid}, "input": {"stdin": "***"}}), 400, "invalid_argument")
    call(box, "CloseStdin", {"process": {"pid": pid}})
    assert stream.finish().out == b""


# -- signals --

@case("only TERM and KILL are signals, by name or number")
def _(t):
    box = t.shared.get()
    stream = box.start("sleep", "600")
    pid = stream.pid()
    rpc_error(call(box, "SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGHUP"}), 400, "invalid_argument")
    assert pid in running(box)
    assert call(box, "SendSignal", {"process": {"pid": pid}, "signal": 9}).status == 200
    assert stream.finish().end["status"] == "signal: killed"


@case("a process that holds out against TERM lives, and KILL ends it", real=True)
def _(t):
    box = t.shared.get()
    stream = box.start("/bin/sh", "-c", "trap 'echo no' TERM; echo ready; while :; do read x; done", stdin=True)
    pid = stream.pid()
    stream.until_said("ready\n")
    call(box, "SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGTERM"})
    call(box, "SendInput", {"process": {"pid": pid}, "input": {"stdin": b64("\n")}})
    stream.until_said("no\n")
    assert pid in running(box)
    call(box, "SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
    assert stream.finish().end["status"] == "signal: killed"
