"""Each class of error that the SDK has for what a host says, told apart as the SDK tells them apart."""
import os

import httpx
from e2b import (AuthenticationException, CommandExitException, FileNotFoundException, InvalidArgumentException, NotFoundException, PtySize,
                 Sandbox, SandboxException, SandboxNotFoundException, TimeoutException)

from harness import api, at, create, failure, group, run, test, until

NOBODY = "inosuchsandbox0000000"
WRONG_KEY = "e2b_" + "f" * 40
sandbox = create()
sandbox.files.write("plain", "x")


def fails(call, kind, text=""):
    """The error is of this very kind, not of one above it."""
    error = failure(call)
    assert isinstance(error, kind) and text in str(error), f"{type(error).__name__}: {error}"
    return error


def killed():
    gone = create()
    gone.kill()
    return gone


group("error: sandbox not found")


@test("connecting to a sandbox that never was is not found, and kill says false")
def _():
    fails(lambda: Sandbox.connect(NOBODY), SandboxNotFoundException)
    assert Sandbox.kill(NOBODY) is False


@test("there is no information on a sandbox that never was")
def _():
    fails(lambda: Sandbox.get_info(NOBODY), SandboxNotFoundException)


@test("the lease of a sandbox that never was cannot be set")
def _():
    fails(lambda: Sandbox.set_timeout(NOBODY, 1), SandboxNotFoundException)


@test("a sandbox that never was cannot be paused")
def _():
    fails(lambda: Sandbox.pause(NOBODY), SandboxNotFoundException)


group("error: file not found")


@test("reading a file that is not there")
def _():
    fails(lambda: sandbox.files.read("/no/such/file"), FileNotFoundException, "no/such/file")


@test("looking at a file that is not there")
def _():
    fails(lambda: sandbox.files.get_info("/no/such/file"), FileNotFoundException)


@test("renaming a file that is not there")
def _():
    fails(lambda: sandbox.files.rename("/no/such/file", "/tmp/x"), FileNotFoundException)


@test("listing and watching a directory that is not there")
def _():
    fails(lambda: sandbox.files.list("/no/such"), FileNotFoundException)
    fails(lambda: sandbox.files.watch_dir("/no/such"), FileNotFoundException)


group("error: process not found")


@test("input for a process that never was")
def _():
    fails(lambda: sandbox.commands.send_stdin(99999999, "x"), NotFoundException, "99999999")


@test("the end of input for a process that never was")
def _():
    fails(lambda: sandbox.commands.close_stdin(99999999), NotFoundException)


@test("connecting to a process that never was")
def _():
    fails(lambda: sandbox.commands.connect(99999999), NotFoundException)


@test("another size for a terminal that never was")
def _():
    fails(lambda: sandbox.pty.resize(99999999, PtySize(rows=24, cols=80)), NotFoundException)


group("error: authentication")


@test("a key that is unknown creates nothing")
def _():
    fails(lambda: Sandbox.create(api_key=WRONG_KEY), AuthenticationException)


@test("a key that is unknown lists nothing")
def _():
    fails(lambda: Sandbox.list(api_key=WRONG_KEY).next_items(), AuthenticationException)


@test("a key that is unknown kills nothing")
def _():
    fails(lambda: Sandbox.kill(sandbox.sandbox_id, api_key=WRONG_KEY), AuthenticationException)
    assert sandbox.is_running() is True


@test("a user that does not exist inside is refused")
def _():
    fails(lambda: sandbox.commands.run("true", user="zz"), AuthenticationException, "invalid username: 'zz'")


group("error: invalid argument")


@test("a work directory that is not there")
def _():
    fails(lambda: sandbox.commands.run("true", cwd="/no/such"), InvalidArgumentException, "cwd '/no/such' does not exist")


@test("listing a file")
def _():
    fails(lambda: sandbox.files.list("plain"), InvalidArgumentException)


@test("watching a file")
def _():
    fails(lambda: sandbox.files.watch_dir("plain"), InvalidArgumentException)


@test("making a directory where a file is")
def _():
    fails(lambda: sandbox.files.make_dir("plain"), InvalidArgumentException)


group("error: timeout")


@test("a command beyond its limit")
def _():
    fails(lambda: sandbox.commands.run("sleep 100", timeout=0.3), TimeoutException)


@test("a terminal beyond its limit")
def _():
    handle = sandbox.pty.create(PtySize(rows=24, cols=80), timeout=0.3)
    fails(lambda: handle.wait(on_pty=lambda _: None), TimeoutException)


@test("a file of a killed sandbox")
def _():
    fails(lambda: killed().files.read("/etc/passwd"), TimeoutException, "The sandbox was not found")


@test("a listing in a killed sandbox")
def _():
    fails(lambda: killed().files.list("/"), TimeoutException, "The sandbox was not found")


group("error: command exit")


@test("a program that is not there")
def _():
    error = fails(lambda: sandbox.commands.run("/no/such/program"), CommandExitException)
    assert error.exit_code == 127 and "No such file" in error.stderr


@test("a command that ends by its own signal")
def _():
    error = fails(lambda: sandbox.commands.run("kill -9 $$"), CommandExitException)
    assert (error.exit_code, error.error) == (-1, "signal: killed")


@test("the largest exit code")
def _():
    assert fails(lambda: sandbox.commands.run("exit 255"), CommandExitException).exit_code == 255


@test("an exit seen through another connection")
def _():
    handle = sandbox.commands.run("until [ -e go3 ]; do sleep 0.02; done; exit 9", background=True)
    other = sandbox.commands.connect(handle.pid)
    sandbox.files.write("go3", "")
    assert [failure(x.wait, CommandExitException).exit_code for x in (other, handle)] == [9, 9]


group("error: refused by the control API")


@test("a lease beyond a day is refused, not shortened")
def _():
    fails(lambda: Sandbox.create(timeout=25 * 3600), SandboxException, "400: Timeout cannot be greater than 24 hours")


@test("a template name that can be none")
def _():
    fails(lambda: Sandbox.create("no template!"), SandboxException, "400")


@test("a snapshot, which this host does not make")
def _():
    fails(sandbox.create_snapshot, SandboxException, "501: snapshots")


@test("volumes and identity tokens, which this host does not have")
def _():
    answer = api("POST", "/v2/sandboxes", json={"templateID": "base", "volumeMounts": [{"name": "v", "path": "/v"}]})
    assert answer.status_code == 501 and "volumeMounts is not supported" in answer.json()["message"]


@test("an error of the control API repeats its status in the body")
def _():
    for method, path, body, status in (
            ("GET", f"/sandboxes/{NOBODY}", None, 404),
            ("POST", "/v2/sandboxes", "no json", 400),
            ("POST", "/v2/sandboxes", '{"templateID":"base","timeout":0}', 400),
            ("GET", "/v2/sandboxes?nextToken=garbage", None, 400),
            ("GET", "/v2/sandboxes?state=dancing", None, 400),
            ("POST", "/sandboxes/NOT-AN-ID/timeout", '{"timeout":1}', 400)):
        answer = api(method, path, content=body)
        assert answer.status_code == status, path
        assert answer.json()["code"] == status and len(answer.json()["message"]) > 3


group("error: told by the proxy")


@test("a dead sandbox answers 502 with its id")
def _():
    gone = killed()
    dead = at(gone, "GET", "/health")
    assert dead.status_code == 502
    assert dead.json() == {"sandboxId": gone.sandbox_id, "message": "The sandbox was not found", "code": 502}


@test("the control plane's routes are nobody else's")
def _():
    reserved = at(sandbox, "POST", "/init")
    assert reserved.status_code == 404 and reserved.json()["path"] == "/init"


@test("routing headers come in pairs")
def _():
    answer = httpx.get(os.environ["E2B_SANDBOX_URL"] + "/health", headers={"E2b-Sandbox-Id": "i1"})
    assert (answer.status_code, answer.text) == (400, "missing header")


@test("a command in a killed sandbox says that it is gone")
def _():
    gone = create()
    gone.kill()
    failure(lambda: gone.commands.run("true"), SandboxNotFoundException, TimeoutException)
    until(lambda: not gone.is_running(), "the end")


run()
