#!/usr/bin/python3
"""A real key never leaves the gateway: a canary is looked for in every place of a run, in every form, and never found."""
# timeout: 300
import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import threading
from pathlib import Path

from installation import Installation, repository
from key_scan import Scan, new_key
from scenario import main, scenario, wait_until
from secret_forms import forms

# Stands in for the CLI of the model's maker: asks the model once through the gateway, prints what that CLI prints.
CLAUDE = """#!/usr/bin/python3
import json, os, sys, urllib.error, urllib.request
prompt = sys.stdin.read()
print(json.dumps({"type": "system", "subtype": "init", "key": os.environ["ANTHROPIC_API_KEY"]}), flush=True)
request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
                                 data=json.dumps({"model": "m", "prompt": prompt}).encode(),
                                 headers={"x-api-key": os.environ["ANTHROPIC_API_KEY"], "content-type": "application/json"})
try:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
        text, status = json.load(answer)["content"][0]["text"], 0
except urllib.error.HTTPError as refused:
    text, status = refused.read().decode(), refused.code
print(json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}), flush=True)
with open("answer-" + os.environ["SKEP_PANE_INDEX"] + ".txt", "w") as out:
    out.write(text + "\\n" + "\\n".join(sorted(k + "=" + v for k, v in os.environ.items())) + "\\n")
print(json.dumps({"type": "result", "subtype": "success", "is_error": status != 0, "api_error_status": status,
                  "result": text, "num_turns": 1, "total_cost_usd": 0.01,
                  "usage": {"input_tokens": 3, "output_tokens": 4}}), flush=True)
sys.exit(1 if status else 0)
"""


class Model:
    """A server in place of the model's: holds each answer back until it is let go, remembers the keys it saw."""

    def __init__(self, status=200):
        self.keys, self.go = [], threading.Event()
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802 the name is the library's
                model.keys.append(self.headers.get("x-api-key"))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                model.go.wait(60)
                body = json.dumps({"content": [{"type": "text", "text": "an answer"}],
                                   "usage": {"input_tokens": 3, "output_tokens": 4}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


def with_model(work, status, act):
    """A swarm of two panes whose agent asks the model; act(skep, swarm, scan, model) while it waits."""
    key = new_key()
    tools = work / "tools"
    tools.mkdir()
    (tools / "claude").write_text(CLAUDE)
    (tools / "claude").chmod(0o755)
    tools.chmod(0o755)
    work.chmod(0o711)  # a service user reads the tools
    repo = repository(work / "repo", {"README": "a tree\n"})
    model = Model(status)
    config = f'[local]\nbind = ["{tools}"]\nupstream = {{ "api.anthropic.com" = "{model.url}" }}\n'
    try:
        with Installation(work, config=config) as skep:
            skep.run("secret", "set", "ANTHROPIC_API_KEY", input=key + "\n", code=0)
            skep.environment["PATH"] = f"{tools}:{skep.environment['PATH']}"
            swarm = skep.start(repo, "--agent", "claude", "--panes", "2", "--prompt", "Do it.")
            scan = Scan(skep, repo, key)

            def asked():
                now = skep.status(swarm)["swarm"]
                assert now["state"] != "closed", f"closed early: {now}"
                return len(model.keys) >= 2
            wait_until("both agents ask the model", asked)
            assert set(model.keys) == {key}, "the model was asked with another key"
            scan.nothing("during the run")
            act(skep, swarm, scan, model)
            model.go.set()
            done = skep.closed(swarm)
            scan.nothing("after the run")
            return done
    finally:
        model.close()


@scenario("during and after a good run the key is nowhere but in the gateway")
def _(work):
    done = with_model(work, 200, lambda *_: None)
    assert done["swarm"]["result"] == "completed", done["swarm"]
    patches = list((work / "repo" / "skep-out").rglob("*.patch"))
    assert any("ANTHROPIC_API_KEY=" in p.read_text() for p in patches), "the agents' environment did not come back"


@scenario("during and after a run whose key is refused the key is nowhere but in the gateway")
def _(work):
    done = with_model(work, 401, lambda *_: None)
    assert done["swarm"]["result"] == "failed" and done["swarm"]["error_code"] == "agent_auth", done["swarm"]


@scenario("after a kill -9 of skepd the key is nowhere but in the gateway")
def _(work):
    def crash(skep, swarm, scan, _model):
        skep.kill_daemon()
        for place, hits in {"state directory": scan.in_files(skep.state, {skep.state / "secrets", skep.host_dir()}),
                            "sandboxes": scan.in_files(skep.host_dir()), "journal": scan.in_database(),
                            "processes": scan.in_processes()}.items():
            assert not hits, f"after the kill, in {place}: {hits[:5]}"
        assert [s["swarm"] for s in skep.json("ps")["swarms"]] == [swarm]
        scan.nothing("after the restart")
    done = with_model(work, 200, crash)
    assert done["swarm"]["result"] == "completed", done["swarm"]


@scenario("an agent that prints the key gets it masked with its length preserved")
def _(work):
    key = new_key()
    shown = {name: form.decode() for name, form in forms(key).items() if name in ("plain", "url", "base64 at 0")}
    lines = [f"the {name} form is >{form}< and goes on\n" for name, form in shown.items()]
    repo = repository(work / "repo", {"leak": "".join(lines), "agent": "#!/bin/sh\ncat leak\nexec cat leak >&2\n"})
    with Installation(work) as skep:
        skep.run("secret", "set", "SOME_KEY", input=key, code=0)
        swarm = skep.start(repo, "--keep", "--", "./agent")
        done = skep.closed(swarm)
        pane, box = done["panes"][0], done["sandboxes"][0]["remote_id"]
        inside = skep.read_inside(box, f"/home/user/.skep/panes/{pane['pane']}/1/log")
        ours = skep.log_of(pane).read_bytes()
        assert key.encode() in inside, "the agent did not print the key"
        assert len(ours) == len(inside), f"{len(ours)} bytes here, {len(inside)} inside"
        scan = Scan(skep, repo, key)
        assert not scan.in_bytes("log", ours), ours.decode()
        hits = {n: h for n, h in scan.places().items() if n not in ("sandboxes and host", "skep-out")}
        assert not any(hits.values()), hits
        begin = inside.index(key.encode())
        masked = ours[begin:begin + len(key)]
        assert len(set(masked)) == 1 and ours[:begin] == inside[:begin], ours.decode()
        assert ours[begin + len(key):begin + len(key) + 13] == b"< and goes on", ours.decode()


@scenario("the same scan finds a canary planted in each place, in each form")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho made > made.txt\n"})
    key = new_key()
    with Installation(work) as skep:
        skep.closed(skep.start(repo, "--keep", "--", "./agent"))
        scan = Scan(skep, repo, key)
        scan.nothing("before anything was planted")
        home = next((skep.host_dir() / "sandboxes").iterdir()) / "home"
        for name, form in scan.forms.items():
            for place, top in {"state directory": skep.state, "skep-out": repo / "skep-out", "sandboxes and host": home}.items():
                (top / "planted").write_bytes(b"before " + form + b" after")
                hits = scan.in_files(top)
                assert any(f"({name})" in hit for hit in hits), f"{place}: {name} was not found"
                (top / "planted").unlink()
            assert any(f"({name})" in hit for hit in scan.in_bytes("what was printed", b"x" + form + b"y")), name
        form = scan.forms["base64 at 1"].decode()
        reader = ["/usr/bin/python3", "-c", "import sys; print('here', flush=True); sys.stdin.read()"]
        for where, argv, env in (("cmdline", [*reader, form], {}), ("environment", reader, {"PLANTED": form})):
            with subprocess.Popen(argv, env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                process.stdout.readline()  # /proc tells the words of a program only once it has begun
                found = scan.in_processes()
                process.stdin.close()
            assert any(f"{where} of {process.pid}" in hit for hit in found), f"{where}: {found}"
        skep.run("daemon", "stop", code=0)
        copy = sqlite3.connect(skep.state / "skep.db")
        copy.execute("INSERT INTO journal_info (name, value) VALUES ('planted', ?)", (form,))
        copy.commit()
        copy.close()
        assert scan.in_database(), "the journal"
        skep.said.append(form)
        skep.run("daemon", "start", code=0)
        assert scan.in_replies(), "replies"
        shutil.rmtree(repo / "skep-out")


main()
