"""Commands in the foreground and in the background, their input, and how they end."""
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

from e2b import CommandExitException, InvalidArgumentException, NotFoundException, TimeoutException

from harness import create, failure, group, run, test, until

sandbox = create()


group("commands")


@test("a command gives its output, its errors and its exit code")
def _():
    result = sandbox.commands.run("echo out; echo err >&2")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "out\n", "err\n")


@test("a command that fails raises with its code and what it printed")
def _():
    error = failure(lambda: sandbox.commands.run("echo before; echo why >&2; exit 7"), CommandExitException)
    assert (error.exit_code, error.stdout, error.stderr) == (7, "before\n", "why\n")


@test("a command has the directory and the variables it was given, and those win")
def _():
    result = sandbox.commands.run('pwd; echo "$HOME|$FOO|$E2B_SANDBOX"', cwd="/tmp", envs={"FOO": "b a'r", "E2B_SANDBOX": "mine"})
    assert result.stdout == "/tmp\n/home/user|b a'r|mine\n"


@test("a work directory that does not exist is an argument error")
def _():
    error = failure(lambda: sandbox.commands.run("true", cwd="/no/such/place"), InvalidArgumentException)
    assert "cwd '/no/such/place' does not exist" in str(error)


@test("output arrives in pieces, and umlauts survive any cut")
def _():
    text = "äöü€😀" * 20_000
    sandbox.files.write("/home/user/umlauts", text)
    pieces = []
    result = sandbox.commands.run("echo first; read -t 0.3 < <(sleep 1); cat umlauts", on_stdout=pieces.append)
    assert pieces[0] == "first\n"
    assert "".join(pieces) == "first\n" + text == result.stdout


@test("ten megabytes of output come whole")
def _():
    result = sandbox.commands.run('head -c 10000000 /dev/zero | tr "\\0" x')
    assert result.stdout == "x" * 10_000_000


@test("a command that takes too long is ended with a timeout error")
def _():
    before = time.monotonic()
    failure(lambda: sandbox.commands.run("echo $$ >slow.pid; exec sleep 100", timeout=0.5), TimeoutException)
    assert time.monotonic() - before < 5
    pid = sandbox.files.read("slow.pid").strip()
    until(lambda: sandbox.commands.run(f"kill -0 {pid} 2>/dev/null && echo there || echo gone").stdout == "gone\n", "its end")


group("background")


@test("a background command gives its pid at once and its result later")
def _():
    # It ends when told to, and nobody is told before the call has come back.
    handle = sandbox.commands.run("until [ -e go1 ]; do sleep 0.05; done; echo done", background=True)
    assert handle.pid > 1
    sandbox.files.write("go1", "")
    assert handle.wait().stdout == "done\n"


@test("a background command without a limit outlives its connection and can be found again")
def _():
    line = "until [ -e go2 ]; do sleep 0.05; done; echo later"
    handle = sandbox.commands.run(line, background=True, timeout=0)
    handle.disconnect()
    listed = next(p for p in sandbox.commands.list() if p.pid == handle.pid)
    assert listed.args == ["-l", "-c", line]
    again = sandbox.commands.connect(handle.pid)
    sandbox.files.write("go2", "")
    assert again.wait().stdout == "later\n"


@test("a connection after the end still learns the exit code")
def _():
    handle = sandbox.commands.run("exit 4", background=True)
    failure(handle.wait, CommandExitException)
    assert failure(sandbox.commands.connect(handle.pid).wait, CommandExitException).exit_code == 4


group("input")


@test("input reaches a command until it is closed")
def _():
    handle = sandbox.commands.run('read line; echo "got $line"; cat; echo end', background=True, stdin=True)
    sandbox.commands.send_stdin(handle.pid, "hello\n")
    sandbox.commands.send_stdin(handle.pid, "rest")
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == "got hello\nrestend\n"


@test("without stdin a command reads the end of its input at once")
def _():
    assert sandbox.commands.run("cat; echo over").stdout == "over\n"


@test("input for a process that is not there is not found")
def _():
    failure(lambda: sandbox.commands.send_stdin(99999999, "x"), NotFoundException)


@test("much input arrives whole and in order")
def _():
    handle = sandbox.commands.run("exec sha256sum", background=True, stdin=True)
    lines = "".join(f"{i}\n" for i in range(20_000))
    sandbox.commands.send_stdin(handle.pid, lines[:50_000])
    sandbox.commands.send_stdin(handle.pid, lines[50_000:])
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == hashlib.sha256(lines.encode()).hexdigest() + "  -\n"


group("background")


@test("kill ends a command once, and says when there is none")
def _():
    handle = sandbox.commands.run("exec sleep 100", background=True)
    assert sandbox.commands.kill(handle.pid) is True
    assert failure(handle.wait, CommandExitException).exit_code == -1
    assert sandbox.commands.kill(handle.pid) is False


group("commands")


@test("twenty commands at once keep their outputs apart")
def _():
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda i: sandbox.commands.run(f"echo {i}; sleep 0.1; echo {i}").stdout, range(20)))
    assert results == [f"{i}\n{i}\n" for i in range(20)]


run()
