"""E2B's wire as the contract suite speaks it: requests of the control API, of envd, and streams of envelopes.

Everything goes through libcurl (pycurl), so that the same cases run over plain HTTP/1.1 and over TLS with HTTP/2; what
was spoken is counted in Target.versions. Every request has a deadline.

An envelope of a stream:

    byte 0      flags: 0x02 = end of stream, else 0
    bytes 1-4   length of the payload, unsigned, big endian
    bytes 5..   the payload, JSON
"""
import base64
import collections
import io
import json
import queue
import struct
import threading
import time
from urllib.parse import quote, urlencode

import pycurl

DEADLINE_S = 30
ENVD_PORT = 49983
VERSIONS = {pycurl.CURL_HTTP_VERSION_1_0: "1.0", pycurl.CURL_HTTP_VERSION_1_1: "1.1", 3: "2"}


class Answer:
    """Status, headers (names in lower case, the last of each) and body of one exchange."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.text[:300]}"


class Target:
    """Where the suite is aimed: the addresses, the key, and how names are found.

    With a domain, each sandbox is found by its name PORT-ID.DOMAIN, and `resolve` says where names lie; without, by
    the two routing headers at the control API's address."""

    def __init__(self, url, key, domain="", authority=None, resolve="", real=True, ours=True):
        self.url, self.key, self.domain, self.authority, self.real, self.ours = url, key, domain, authority, real, ours
        self.resolve = resolve  # "ADDRESS:PORT" of the proxy
        self.versions = collections.Counter()
        self.lock = threading.Lock()

    def address(self, sandbox_id, port):
        """Base address and routing headers for a port of a sandbox."""
        if not self.domain:
            return self.url, {"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": str(port)}
        scheme, rest = self.url.split("://")
        tail = ":" + rest.rsplit(":", 1)[1] if ":" in rest else ""
        return f"{scheme}://{port}-{sandbox_id}.{self.domain}{tail}", {}

    def handle(self, method, url, headers, body):
        c = pycurl.Curl()
        c.setopt(pycurl.URL, url)
        c.setopt(pycurl.CUSTOMREQUEST, method)
        c.setopt(pycurl.NOSIGNAL, 1)
        c.setopt(pycurl.PROXY, "")
        c.setopt(pycurl.PATH_AS_IS, 1)
        if method == "HEAD":
            c.setopt(pycurl.NOBODY, 1)
        sent = {"Expect": "", **headers}
        if body is not None:
            c.setopt(pycurl.POSTFIELDS, body)
            c.setopt(pycurl.POSTFIELDSIZE, len(body))
            sent.setdefault("Content-Type", "application/json")
        c.setopt(pycurl.HTTPHEADER, [f"{k}: {v}" if v != "" else f"{k}:" for k, v in sent.items()])
        if url.startswith("https:"):
            c.setopt(pycurl.CAINFO, str(self.authority))
            c.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
            host = url.split("://")[1].split("/")[0]
            name, port = host.rsplit(":", 1)
            c.setopt(pycurl.RESOLVE, [f"{name}:{port}:{self.resolve}"])
        return c

    def note_version(self, c):
        version = VERSIONS.get(c.getinfo(pycurl.INFO_HTTP_VERSION), "?")
        with self.lock:
            self.versions[version] += 1

    def exchange(self, method, url, headers=None, body=None, limit_s=DEADLINE_S):
        """One request with its whole answer."""
        out, lines = io.BytesIO(), []
        c = self.handle(method, url, headers or {}, body)
        c.setopt(pycurl.TIMEOUT_MS, int(limit_s * 1000))
        c.setopt(pycurl.WRITEFUNCTION, out.write)
        c.setopt(pycurl.HEADERFUNCTION, lines.append)
        try:
            c.perform()
            self.note_version(c)
            return Answer(c.getinfo(pycurl.RESPONSE_CODE), read_headers(lines), out.getvalue())
        finally:
            c.close()

    def api(self, method, path, body=None, key=None, headers=None, limit_s=DEADLINE_S):
        """A request of the control API; `body` is JSON, or bytes as they are; `key` "" sends none."""
        key = self.key if key is None else key
        sent = {**({"X-API-KEY": key} if key else {}), **(headers or {})}
        return self.exchange(method, self.url + path, sent, as_bytes(body), limit_s)

    def create(self, version="/v2", **fields):
        """A new sandbox, killed when the `with` block ends."""
        fields = {"templateID": "base", "timeout": 120, **fields}
        answer = self.api("POST", f"{version}/sandboxes", fields)
        assert answer.status == 201, answer
        return Sandbox(self, answer.json())


class Sandbox:
    """One sandbox, and the requests that are made to it."""

    def __init__(self, target, made):
        self.target, self.made = target, made
        self.id, self.token = made["sandboxID"], made.get("envdAccessToken") or ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.target.api("DELETE", f"/sandboxes/{self.id}")

    def api(self, method, path="", body=None, **more):
        return self.target.api(method, f"/sandboxes/{self.id}{path}", body, **more)

    def info(self):
        return self.api("GET").json()

    def request(self, method, path, body=None, headers=None, token=None, port=ENVD_PORT, query=None, limit_s=DEADLINE_S):
        """A request to a port of the sandbox, envd's unless another is named; `token` "" sends none."""
        base, sent = self.target.address(self.id, port)
        token = self.token if token is None else token
        if token:
            sent["X-Access-Token"] = token
        sent.update(headers or {})
        url = base + path + ("?" + urlencode(query, quote_via=quote) if query else "")
        return self.target.exchange(method, url, sent, as_bytes(body), limit_s)

    def rpc(self, method, message, **more):
        """A unary call, for example process.Process/List."""
        more["headers"] = {"Connect-Protocol-Version": "1", **more.get("headers", {})}
        return self.request("POST", "/" + method, message, **more)

    def stream(self, method, message, headers=None, token=None, raw=None):
        """A call whose answer is a stream."""
        base, sent = self.target.address(self.id, ENVD_PORT)
        token = self.token if token is None else token
        if token:
            sent["X-Access-Token"] = token
        sent.update({"Connect-Protocol-Version": "1", "Content-Type": "application/connect+json", **(headers or {})})
        return Stream(self.target, f"{base}/{method}", sent, envelope(message) if raw is None else raw)

    # -- what most cases want --

    def start(self, *argv, headers=None, **fields):
        """A process by its argv; further fields of Start by name (envs and cwd go into the process)."""
        process = {"cmd": argv[0], "args": list(argv[1:])}
        for name in ("envs", "cwd"):
            if name in fields:
                process[name] = fields.pop(name)
        return self.stream("process.Process/Start", {"process": process, **fields}, headers)

    def run(self, *argv, **fields):
        """The same to its end: what it said and how it ended."""
        return self.start(*argv, **{"stdin": False, **fields}).finish()

    def write(self, path, data, **more):
        answer = self.request("POST", "/files", data, query={"path": path, **more.pop("query", {})},
                              headers={"Content-Type": "application/octet-stream", **more.pop("headers", {})}, **more)
        assert answer.status == 200, answer
        return answer.json()

    def read(self, path, **more):
        return self.request("GET", "/files", query={"path": path, **more.pop("query", {})}, **more)


class Ended:
    """A finished stream: its events, the end-of-stream message, and what a process said in all."""

    def __init__(self, status, events, last):
        self.status, self.events, self.last = status, events, last
        self.error = (last or {}).get("error", {})
        of = [e["event"] for e in events if "event" in e]
        self.out = joined(of, "stdout")
        self.err = joined(of, "stderr")
        self.pty = joined(of, "pty")
        self.end = next((e["end"] for e in of if "end" in e), None)

    def __repr__(self):
        return f"{self.status} {self.events[-3:]} {self.last}"


class Stream:
    """A stream that is being read by a thread of its own; next() and finish() wait with a deadline."""

    def __init__(self, target, url, headers, body):
        self.messages, self.answer, self.gone = queue.Queue(), None, threading.Event()
        self.events, self.data, self.lines = [], b"", []
        self.target = target
        self.thread = threading.Thread(target=self.read, args=(url, headers, body), daemon=True)
        self.thread.start()

    def read(self, url, headers, body):
        c = self.target.handle("POST", url, headers, body)
        c.setopt(pycurl.TIMEOUT_MS, 120_000)
        c.setopt(pycurl.WRITEFUNCTION, self.take)
        c.setopt(pycurl.HEADERFUNCTION, self.lines.append)
        c.setopt(pycurl.NOPROGRESS, 0)
        c.setopt(pycurl.XFERINFOFUNCTION, lambda *_: 1 if self.gone.is_set() else 0)
        try:
            c.perform()
            self.target.note_version(c)
        except pycurl.error as why:
            self.messages.put(("broken", str(why)))
        self.status = c.getinfo(pycurl.RESPONSE_CODE)
        self.messages.put(("over", None))
        c.close()

    def take(self, data):
        self.data += data
        while len(self.data) >= 5:
            flags, size = struct.unpack(">BI", self.data[:5])
            if len(self.data) < 5 + size:
                break
            text, self.data = self.data[5:5 + size], self.data[5 + size:]
            try:
                self.messages.put(("last" if flags & 2 else "message", json.loads(text)))
            except ValueError:  # no stream at all, but an answer of plain HTTP
                self.messages.put(("garbage", text))
        return None

    def next(self, limit_s=DEADLINE_S):
        """The next message, ("message", {...}), ("last", {...}), ("broken", why) or ("over", None)."""
        got = self.messages.get(timeout=limit_s)
        if got[0] == "message":
            self.events.append(got[1])
        return got

    def until(self, condition, limit_s=DEADLINE_S):
        """The first message for which `condition(message)` holds; an end before that is an error."""
        end = time.monotonic() + limit_s
        while True:
            kind, message = self.next(max(0.01, end - time.monotonic()))
            assert kind == "message", (kind, message, self.events[-3:])
            if condition(message):
                return message

    def pid(self):
        return self.until(lambda m: "start" in m.get("event", {}))["event"]["start"]["pid"]

    def until_said(self, text, member="stdout", limit_s=DEADLINE_S):
        """Waits until a process has said `text`."""
        want = text.encode()
        self.until(lambda _: want in joined([e.get("event", {}) for e in self.events], member), limit_s)

    def finish(self, limit_s=DEADLINE_S):
        """Reads to the end of the exchange."""
        last, end = None, time.monotonic() + limit_s
        while True:
            kind, message = self.next(max(0.01, end - time.monotonic()))
            if kind == "last":
                last = message
            if kind == "broken":
                last = {"broken": message}
            if kind == "over":
                return Ended(self.status, self.events, last)

    def leave(self):
        """Goes away, as a client does that closes its connection."""
        self.gone.set()
        self.thread.join(DEADLINE_S)


def joined(events, member):
    return b"".join(base64.b64decode(e["data"][member]) for e in events if member in e.get("data", {}))


def as_bytes(body):
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps(body).encode()


def envelope(message, flags=0):
    text = json.dumps(message).encode() if not isinstance(message, bytes) else message
    return struct.pack(">BI", flags, len(text)) + text


def read_headers(lines):
    out = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").strip().partition(":")
        if name.startswith("HTTP/"):
            out = {}
        elif colon:
            out[name.lower()] = value.strip()
    return out


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def wait_until(what, condition, limit_s=DEADLINE_S):
    """The first true value of `condition()`."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        time.sleep(0.02)  # sleep: between two looks at a server that tells nobody
