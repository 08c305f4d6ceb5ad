"""A proxy before a sandbox host that breaks one step of a sandbox's way to its agents: of each swarm the one that it is told.

    with StepProxy(host_url, key) as proxy:
        proxy.plan(swarm, "unpack", "keep")   # its create waits for this
        proxy.plan(other)                     # all of this one's requests pass
        proxy.wait_held(swarm)                # the request is where `keep` or `hold` leaves it
        proxy.ask_host("/v2/sandboxes")       # what the host itself says

The requests that can be broken: create, health, guest (the upload of skep-guest), worktree (that of the tree), and the calls of
skep-guest, unpack and pane. Each one of the swarm's sandboxes is broken, however often it is sent:

    refuse    the answer is 400, and the host never hears of it
    cut       the connection ends, and the host never hears of it
    garble    skep-guest is called by a word that it does not know: a call of skep-guest alone
    keep      the host does it, and its answer is never given
    hold      the host never hears of it, and no answer is given

Everything else passes as it is.
"""
import json
import re
import threading
import urllib.parse
import urllib.request

from cutting_proxy import CuttingProxy
from scenario import PATIENCE

GARBLED = {"unpack": "unpick", "pane": "pain"}  # as long as the word itself: lengths stay
REFUSAL = json.dumps({"code": 400, "message": "refused by the test"}).encode()
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REFUSAL) + REFUSAL


def request_of(line, body):
    """The name of a request that can be broken, or None. `line`: its first one, unquoted."""
    if line.startswith(("POST /sandboxes ", "POST /v2/sandboxes ")):
        return "create"
    if line.startswith("GET /health "):
        return "health"
    if line.startswith("POST /files?"):
        return "worktree" if "/worktree.tar" in line else "guest" if "/skep-guest." in line else None
    if line.startswith("POST /process.Process/Start "):
        process = json.loads(body[5:])["process"]  # behind the envelope of a stream
        words = process.get("args", [])
        if process["cmd"].endswith("/skep-guest") and words and words[0] in GARBLED:
            return words[0]
    return None


class StepProxy(CuttingProxy):
    def __init__(self, url, key):
        super().__init__(url)
        self.host, self.key = url, key
        self.planned = threading.Condition()
        self.plans = {}   # swarm -> (request, how)
        self.held = {}    # swarm -> what is set when its request is where `how` leaves it
        self.swarms = {}  # sandbox -> swarm
        self.kept = {}    # connection that is given no answer any more -> swarm

    def plan(self, swarm, request=None, how=None):
        with self.planned:
            self.held[swarm] = threading.Event()
            self.plans[swarm] = (request, how)
            self.planned.notify_all()

    def wait_held(self, swarm, limit_s=60):
        assert self.held[swarm].wait(limit_s * PATIENCE), f"no {self.plans[swarm][0]} of {swarm} within {limit_s} s"

    def ask_host(self, path):
        """The JSON of one answer of the control API."""
        request = urllib.request.Request(self.host + path, headers={"X-API-KEY": self.key})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30 * PATIENCE) as answer:
            return json.loads(answer.read())

    def swarm_of(self, request, head, body):
        if request == "create":
            return json.loads(body)["metadata"]["skep.swarm"]
        sandbox = re.search(rb"\r\ne2b-sandbox-id: *([\w-]+)", head, re.I)[1].decode()
        if sandbox not in self.swarms:
            self.swarms[sandbox] = self.ask_host(f"/sandboxes/{sandbox}")["metadata"]["skep.swarm"]
        return self.swarms[sandbox]

    def plan_of(self, swarm):
        with self.planned:
            if not self.planned.wait_for(lambda: swarm in self.plans, 60 * PATIENCE):
                raise OSError(f"no plan for {swarm}")
            return self.plans[swarm]

    def requests(self, client, server):
        try:
            stream = client.makefile("rb")
            while head := self.head(stream):
                size = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
                if size is None and re.search(rb"\r\ntransfer-encoding:", head, re.I):
                    raise OSError("a body without a length")
                body = stream.read(int(size[1])) if size else b""
                if size and len(body) < int(size[1]):
                    break
                if not self.pass_on(head, body, client, server):
                    break
        except OSError:
            pass
        self.close(client)
        self.close(server)

    def pass_on(self, head, body, client, server):
        """False: the connection ends here."""
        request = request_of(urllib.parse.unquote(head.split(b"\r\n", 1)[0].decode("latin-1")), body)
        swarm = self.swarm_of(request, head, body) if request else None
        planned, how = self.plan_of(swarm) if request else (None, None)
        if request and request == planned:
            if how == "cut":
                return False
            if how == "refuse":
                client.sendall(REFUSED)
                return True
            if how == "hold":
                self.held[swarm].set()
                return True
            if how == "garble":
                body = body.replace(json.dumps(request).encode(), json.dumps(GARBLED[request]).encode(), 1)
            if how == "keep":
                self.kept[client] = swarm
        server.sendall(head + body)
        return True

    def answers(self, client, server):
        """One that is kept is read to its end all the same: the host is done with it, and only the daemon waits on."""
        try:
            while data := server.recv(65536):
                if client in self.kept:
                    self.held[self.kept[client]].set()
                else:
                    client.sendall(data)
        except OSError:
            pass
        if client not in self.kept:
            self.close(client)
        self.close(server)
