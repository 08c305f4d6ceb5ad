"""One private installation of Skep for a scenario: its own state directory, daemon and local host.

    with Installation(work) as skep:
        done = skep.run("run", "--repo", repo, "--", "./script")
        rows = skep.json("ps", "--all")

Leaving the block ends what runs and removes what lies outside `work`, whatever happened inside.
"""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import scenario


def git(repo, *arguments, check=True, **options):
    """git with an identity of its own and no configuration of the machine."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(["git", "-c", "user.name=Tester", "-c", "user.email=tester@example.invalid",
                           "-c", "init.defaultBranch=main", *map(str, arguments)],
                          cwd=repo, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, **options)
    assert not check or done.returncode == 0, f"git {arguments[0]}: {done.stderr.decode()}"
    return done


def repository(path, files=None):
    """A new repository with one commit of `files` (name: text)."""
    path.mkdir(parents=True)
    git(path, "init", "-q")
    for name, text in (files or {"README": "a test\n"}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
        if text.startswith("#!"):
            (path / name).chmod(0o755)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "first")
    return path


def alive(pid):
    """False also for a process that ended and was not yet reaped by its parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for_end(pid, limit_s):
    """True when the process ended in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], limit_s)[0])
    finally:
        os.close(descriptor)


class Installation:
    """Commands run with the state directory of this installation and a plain environment."""

    def __init__(self, work, name="state", config=""):
        self.state = Path(work) / name
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith("SKEP_") or k in ("SKEP_BIN", "SKEP_SOURCE")}
        self.environment["SKEP_STATE"] = str(self.state)
        if config:
            self.state.mkdir(mode=0o700)
            (self.state / "skep.toml").write_text(config)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        problems = self.close()
        if problems and failure[0] is None:
            raise AssertionError("; ".join(problems))
        for problem in problems:
            print(problem, file=sys.stderr)
        if failure[0] is not None:
            self.show_logs()

    # -- commands

    def run(self, *arguments, limit_s=60, **options):
        """`skep ARGUMENTS`, to its end."""
        options.setdefault("env", self.environment)
        return scenario.run(["skep", *arguments], limit_s=limit_s, **options)

    def start(self, *arguments, **options):
        """`skep ARGUMENTS` as a running process with pipes of text, in a session of its own."""
        options.setdefault("env", self.environment)
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([str(scenario.program("skep")), *map(str, arguments)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True, **options)

    def json(self, *arguments, code=0, **options):
        """The one JSON document of `skep ARGUMENTS --json`, which must end with `code` (None: any)."""
        lines = self.json_lines(*arguments, code=code, **options)
        assert len(lines) == 1, f"skep {arguments[0]} --json printed {len(lines)} documents"
        return lines[0]

    def json_lines(self, *arguments, code=0, **options):
        """Every document that `skep ARGUMENTS --json` printed; standard output holds nothing else."""
        words = [*arguments]
        at = words.index("--") if "--" in words else len(words)
        words.insert(at, "--json")
        done = self.run(*words, **options)
        assert code is None or done.returncode == code, f"skep {' '.join(map(str, words))} ended with {done.returncode}, not " \
            f"{code}: {done.stdout[-1500:]} {done.stderr[-1500:]}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def events(self, swarm=None):
        """Every event of the journal (of one swarm), oldest first."""
        return self.json_lines("events", "--from", "1", *(("--swarm", swarm) if swarm else ()))

    def config(self, text):
        """Writes skep.toml; a running daemon does not see it."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        (self.state / "skep.toml").write_text(text)

    # -- what is there

    def install_id(self):
        """The id of this installation, or None before its first daemon."""
        try:
            return (self.state / "install").read_text().split()[0]
        except (FileNotFoundError, IndexError):
            return None

    def host_dir(self):
        """State of the local host, or None before the first daemon."""
        if os.geteuid() != 0:
            return self.state / "host" / "state"
        name = self.install_id()
        return Path("/var/lib/skep-host") / name if name else None

    def host_pid(self):
        """The local host's process, or None."""
        try:
            pid = json.loads((self.host_dir() / "ready.json").read_text())["pid"]
            name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except (TypeError, FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if name.endswith(b"skep-host") else None

    def daemon_pid(self):
        """The process that the lock file names, when it lives."""
        try:
            pid = int((self.state / "lock").read_text().split()[0])
            name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
            return None
        return pid if name.endswith(b"skepd") else None

    def sandboxes_at_host(self):
        """Ids of the sandboxes that the host has: a folder of a holder each."""
        folder = self.host_dir()
        return sorted(os.listdir(folder / "holders")) if folder and (folder / "holders").exists() else []

    def holders(self):
        """Processes that hold sandboxes of this installation: id -> pid."""
        ours, found = set(self.sandboxes_at_host()), {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"skep-host", b"hold"] and words[2].decode() in ours:
                found[words[2].decode()] = int(entry)
        return found

    def show_logs(self):
        """The ends of the logs, for whoever looks at a failed scenario."""
        for log in (self.state / "skepd.log", self.state / "host" / "host.log"):
            if log.exists():
                print(f"-- {log.name}: {log.read_text(errors='replace')[-2000:]}", file=sys.stderr)

    # -- the end

    def close(self):
        """Ends daemon, host and sandboxes and removes the host's folder. What would not end by itself."""
        problems = []
        if self.daemon_pid():
            try:
                self.run("kill", "--all", "--wait", limit_s=30)
                self.run("daemon", "stop", "--force", limit_s=70)
            except subprocess.TimeoutExpired as late:
                problems.append(f"no end of {' '.join(map(str, late.cmd[1:]))}")
        for what, pid in (("skepd", self.daemon_pid()), ("skep-host", self.host_pid())):
            if pid is None:
                continue
            if what == "skepd":
                problems.append("skepd was still there after `skep daemon stop`")
            os.kill(pid, signal.SIGTERM)
            if not wait_for_end(pid, 15):
                problems.append(f"{what} does not end by SIGTERM")
                os.kill(pid, signal.SIGKILL)
        for pid in self.holders().values():
            os.kill(pid, signal.SIGTERM)
            if not wait_for_end(pid, 15):
                os.kill(pid, signal.SIGKILL)
        folder = self.host_dir()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        return problems


def documents_of(stream, limit_s=60):
    """JSON lines of a running process as they come; AssertionError when the next is later than the limit."""
    buffered, descriptor = b"", stream.fileno()
    while True:
        assert select.select([descriptor], [], [], limit_s)[0], f"no line within {limit_s} s"
        block = os.read(descriptor, 65536)
        if not block:
            return
        buffered += block
        *lines, buffered = buffered.split(b"\n")
        for line in lines:
            yield json.loads(line)


def finish(process, limit_s=60):
    """Exit code and what was left on both pipes."""
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"no end within {limit_s} s: {' '.join(process.args[1:])}") from None
    return process.returncode, out, err

