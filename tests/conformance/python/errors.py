"""Each class of error, told apart as the SDK tells them apart."""
from e2b import AuthenticationException, Sandbox, SandboxException, SandboxNotFoundException, TimeoutException

from harness import api, at, create, failure, run, test

NOBODY = "inosuchsandbox0000000"


@test("a sandbox that never was is not found by any call, and kill says false")
def _():
    assert Sandbox.kill(NOBODY) is False
    for call in (Sandbox.connect, Sandbox.get_info, lambda x: Sandbox.set_timeout(x, 1)):
        failure(lambda: call(NOBODY), SandboxNotFoundException)


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


@test("a timeout beyond a day is refused, not shortened")
def _():
    error = failure(lambda: Sandbox.create(timeout=25 * 3600), SandboxException)
    assert "Timeout cannot be greater than 24 hours" in str(error)


@test("commands and files of a killed sandbox say that it is gone")
def _():
    sandbox = create()
    sandbox.kill()
    failure(lambda: sandbox.commands.run("true"), SandboxNotFoundException, TimeoutException)
    failure(lambda: sandbox.files.read("/etc/passwd"), SandboxNotFoundException, TimeoutException)


@test("a dead sandbox answers 502 with its id, and the control plane's routes are nobody else's")
def _():
    sandbox = create()
    reserved = at(sandbox, "POST", "/init")
    assert reserved.status_code == 404 and reserved.json()["path"] == "/init"
    sandbox.kill()
    dead = at(sandbox, "GET", "/health")
    assert dead.status_code == 502
    assert dead.json() == {"sandboxId": sandbox.sandbox_id, "message": "The sandbox was not found", "code": 502}


@test("a user that does not exist inside is an authentication error")
def _():
    sandbox = create()
    error = failure(lambda: sandbox.commands.run("true", user="zz"), AuthenticationException)
    assert "invalid username: 'zz'" in str(error)


run()
