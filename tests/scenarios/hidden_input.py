#!/usr/bin/python3
"""Values that are typed at a terminal are not shown, and the terminal is given back however the typing ends."""
# presets: dev
import os
import pty
import resource
import signal
import termios

from installation import Installation
from scenario import Skip, main, scenario, wait_until


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def usual_start():
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


class Typing:
    """`skep secret set NAME` with a terminal of its own as standard input."""

    def __init__(self, skep, name="A_KEY"):
        self.master, self.slave = pty.openpty()
        # Whoever started the tests may ignore some signals (nohup does) or want no core dumps, and children inherit that.
        self.process = skep.popen("secret", "set", name, stdin=self.slave, preexec_fn=usual_start)
        wait_until("what is typed is hidden", lambda: not self.shows(), 20)

    def shows(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.master)
        os.close(self.slave)


@scenario("a secret that is typed is not shown, and afterwards the terminal shows again")
def _(work):
    with Installation(work) as skep, Typing(skep) as typing:
        os.write(typing.master, b"the-value-nobody-sees\n")
        out, err = typing.process.communicate(timeout=20)
        assert typing.process.returncode == 0, err
        assert typing.shows() and "the-value" not in out + err
        assert skep.json("secret", "list")["secrets"] == ["A_KEY"]


@scenario("while a secret is typed no core dump can be made of it")
def _(work):
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        raise Skip("no process of this machine may make a core dump")
    with Installation(work) as skep, Typing(skep) as typing:
        proc = f"/proc/{typing.process.pid}"
        [limit] = [line.split() for line in open(f"{proc}/limits") if line.startswith("Max core file size")]
        assert limit[4:6] == ["0", "0"], limit
        # Of a process that makes no dump these files are root's, whoever it runs as.
        assert os.stat(f"{proc}/mem").st_uid == os.stat("/").st_uid
        os.write(typing.master, b"a value\n")
        assert typing.process.wait(20) == 0


@scenario("a signal that ends the typing of a secret gives the terminal back and sets nothing")
def _(work):
    with Installation(work) as skep:
        for number in ENDING:
            with Typing(skep) as typing:
                os.write(typing.master, b"half a val")
                typing.process.send_signal(number)
                typing.process.wait(20)
                assert typing.process.returncode == -number, typing.process.returncode
                assert typing.shows(), f"the terminal is silent after {number.name}"
        assert skep.json("secret", "list")["secrets"] == []


@scenario("while the typing of a secret is stopped the terminal shows, and not when it goes on")
def _(work):
    with Installation(work) as skep, Typing(skep) as typing:
        typing.process.send_signal(signal.SIGTSTP)
        wait_until("it is stopped", lambda: "State:\tT" in open(f"/proc/{typing.process.pid}/status").read(), 20)
        assert typing.shows()
        typing.process.send_signal(signal.SIGCONT)
        wait_until("what is typed is hidden again", lambda: not typing.shows(), 20)
        os.write(typing.master, b"a value\n")
        assert typing.process.wait(20) == 0 and typing.shows()


if __name__ == "__main__":
    main()
