"""Ways out that take more than one program: deeds of a sandbox against its end, its host and whoever looks at it.

    @deed("a program left behind when its sandbox is deleted")
    def _(s):                   # s: host, target, server, work
        return inside, control  # each: the evidence that the way was open, or nothing

A deed is judged as a probe is: closed inside, open in its control."""
import os
import pty
import signal
import subprocess
import types

from attach import KEY, Terminal
from host_side import PYTHON
from installation import Installation, repository
from probing import NotProvable
from processes import processes
from wire import wait_until

deeds = {}
PATIENCE_S = 20


def deed(name):
    assert name not in deeds and ":" not in name, name

    def register(function):
        deeds[name] = function
        return function
    return register


def all_of(host, target, server, words):
    """Does every deed whose name holds one of the words: yields (name, inside, control)."""
    s = types.SimpleNamespace(host=host, target=target, server=server, service=host.service)
    for name, function in deeds.items():
        if words and not any(w in name for w in words):
            continue
        try:
            yield name, *function(s)
        except NotProvable as why:
            print(f"not provable here: {name}: {why}", flush=True)


def running(word):
    """Processes of this machine with this word in their command line."""
    return [pid for pid, words in processes() if word.encode() in words.split(b"\0")]


def ends(condition, limit_s=PATIENCE_S):
    """True when the condition comes in time."""
    try:
        wait_until("", condition, limit_s)
    except AssertionError:
        return False
    return True


def home_of(s, box):
    return f"{s.server.work}/state/sandboxes/{box.id}/home"


def signal_envd(box, number):
    """Has a program inside send a signal to the envd that started it."""
    words = f"for d in /proc/[0-9]*; do read -r name < $d/comm; [ $name = skep-envd ] && kill -{number} ${{d#/proc/}}; done"
    box.start("/bin/sh", "-c", words)  # its answer may never come


def envd_stopped(box):
    """Stops envd from inside; True once it does not answer any more."""
    signal_envd(box, "STOP")

    def silent():
        try:
            box.request("GET", "/health", limit_s=0.5)
        except Exception:  # noqa: BLE001 libcurl has an error of its own for a time limit
            return True
        return False
    return ends(silent)


@deed("a lease that a stopped envd does not end")
def _(s):
    with s.target.create(timeout=600) as long, s.target.create(timeout=600) as short:
        assert envd_stopped(long) and envd_stopped(short)
        short.api("POST", "/timeout", {"timeout": 1})
        inside = not ends(lambda: short.api("GET").status == 404) and "it lives on"
        return inside, long.api("GET").status == 200 and "without that end it lives on"


def outlives_its_parent(s, word):
    """What a process does that nobody holds: it goes on when its parent is killed. It is ended here."""
    s.service.popen(["/bin/sh", "-c", f"setsid sleep {word} & kill -9 $$"]).wait(PATIENCE_S)
    if not ends(lambda: running(word)):
        return None
    for pid in running(word):
        os.kill(pid, signal.SIGKILL)
    return "it lives on"


def left_behind(box, word):
    """Leaves a process inside that belongs to nobody."""
    box.run("/bin/sh", "-c", f"setsid nohup sleep {word} > /dev/null 2>&1 & exit 0")
    assert ends(lambda: running(word)), "it was not started"


@deed("a program left behind when its sandbox is deleted")
def _(s):
    word = f"99{int.from_bytes(os.urandom(3), 'big')}"
    with s.target.create() as box:
        left_behind(box, word)
    return not ends(lambda: not running(word)) and "it lives on", outlives_its_parent(s, word)


@deed("a program left behind when envd is killed from inside")
def _(s):
    word = f"98{int.from_bytes(os.urandom(3), 'big')}"
    with s.target.create() as box:
        left_behind(box, word)
        signal_envd(box, "KILL")
        gone = ends(lambda: not running(word) and box.api("GET").status == 404)
    return not gone and "it lives on", outlives_its_parent(s, word)


SWAPPED = """import os, select, socket
listeners = {}
for folder in ("/home/user", "/home/user/.skep", "/tmp", "/tmp/run"):
    os.makedirs(folder, exist_ok=True)
    for name in ("envd.sock", "ctl.sock", "gateway.sock", "host.sock", "docker.sock"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/{name}")
        listener.listen(8)
        listeners[listener] = f"{folder}/{name}"
with open("/home/user/connections", "w", buffering=1) as out:
    print("listening", flush=True)
    while True:
        for ready in select.select(listeners, [], [])[0]:
            ready.accept()
            out.write(listeners[ready] + "\\n")
"""


@deed("a socket put where the host could connect to it")
def _(s):
    with s.target.create() as box:
        box.write("/home/user/swapped.py", SWAPPED.encode())
        stream = box.start(PYTHON, "/home/user/swapped.py")
        stream.until_said("listening")
        for what in (lambda: box.request("GET", "/metrics"), lambda: box.run("/bin/true"), lambda: box.api("GET", "/metrics"),
                     lambda: box.api("GET", "/logs"), lambda: box.request("GET", "/", port=8080), lambda: box.api("POST", "/pause"),
                     lambda: box.api("POST", "/connect", {"timeout": 60})):
            what()
        connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        s.service.popen([PYTHON, "-c", connect, f"{home_of(s, box)}/envd.sock"]).wait(PATIENCE_S)
        reached = ends(lambda: box.read("/home/user/connections").text)
        lines = box.read("/home/user/connections").text.split()
        stream.leave()
        return len(lines) > 1 and f"the host connected to {lines[0]}", reached and "a program that connects there is heard inside"


@deed("a link in its home when the home is removed")
def _(s):
    kept = s.host.folder / "kept"
    s.host.put(kept, "to be kept")
    with s.target.create() as box:
        box.run("/bin/sh", "-c", f"mkdir -p a/b && ln -s {s.host.folder} out && ln -s {s.host.folder} a/b/out && ln -s {kept} a/kept")
        home = home_of(s, box)
        followed = s.service.popen(["/bin/sh", "-c", f"test -s {home}/a/b/out/kept && test -s {home}/a/kept"]).wait(PATIENCE_S) == 0
    assert ends(lambda: not os.path.exists(home)), "the home is still there"
    return not kept.exists() and "the file behind it is gone", followed and "a program that walks there follows it"


class Attached:
    """A tmux client of this machine on the server of a sandbox, on a terminal of its own: what Skep never does."""

    def __init__(self, s, folder, server):
        self.process, self.terminal = None, None
        leader, terminal = pty.openpty()

        def own_terminal():
            os.setsid()
            import fcntl
            import termios
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            s.service.become()
        self.terminal = leader
        os.chmod(os.ttyname(terminal), 0o666)
        self.process = subprocess.Popen(["/usr/bin/tmux", "-S", server, "attach"], cwd=folder, stdin=terminal,
                                        stdout=terminal, stderr=terminal, preexec_fn=own_terminal, env={"TERM": "xterm", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
        os.close(terminal)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


# An agent that waits for a client at the tmux server that `skep attach SANDBOX` made, and has it run something; then it
# waits for the next one, whoever that is.
TRAPPER = """#!/bin/sh
of() { tmux -S "$server" "$@"; }
spring() {
  until server=$(ls /home/user/.skep/tmux/*.sock 2> /dev/null) && [ -n "$(of list-clients 2> /dev/null)" ]; do :; done
  of detach-client -s "$(basename "$server" .sock)" -E "touch '$1'; echo '<sprung>'; exec cat"
}
echo ready
spring "$1"
spring "$1"
exec cat
"""


@deed("a tmux server that has its clients run a command")
def _(s):
    if not os.path.exists("/usr/bin/tmux"):
        raise NotProvable("tmux is not installed")
    mark = s.host.folder / "ran-by-tmux"
    repo = repository(s.host.work / "trapping", {"README": "a tree\n", "agent": TRAPPER})
    with Installation(s.host.work, name="tmux-state") as skep:
        swarm = skep.start(repo, "--pty", "--", "./agent", str(mark))
        person = Terminal(skep, "attach", skep.running(swarm, "ready")["sandboxes"][0]["sandbox"])
        person.shows(b"<sprung>")  # what that client has become, inside
        inside = mark.exists() and "it ran on the host"
        person.type(KEY)
        person.ends(0)
        [box] = skep.sandboxes_at_host()
        folder = skep.host_dir() / "sandboxes" / box / "home" / ".skep" / "tmux"
        [server] = folder.glob("*.sock")
        client = Attached(s, folder, server.name)
        try:
            control = ends(mark.exists) and "a client of the host, attached by hand, ran it"
        finally:
            client.close()
    return inside, control
