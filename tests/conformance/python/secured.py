"""Access tokens and signed URLs."""
import re

from harness import api, at, create, group, run, test

sandbox = create()


def token_of(one):
    return api("GET", f"/sandboxes/{one.sandbox_id}").json()["envdAccessToken"]


group("secured sandboxes")


@test("without the token nothing but the health of a sandbox is told")
def _():
    assert at(sandbox, "GET", "/health").status_code == 204
    answer = at(sandbox, "GET", "/files?path=/etc/passwd")
    assert answer.status_code == 401 and answer.json()["code"] == 401
    assert [at(sandbox, "GET", path).status_code for path in ("/metrics", "/envs")] == [401, 401]


@test("without the token no command runs")
def _():
    answer = at(sandbox, "POST", "/process.Process/List", json={})
    assert answer.status_code == 401 and "unauthorized access" in answer.json()["message"]


@test("another token is refused, also beside a good signature")
def _():
    sandbox.files.write("guarded", "x")
    url = sandbox.download_url("guarded")
    assert at(sandbox, "GET", url, headers={"X-Access-Token": "wrong"}).status_code == 401
    assert at(sandbox, "GET", url).text == "x"


@test("the token of one sandbox does not open another's")
def _():
    other = create()
    ask = lambda token: at(sandbox, "GET", "/envs", headers={"X-Access-Token": token}).status_code
    assert ask(token_of(other)) == 401
    assert ask(token_of(sandbox)) == 200


group("signed URLs")


@test("a download URL gives the file without a token")
def _():
    sandbox.files.write("/home/user/d 1+2.txt", "signed content")
    answer = at(sandbox, "GET", sandbox.download_url("/home/user/d 1+2.txt"))
    assert (answer.status_code, answer.text) == (200, "signed content")


@test("an upload URL takes the file without a token")
def _():
    answer = at(sandbox, "POST", sandbox.upload_url("/home/user/up.txt"), files={"file": ("ignored.txt", b"uploaded")})
    assert answer.json()[0]["path"] == "/home/user/up.txt"
    assert sandbox.files.read("/home/user/up.txt") == "uploaded"


@test("a signature is for its own path and operation")
def _():
    sandbox.files.write("/home/user/one", "1")
    url = sandbox.download_url("/home/user/one")
    assert at(sandbox, "GET", url).status_code == 200
    assert at(sandbox, "GET", url.replace("one", "two")).status_code == 401
    assert at(sandbox, "GET", sandbox.upload_url("/home/user/one")).status_code == 401


@test("a signature serves until it expires and not with another end")
def _():
    sandbox.files.write("/home/user/timed", "y")
    good = sandbox.download_url("/home/user/timed", use_signature_expiration=60)
    assert at(sandbox, "GET", good).text == "y"
    later = re.sub(r"signature_expiration=(\d+)", lambda m: f"signature_expiration={int(m[1]) + 3600}", good)
    assert later != good and at(sandbox, "GET", later).status_code == 401
    over = at(sandbox, "GET", sandbox.download_url("/home/user/timed", use_signature_expiration=-5))
    assert over.status_code == 401 and "expired" in over.json()["message"]


run()
