#!/usr/bin/python3
"""The official command line of E2B, unmodified, under a terminal, against skep-host."""
# timeout: 300
# presets: dev
import atexit
import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time
import urllib.request

from _conformance import KEY, Host, npm_packages
from scenario import main, scenario

CLI = "the CLI of E2B"
E2B = npm_packages(CLI, "cli", "@e2b/cli") / ".bin/e2b"
LIMIT_S = 60
host = Host([KEY])
home = tempfile.mkdtemp(prefix="skep-conformance-home-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
atexit.register(host.close)
ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_]|\][^\x07]*\x07)")


class Terminal:
    """`e2b WORDS...` on a terminal of its own: what it shows, what is typed, how it ends."""

    def __init__(self, *words, rows=24, cols=200):
        self.master, slave = pty.openpty()
        self.resize(rows, cols)
        environment = {**host.environment(), "HOME": home, "TERM": "xterm-256color", "NO_UPDATE_NOTIFIER": "1"}
        self.process = subprocess.Popen([E2B, *words], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.raw = b""
        self.deadline = time.monotonic() + LIMIT_S

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    @property
    def text(self):
        return re.sub(r"\r+\n", "\n", ESCAPES.sub("", self.raw.decode(errors="replace")))

    def read(self):
        """Takes what comes next; False at the end."""
        left = self.deadline - time.monotonic()
        assert left > 0 and select.select([self.master], [], [], left)[0], f"nothing more within {LIMIT_S} s, so far {self.text!r}"
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # the other side of a terminal is closed
            return False
        self.raw += piece
        return piece != b""

    def shows(self, part):
        while part not in self.text:
            assert self.read(), f"{part!r} is not in {self.text!r}"

    def types(self, text):
        os.write(self.master, text.encode())

    def ends(self):
        """Its exit code, when it has ended by itself."""
        while self.read():
            pass
        code = self.process.wait(max(1, self.deadline - time.monotonic()))
        os.close(self.master)
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def e2b(*words, **options):
    """What a command shows on a terminal, and its exit code."""
    terminal = Terminal(*words, **options)
    try:
        code = terminal.ends()
    finally:
        terminal.close()
    return terminal.text, code


def control(method, path, body=None):
    request = urllib.request.Request(host.url + path, None if body is None else json.dumps(body).encode(), {"X-API-KEY": KEY}, method=method)
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def create(**more):
    return control("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 300, **more})["sandboxID"]


def there(sandbox):
    return sandbox in [x["sandboxID"] for x in control("GET", "/v2/sandboxes")]


def listed(*words):
    """The sandboxes that `e2b sandbox list` tells of, as JSON."""
    text, code = e2b("sandbox", "list", "--format", "json", *words)
    assert code == 0, text
    return json.loads(text[text.index("["):])


@scenario(f"{CLI}, list shows what runs, and only that")
def _(work):
    runs, rests = create(metadata={"who": "cli"}), create()
    control("POST", f"/sandboxes/{rests}/pause", {})
    text, code = e2b("sandbox", "list")
    assert code == 0 and runs in text and rests not in text, text
    assert [x["sandboxId"] for x in listed("--state", "paused")] == [rests]
    found, = listed("--metadata", "who=cli")
    assert (found["sandboxId"], found["templateId"], found["state"]) == (runs, "base", "running"), found
    assert listed("--template", "another") == []


@scenario(f"{CLI}, exec gives the output, and the exit code passes through")
def _(work):
    box = create()
    text, code = e2b("sandbox", "exec", box, "--", "sh", "-c", "echo $((40+2))-out; exit 7")
    assert "42-out" in text and code == 7, (text, code)
    assert e2b("sandbox", "exec", box, "true")[1] == 0
    assert e2b("sandbox", "exec", box, "kill -9 $$")[1] not in (0, 7)


@scenario(f"{CLI}, exec passes directory and variables")
def _(work):
    text, code = e2b("sandbox", "exec", "-c", "/tmp", "-e", "COLOUR=deep blue", create(), 'echo "<$PWD|$COLOUR>"')
    assert "</tmp|deep blue>" in text and code == 0, (text, code)


@scenario(f"{CLI}, exec in the background comes back while the command runs")
def _(work):
    box = create()
    _, code = e2b("sandbox", "exec", "--background", box, "exec sleep 1000")
    assert code == 0
    text, _ = e2b("sandbox", "exec", box, "pgrep -x sleep | wc -l")
    assert re.search(r"^1$", text, re.M), text


@scenario(f"{CLI}, exec in a sandbox that never was fails and says so")
def _(work):
    text, code = e2b("sandbox", "exec", "inosuchsandbox0000000", "true")
    assert code != 0 and "not found" in text.lower(), (text, code)


@scenario(f"{CLI}, connect opens a shell of the terminal's size, follows it, and leaves the sandbox alone")
def _(work):
    box = create()
    terminal = Terminal("sandbox", "connect", box, rows=31, cols=97)
    try:
        terminal.shows(f"connecting to sandbox {box}\n")
        terminal.types("echo $((40+2))-answer; stty size\n")
        terminal.shows("42-answer\n")
        terminal.shows("31 97\n")
        terminal.resize(40, 120)
        # The size travels beside what is typed: asked again until it has arrived.
        terminal.types('until [ "$(stty size)" = "40 120" ]; do sleep 0.05; done; echo followed-$((1+1))\n')
        terminal.shows("followed-2\n")
        terminal.types("exit\n")
        assert terminal.ends() == 0, terminal.text
    finally:
        terminal.close()
    assert there(box)


@scenario(f"{CLI}, kill ends the sandbox it names, and all of them when asked")
def _(work):
    one, other, third = create(), create(), create()
    text, code = e2b("sandbox", "kill", one)
    assert code == 0 and one in text, text
    assert (there(one), there(other)) == (False, True)
    text, _ = e2b("sandbox", "kill", one)
    assert "wasn't found" in text or "not found" in text.lower(), text
    e2b("sandbox", "kill", "--all")
    assert not there(other) and not there(third)


@scenario(f"{CLI}, pause, info and resume agree on the state")
def _(work):
    box = create()
    assert e2b("sandbox", "pause", box)[1] == 0
    assert "paused" in e2b("sandbox", "info", box)[0].lower()
    assert e2b("sandbox", "resume", box)[1] == 0
    text, code = e2b("sandbox", "exec", box, "echo awake")
    assert "awake" in text and code == 0, (text, code)


@scenario(f"{CLI}, logs tell of what ran, metrics of what it used")
def _(work):
    box = create()
    e2b("sandbox", "exec", box, "true")
    text, code = e2b("sandbox", "logs", box)
    assert code == 0 and "process ended" in text, text
    text, code = e2b("sandbox", "metrics", box)
    assert code == 0 and re.search(r"CPU.*\d", text), text


@scenario(f"{CLI}, templates are those of the host")
def _(work):
    text, code = e2b("template", "list")
    assert code == 0 and re.search(r"\bbase\b", text), text


@scenario(f"{CLI}, a key that is unknown is refused")
def _(work):
    environment = {**host.environment(), "HOME": home, "E2B_API_KEY": "e2b_" + "f" * 40, "NO_UPDATE_NOTIFIER": "1"}
    done = subprocess.run([E2B, "sandbox", "list"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode != 0 and "Unauthorized" in done.stdout + done.stderr, done


if __name__ == "__main__":
    main()
