"""Terminals."""
import threading

from e2b import CommandExitException, PtySize

from harness import create, failure, group, run, test, until

sandbox = create()


class Terminal:
    def __init__(self, cols=80, rows=24, **options):
        self.bytes = b""
        self.ended = None
        self.handle = sandbox.pty.create(PtySize(rows=rows, cols=cols), timeout=0, **options)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        def take(data):
            self.bytes += data
        try:
            self.handle.wait(on_pty=take)
        except Exception as error:
            self.ended = error

    def send(self, text):
        sandbox.pty.send_stdin(self.handle.pid, text.encode())

    def shows(self, text):
        until(lambda: text.encode() in self.bytes, f"{text!r} in {self.bytes!r}")

    def kill(self):
        return sandbox.pty.kill(self.handle.pid)


group("pty")


@test("a terminal runs what is typed")
def _():
    terminal = Terminal()
    terminal.send("echo $((40+2))-answer\n")
    terminal.shows("42-answer")
    terminal.kill()


@test("a terminal has the size it was given and the one it is changed to")
def _():
    terminal = Terminal(cols=91, rows=33)
    terminal.send("stty size\n")
    terminal.shows("33 91")
    sandbox.pty.resize(terminal.handle.pid, PtySize(rows=40, cols=120))
    terminal.send("stty size\n")
    terminal.shows("40 120")
    terminal.kill()


@test("a terminal has a type, variables and a directory")
def _():
    terminal = Terminal(envs={"MINE": "here"}, cwd="/tmp")
    terminal.send('echo "<$TERM|$MINE|$PWD>"\n')
    terminal.shows("<xterm-256color|here|/tmp>")
    terminal.kill()


@test("interrupting a program in a terminal leaves the shell")
def _():
    terminal = Terminal()
    terminal.send("sh -c 'echo u\"\"p; exec sleep 100'\n")
    terminal.shows("up\r\n")
    terminal.send("\x03")
    terminal.shows("^C")
    terminal.send("echo back-$((1+1))\n")
    terminal.shows("back-2")
    terminal.kill()


@test("a shell that exits ends its terminal with its code")
def _():
    terminal = Terminal()
    terminal.send("exit 5\n")
    until(lambda: terminal.ended, "the end")
    assert isinstance(terminal.ended, CommandExitException) and terminal.ended.exit_code == 5


@test("killing a terminal works once")
def _():
    terminal = Terminal()
    assert terminal.kill() is True
    until(lambda: terminal.ended, "the end")
    assert terminal.kill() is False


run()
