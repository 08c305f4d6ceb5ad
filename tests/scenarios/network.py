#!/usr/bin/python3
"""Network policies and the setup of whole runs: what agents reach, what they do not, and what is said about it."""
# timeout: 240
import http.server
import json
import re
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import schemas  # noqa: E402 behind the path they need
from installation import Installation, git, repository  # noqa: E402 behind the path they need
from scenario import SOURCE, main, scenario  # noqa: E402 behind the path they need

# Asks for hosts through the proxy of its environment, if there is one, and writes down what became of it. TUNNEL opens
# a connection of its own (CONNECT), as clients do for https.
ASK = r"""#!/usr/bin/python3
import http.client, os, sys, urllib.error, urllib.request
from urllib.parse import urlsplit

def plain(host):
    try:
        return urllib.request.urlopen(f"http://{host}/from-inside", timeout=20).read().decode()
    except urllib.error.HTTPError as e:
        return f"refused with {e.code}"
    except OSError:
        return "no way out"

def tunnel(host):
    proxy = os.environ.get("HTTPS_PROXY")
    if not proxy:
        return "no proxy"
    at = urlsplit(proxy)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
    connection.set_tunnel(host, 443)
    try:
        connection.request("GET", "/from-inside")
        return connection.getresponse().read().decode()
    except OSError as e:
        return "refused" if "403" in str(e) else f"failed: {e}"

with open("found.txt", "w") as out:
    for host in sys.argv[1:]:
        print(f"{host}: {plain(host)}, {tunnel(host)}", file=out)
"""


# One of the hosts that the policy `packages` opens.
REGISTRY = re.search(r'"PyPI", "([^"]+)"', (SOURCE / "actors/package_hosts.hpp").read_text()).group(1)


class Site:
    """An HTTP server of this machine that says which host it was asked for."""

    def __enter__(self):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append((self.headers["Host"], self.path))
                body = b"hello"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def named(self, *hosts):
        """The configuration by which these hosts lead here: only an operator can have them lead to a private address."""
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return "[local]\nupstream = {" + ", ".join(f'"{h}" = "{url}"' for h in hosts) + "}\n"


def found(repo, lines):
    """What the agent of p0 wrote down: host -> text."""
    assert lines[-1]["summary"]["exit_code"] == 0, lines[-1]["summary"]["swarm"]
    swarm = lines[0]["run"]["swarm"]
    text = (repo / "skep-out" / swarm / "p0" / "files" / "found.txt").read_text()
    return swarm, dict(line.split(": ", 1) for line in text.splitlines())


def notices(skep, swarm):
    return [e["body"] for e in skep.events(swarm) if e["type"] == "notice"]


@scenario("a run with --network packages reaches registries and added hosts, and is refused all others")
def _(work):
    repo = repository(work / "repo", {"ask": ASK})
    with Site() as site, Installation(work, config=site.named(REGISTRY, "mirror.example.com", "evil.example.com")) as skep:
        swarm, said = found(repo, skep.json_lines(
            "run", "--repo", repo, "--network", "packages", "--allow", "Mirror.example.com", "--",
            "./ask", REGISTRY, "mirror.example.com", "evil.example.com"))
        assert said == {REGISTRY: "hello, hello", "mirror.example.com": "hello, hello",
                        "evil.example.com": "refused with 403, refused"}, said
        assert {host.split(":")[0] for host, _ in site.asked} == {REGISTRY, "mirror.example.com"}, site.asked
        summary = schemas.check(json.loads((repo / "skep-out" / swarm / "summary.json").read_text()), "summary")
        assert summary["network"] == "packages", summary["network"]


@scenario("--allow alone is an allow-list, in which *. stands for every host below a name and not for the name")
def _(work):
    repo = repository(work / "repo", {"ask": ASK})
    hosts = ("a.example.com", "a.b.example.com", "example.com", "a.example.org")
    with Site() as site, Installation(work, config=site.named(*hosts)) as skep:
        swarm, said = found(repo, skep.json_lines("run", "--repo", repo, "--allow", "*.example.com", "--", "./ask", *hosts))
        assert said == {"a.example.com": "hello, hello", "a.b.example.com": "hello, hello",
                        "example.com": "refused with 403, refused", "a.example.org": "refused with 403, refused"}, said
        assert json.loads((repo / "skep-out" / swarm / "summary.json").read_text())["network"] == "allowlist"


@scenario("without a policy, and with none, there is no proxy and no way out")
def _(work):
    repo = repository(work / "repo", {"ask": ASK})
    with Site() as site, Installation(work, config=site.named("a.example.org")) as skep:
        for policy in ((), ("--network", "none")):
            _, said = found(repo, skep.json_lines("run", "--repo", repo, *policy, "--", "./ask", "a.example.org"))
            assert said == {"a.example.org": "no way out, no proxy"}, (policy, said)
        assert site.asked == [], site.asked


@scenario("--network open is said loudly, and still leads to no private address")
def _(work):
    repo = repository(work / "repo", {"ask": ASK})
    with Site() as site, Installation(work, config=site.named("anything.example.org")) as skep:
        done = skep.run("run", "--repo", repo, "--network", "open", "--json", "--", "./ask", "anything.example.org",
                        "127.0.0.1", "169.254.169.254", code=0)
        assert "WARNING: --network open" in done.stderr, done.stderr
        swarm, said = found(repo, [json.loads(line) for line in done.stdout.splitlines()])
        assert said["anything.example.org"] == "hello, hello", said
        assert said["169.254.169.254"] == "refused with 403, refused", said
        assert said["127.0.0.1"].endswith("refused"), said  # not asked through the proxy, and no port is open inside
        told = [n for n in notices(skep, swarm) if n["code"] == "network_open"]
        assert len(told) == 1 and told[0]["level"] == "warning", told
        assert json.loads((repo / "skep-out" / swarm / "summary.json").read_text())["network"] == "open"


PREPARE = ("#!/bin/sh\nset -e\ntest ! -e deps\nmkdir deps\necho dependency >deps/it\necho locked >lock.txt\n"
           "echo \"prepared with $GREETING and $1\"\necho complaint >&2\n")
USE = "#!/bin/sh\nset -e\ncat deps/it lock.txt >used.txt\n"


@scenario("a setup runs once in each sandbox, its agents have what it made, and none of it is their change")
def _(work):
    repo = repository(work / "repo", {"prepare.sh": PREPARE, "use.sh": USE, ".gitignore": "deps/\n"})
    with Installation(work) as skep:
        lines = skep.json_lines("run", "--repo", repo, "--panes", "2", "--env", "GREETING=hi", "--setup", "./prepare.sh",
                                "--setup", "two words [x]", "--", "./use.sh")
        assert lines[-1]["summary"]["exit_code"] == 0, lines[-1]
        swarm = lines[0]["run"]["swarm"]
        out = repo / "skep-out" / swarm
        assert sorted((out / "setup.log").read_text().splitlines()) == ["complaint", "prepared with hi and two words [x]"]
        for pane in ("p0", "p1"):
            files = sorted(str(p.relative_to(out / pane / "files")) for p in (out / pane / "files").rglob("*") if p.is_file())
            assert files == ["used.txt"], files
            assert (out / pane / "files" / "used.txt").read_text() == "dependency\nlocked\n"
        assert sorted(p.name for p in repo.iterdir()) == [".git", ".gitignore", "prepare.sh", "skep-out", "use.sh"]
        base = [e["body"] for e in skep.events(swarm) if e["type"] == "sandbox.base_recorded"]
        head = git(repo, "rev-parse", "HEAD").stdout.decode().strip()
        assert len(base) == 1 and base[0]["commit"] != head and base[0]["is_head"] is False, base


@scenario("a setup that fails ends the run with its name, its words and setup.log, before any agent")
def _(work):
    repo = repository(work / "repo", {"prepare.sh": "#!/bin/sh\necho no such package\nexit 3\n", "use.sh": USE})
    with Installation(work) as skep:
        lines = skep.json_lines("run", "--repo", repo, "--sandboxes", "2", "--setup", "./prepare.sh", "--", "./use.sh", code=76)
        summary = lines[-1]["summary"]
        for sandbox in summary["sandboxes"]:
            assert sandbox["result"] == "failed", sandbox
        swarm = lines[0]["run"]["swarm"]
        closed = [e["body"] for e in skep.events(swarm) if e["type"] == "sandbox.closed"]
        assert [(c["why"]["code"], c["why"]["step"]) for c in closed] == [("setup_failed", "setup")] * 2, closed
        assert "no such package" in closed[0]["why"]["cause"], closed
        for n in range(2):
            assert (repo / "skep-out" / swarm / f"setup-{n}.log").read_text() == "no such package\n"
        assert not [e for e in skep.events(swarm) if e["type"] == "pane.started"]
        assert skep.host_sandboxes() == []


main()
