"""Who is let in where: tokens, ports, the routes that are closed, and the edges of HTTP."""
from control_cases import UNKNOWN, refused
from suite import case
from wire import envelope


def unauthorized(answer):
    assert answer.status == 401, answer
    assert answer.json()["code"] == 401 and "access token" in answer.json()["message"], answer


# -- tokens --

@case("a secured sandbox's calls need its token")
def _(t):
    box = t.shared.get()
    for token in ("", "wrong", box.token + "x"):
        unauthorized(box.rpc("process.Process/List", {}, token=token))
    assert box.rpc("process.Process/List", {}).status == 200


@case("streams need the token too, and say so before anything runs")
def _(t):
    box = t.shared.get()
    stream = box.stream("process.Process/Start", {"process": {"cmd": "true"}}, token="wrong")
    ended = stream.finish()
    assert ended.status == 401 and not ended.events, ended


@case("the token of another sandbox is none")
def _(t):
    with t.create() as other:
        unauthorized(t.shared.get().rpc("process.Process/List", {}, token=other.token))


@case("whether it lives may be asked by everybody")
def _(t):
    answer = t.shared.get().request("GET", "/health", token="")
    assert answer.status == 204 and answer.body == b"" and "no-store" in answer.headers.get("cache-control", ""), answer.headers


@case("the environment and the figures need the token")
def _(t):
    with t.create(envVars={"SHOWN": "yes"}) as box:
        for path in ("/envs", "/metrics"):
            unauthorized(box.request("GET", path, token=""))
        assert box.request("GET", "/envs").json()["SHOWN"] == "yes"
        figures = box.request("GET", "/metrics").json()
        assert {"ts", "cpu_count", "cpu_used_pct", "mem_total", "mem_used", "disk_used", "disk_total"} <= set(figures), figures


@case("the routes of the control plane are closed, with or without a token")
def _(t):
    box = t.shared.get()
    for path in ("/init", "/freeze", "/upgrade"):
        answer = box.request("POST", path, {})
        assert answer.status == 404 and answer.json()["path"] == path, answer
        assert "control plane" in answer.json()["message"], answer


@case("a key is no token and a token no key")
def _(t):
    box = t.shared.get()
    unauthorized(box.rpc("process.Process/List", {}, token=t.key))
    refused(t.api("GET", "/v2/sandboxes", key=box.token), 401)


# -- ports --

@case("a port where nobody listens is 502 and says which")
def _(t):
    box = t.shared.get()
    answer = box.request("GET", "/", port=3999)
    assert answer.status == 502, answer
    assert answer.json() == {"sandboxId": box.id, "message": "The sandbox is running but port is not open", "port": 3999,
                             "code": 502}, answer


@case("a program's port is reached from outside, with the path and headers as sent", real=True)
def _(t):
    box = t.shared.get()
    program = ("import http.server\n"
               "class H(http.server.BaseHTTPRequestHandler):\n"
               "  def do_GET(self):\n"
               "    body = (self.path + ' ' + self.headers.get('X-Mine', '')).encode()\n"
               "    self.send_response(203); self.send_header('Content-Length', str(len(body))); self.end_headers()\n"
               "    self.wfile.write(body)\n"
               "s = http.server.HTTPServer(('127.0.0.1', 3777), H); print('up', flush=True); s.serve_forever()\n")
    box.write("/home/user/server.py", program.encode())
    stream = box.start("/usr/bin/python3", "/home/user/server.py", stdin=False)
    stream.until_said("up\n")
    answer = box.request("GET", "/a/b?c=d%20e", headers={"X-Mine": "kept"}, port=3777)
    assert answer.status == 203 and answer.text == "/a/b?c=d%20e kept", answer
    stream.leave()


@case("an unknown sandbox is 502 at every port")
def _(t):
    from wire import Sandbox
    nobody = Sandbox(t, {"sandboxID": UNKNOWN})
    for port in (49983, 3000):
        answer = nobody.request("GET", "/health", port=port)
        assert answer.status == 502 and answer.json()["message"] == "The sandbox was not found", answer


# -- edges of HTTP --

@case("an unknown path of the control API is 404 in its own words")
def _(t):
    refused(t.api("GET", "/no/such/path"), 404)


@case("a method that a path does not have is refused")
def _(t):
    answer = t.api("PATCH", "/v2/sandboxes", {})
    assert answer.status in (404, 405) and answer.json()["code"] == answer.status, answer


@case("an unknown path of envd is 404")
def _(t):
    assert t.shared.get().request("GET", "/no/such/path").status == 404


@case("any origin may ask, as browsers do before they send")
def _(t):
    box = t.shared.get()
    answer = box.request("OPTIONS", "/files", token="", headers={
        "Origin": "https://page.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-access-token"})
    assert answer.status in (200, 204) and answer.headers.get("access-control-allow-origin") == "*", answer.headers


@case("a body far beyond what a create can hold is refused, and the server goes on")
def _(t):
    answer = t.api("POST", "/v2/sandboxes", b'{"templateID":"' + b"x" * (2 << 20) + b'"}')
    assert answer.status in (400, 413), answer
    assert t.api("GET", "/v2/sandboxes?limit=1").status == 200


@case("JSON that is nested a thousand deep is refused, and the server goes on")
def _(t):
    refused(t.api("POST", "/v2/sandboxes", b'{"metadata":' + b"[" * 1000 + b"]" * 1000 + b"}"), 400)
    assert t.api("GET", "/v2/sandboxes?limit=1").status == 200


@case("a number beyond 64 bits is refused")
def _(t):
    refused(t.api("POST", "/v2/sandboxes", b'{"templateID":"base","timeout":99999999999999999999999}'), 400)


@case("a text with a NUL in it is refused or kept, never cut")
def _(t):
    answer = t.api("POST", "/v2/sandboxes", b'{"templateID":"base","metadata":{"a":"b\\u0000c"}}')
    if answer.status == 201:
        box = answer.json()["sandboxID"]
        assert t.api("GET", f"/sandboxes/{box}").json()["metadata"]["a"] == "b\0c"
        t.api("DELETE", f"/sandboxes/{box}")
    else:
        refused(answer, 400)


@case("a head of many headers is read")
def _(t):
    answer = t.api("GET", "/v2/sandboxes?limit=1", headers={f"X-Extra-{i}": "v" * 50 for i in range(100)})
    assert answer.status == 200, answer


@case("envelopes in the body of a unary call are refused")
def _(t):
    answer = t.shared.get().request("POST", "/process.Process/List", envelope({}), {"Content-Type": "application/json"})
    assert answer.status == 400 and answer.json()["code"] == "invalid_argument", answer


@case("HEAD tells of a file what GET would, without it")
def _(t):
    box, folder = t.shared.get(), t.shared.folder()
    box.write(folder + "/f", b"0123456789")
    answer = box.request("HEAD", "/files", query={"path": folder + "/f"})
    assert answer.status == 200 and answer.body == b"" and answer.headers.get("content-length") == "10", answer.headers
