#!/usr/bin/python3
"""skep attach and skep shell: a person's terminal on an agent, or on a shell beside it, through the real daemon and a real
sandbox."""
# presets: dev
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import scenario
from installation import Installation, repository
from processes import processes
from scenario import main, scenario as result

KEY = b"\x1d"  # Ctrl-]
# Answers lines; "size" tells the size of its terminal, "attack" writes what acts on terminals.
TALKER = """#!/usr/bin/python3
import os, sys
print("ready", flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "size":
        print("size", *reversed(os.get_terminal_size()), flush=True)
    elif word == "attack":
        sys.stdout.write(open("attack").read())
        print("attacked", flush=True)
    elif word == "end":
        sys.exit(3)
    else:
        print(f"<{word}>", flush=True)
"""
HOSTILE = ["\x1b]0;owned\a", "\x1b]52;c;cm0gLXJmIC8=\a", "\x1b]8;;http://evil.example/\x1b\\", "\x1b]11;?\a",
           "\x1bP$q\"p\x1b\\", "\x1b_Gf=24;AAAA\x1b\\", "\x1b^pm\x1b\\", "\x1bXsos\x1b\\", "\x1b[6n", "\x1b[c", "\x1b[>c",
           "\x1bZ", "\x1b[21t", "\x1b[3;0;0t", "\x1b[5i", "\x1b[?2004$p", "\x1b[3J", "\x1b[?1004h", "\x05", "\x1bc"]
HARMLESS = "\x1b[?1049h\x1b[?25l\x1b[1;32mgreen\x1b[0m\x1b[?2004h"


def sized(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """`skep WORDS` on a terminal of its own: what it shows, byte by byte, and its modes."""

    def __init__(self, skep, *words, columns=100, rows=30):
        self.master, self.slave = pty.openpty()
        sized(self.master, columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen([scenario.program("skep"), *words], env={**skep.environment, "TERM": "xterm"},
                                        stdin=self.slave, stdout=self.slave, stderr=subprocess.PIPE,
                                        start_new_session=True)
        skep.started.append(self.process)
        self.screen = b""

    def type(self, data):
        os.write(self.master, data)

    def read(self, seconds=0.2):
        if select.select([self.master], [], [], seconds)[0]:
            self.screen += os.read(self.master, 65536)

    def shows(self, what, limit_s=30):
        end = time.monotonic() + limit_s * scenario.PATIENCE
        while what not in self.screen:
            assert self.process.poll() is None, f"ended: {self.screen[-500:]} {self.process.stderr.read()[-500:]}"
            assert time.monotonic() < end, f"not shown: {what}; but: {self.screen[-500:]}"
            self.read()

    def resize(self, columns, rows):
        sized(self.master, columns, rows)
        os.kill(self.process.pid, signal.SIGWINCH)

    def ends(self, code):
        """It ends with this code and leaves the terminal as it was: what it said on standard error."""
        end = time.monotonic() + 30 * scenario.PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, f"does not end: {self.screen[-500:]}"
            self.read()
        while select.select([self.master], [], [], 0)[0]:
            self.read(0)
        said = self.process.stderr.read().decode()
        assert self.process.returncode == code, (self.process.returncode, said, self.screen[-500:])
        assert termios.tcgetattr(self.slave) == self.before, "the terminal's modes are not what they were"
        for fd in (self.master, self.slave):
            os.close(fd)
        return said


def talkers(work, skep, *options):
    repo = repository(work / "repo", {"agent": TALKER, "attack": "".join(HOSTILE) + HARMLESS})
    swarm = skep.start(repo, *options, "--", "./agent")
    skep.running(swarm, "ready")
    return swarm


@result("attach types into a pane with a terminal, hands its size on, and detaches with a key")
def _(work):
    with Installation(work) as skep:
        swarm = talkers(work, skep, "--pty", "--panes", "2")  # the second keeps the sandbox there beyond the first one's end
        user = Terminal(skep, "attach", f"{swarm}/p0")
        user.shows(b"ready")
        user.type(b"hello\r")
        user.shows(b"<hello>")
        user.type(b"size\r")
        user.shows(b"size 30 100")
        user.resize(87, 21)
        deadline = time.monotonic() + 30 * scenario.PATIENCE
        while b"size 21 87" not in user.screen:  # a change of size travels by itself
            assert time.monotonic() < deadline, user.screen[-500:]
            user.type(b"size\r")
            user.read()
        user.type(KEY)
        said = user.ends(0)
        assert "ctrl-] detaches" in said and "the agents go on" in said, said
        skep.run("send", f"{swarm}/p0", "still there", code=0)
        scenario.wait_until("the agent answers", lambda: "<still there>" in skep.log_text(f"{swarm}/p0"))
        # A second one sees what was said before, and the agent's end.
        again = Terminal(skep, "attach", "--detach-key", "ctrl-a", f"{swarm}/p0")
        again.shows(b"<still there>")
        again.type(KEY + b"|\r")
        again.shows(b"|>")
        again.type(b"end\r")
        again.shows(b"the agent ended with exit code 3")
        again.ends(0)


@result("attach passes lines to a pane without a terminal, and read-only nothing at all")
def _(work):
    with Installation(work) as skep:
        swarm = talkers(work, skep)
        watcher = Terminal(skep, "attach", "--read-only", f"{swarm}/p0")
        watcher.shows(b"ready")
        watcher.type(b"from the watcher\r")
        user = Terminal(skep, "attach", f"{swarm}/p0")
        user.shows(b"ready\r\n")
        user.type(b"from the user\r")
        for terminal in (user, watcher):
            terminal.shows(b"<from the user>")
        assert "from the watcher" not in skep.log_text(f"{swarm}/p0")
        watcher.type(b"\x03")
        watcher.ends(0)
        user.type(KEY)
        user.ends(0)
        assert skep.status(swarm)["panes"][0]["state"] == "running"


@result("what an agent writes to act on terminals does not reach the terminal of who attaches")
def _(work):
    with Installation(work) as skep:
        swarm = talkers(work, skep, "--pty")
        user = Terminal(skep, "attach", f"{swarm}/p0")
        user.shows(b"ready")
        user.type(b"attack\r")
        user.shows(b"attacked")
        for bytes_ in HOSTILE:
            assert bytes_.encode() not in user.screen, f"it reached the terminal: {bytes_!r}"
        for text in (b"owned", b"evil", b"cm0g", b"\x1b]", b"\x1bP", b"\x1b_", b"\x1b^", b"\x1bX"):
            assert text not in user.screen, f"it reached the terminal: {text!r}"
        assert b"\x1b[?1049h\x1b[?25l\x1b[1;32mgreen\x1b[0m\x1b[?2004h" in user.screen, user.screen
        user.type(KEY)
        master_after = len(user.screen)
        user.ends(0)
        left = user.screen[master_after:]
        for mode in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l"):
            assert mode in left, (mode, left)


@result("however attach ends, the terminal is put back")
def _(work):
    with Installation(work) as skep:
        swarm = talkers(work, skep)
        for number, code in ((signal.SIGTERM, 129), (signal.SIGHUP, 129), (signal.SIGINT, 0)):
            user = Terminal(skep, "attach", f"{swarm}/p0")
            user.shows(b"ready")
            os.kill(user.process.pid, number)
            user.ends(code)
        user = Terminal(skep, "attach", f"{swarm}/p0")
        user.shows(b"ready")
        skep.run("kill", swarm, code=0)
        assert "gone" in user.ends(69), "the end of the sandbox is told"
        user = Terminal(skep, "attach", f"{swarm}/p0")
        assert "has ended" in user.ends(65)


@result("attach without a terminal is refused, and says what to use")
def _(work):
    with Installation(work) as skep:
        done = skep.run("attach", "pn_x", code=64)
        assert "skep logs -f" in done.stderr and "skep send" in done.stderr, done.stderr


@result("attach shows all panes of a sandbox, tiled in tmux, as the sandbox's ordinary user")
def _(work):
    with Installation(work) as skep:
        repo = repository(work / "repo", {"agent": "#!/bin/sh\necho \"ready $SKEP_PANE_NAME as $(id -u)\"\nexec cat\n"})
        swarm = skep.start(repo, "--panes", "4", "--pty", "--", "./agent")
        sandbox = skep.running(swarm, "ready")["sandboxes"][0]["sandbox"]
        user = Terminal(skep, "attach", sandbox, columns=160, rows=50)
        for name in (b"p0", b"p1", b"p2", b"p3"):
            user.shows(b"ready " + name + b" as 1000")
        user.type(b"typed here\r")
        scenario.wait_until("one pane has the line", lambda: any(
            "typed here" in skep.log_text(f"{swarm}/p{n}") for n in range(4)))
        user.type(KEY)
        user.ends(0)
        assert all(p["state"] == "running" for p in skep.status(swarm)["panes"])


@result("a shell works in the folder of an agent, beside it and after its run in the sandbox that was kept")
def _(work):
    with Installation(work) as skep:
        swarm = talkers(work, skep, "--keep", "--pty")
        user = Terminal(skep, "shell", f"{swarm}/p0")
        user.type(b"pwd; id -u; stty size; echo by hand > note.txt\r")
        for text in (b"/home/user/work/p0\r\n1000\r\n30 100\r\n",):
            user.shows(text)
        # A job that keeps the terminal does not keep the shell: it ends with it, as with a window that is closed.
        user.type(b"sleep 6001 & jobs -p > /home/user/job\r")
        user.type(b"cat /home/user/job; false\rexit\r")
        said = user.ends(0)
        assert "folder of p0" in said and "kept for" not in said and "has ended" in said, said
        beside = Terminal(skep, "shell", f"{swarm}/p0")
        beside.type(b"kill -0 $(cat /home/user/job) || echo job is gone\r")
        beside.shows(b"\njob is gone")
        skep.run("send", f"{swarm}/p0", "end", code=0)
        row = skep.closed(swarm)["sandboxes"][0]
        assert row["kept"], row
        # What was made by hand is part of what the agent's folder came to.
        assert "note.txt" in skep.run("diff", f"{swarm}/p0", code=0).stdout
        beside.type(b"echo still $((40 + 2))\r")
        beside.shows(b"still 42")  # the run is over, its sandbox is kept, and so is this shell
        beside.type(b"exit\r")
        beside.ends(0)
        after = Terminal(skep, "shell", f"{swarm}/p0")
        after.type(b"cat note.txt; pwd\r")
        after.shows(b"by hand\r\n/home/user/work/p0")
        after.type(b"sleep 1000\r")
        after.type(KEY)
        said = after.ends(0)
        assert "The sandbox is kept for" in said and "Left the shell" in said, said
        home = Terminal(skep, "shell", row["sandbox"])
        home.type(b"pwd; tty\r")
        home.shows(b"/home/user\r\n/dev/pts/")
        skep.run("kill", swarm, "--wait", code=0)
        assert "its sandbox has ended" in home.ends(69)
        assert "keeps the sandboxes of a run" in Terminal(skep, "shell", f"{swarm}/p0").ends(65)
        asked = [e["body"]["command"] for e in skep.events() if e["type"] == "command.asked"]
        assert asked.count("shell.open") == 5, asked


@result("a shell whose daemon was killed ends with what runs in it once another one follows its sandbox")
def _(work):
    with Installation(work) as skep:
        swarm = talkers(work, skep)
        user = Terminal(skep, "shell", f"{swarm}/p0")
        user.type(b"sleep 60437 & sleep 60438\r")

        def sleepers():
            return sorted(words[1] for _, line in processes() if (words := line.split(b"\0"))[0] == b"sleep" and words[1][:4] == b"6043")
        scenario.wait_until("both run", lambda: sleepers() == [b"60437", b"60438"])
        skep.kill_daemon()
        assert "skepd ended" in user.ends(69)
        assert sleepers() == [b"60437", b"60438"], "what runs inside does not need the daemon"
        skep.running(swarm)  # starts the next one
        scenario.wait_until("neither runs", lambda: sleepers() == [])
        skep.run("send", f"{swarm}/p0", "end", code=0)
        skep.closed(swarm)


if __name__ == "__main__":
    main()
