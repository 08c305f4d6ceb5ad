"""One private installation of Skep for a scenario: its own state directory, daemon and local host.

    with Installation(work) as skep:
        done = skep.run("run", "--repo", repo, "--", "./script")
        rows = skep.json("ps", "--all")
        swarm = skep.start(repo, "--sandboxes", "2", "--", "./agent")     # left to the daemon
        skep.closed(swarm)

Leaving the block ends what runs and removes what lies outside `work`, whatever happened inside. What a scenario knows
of the host it learns as anybody could: from ready.json, the key file and E2B's API.
"""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import scenario
from processes import alive, end_process, processes, signal_if_there, wait_for_end  # noqa: F401 scripts take them from here, too


def git(repo, *arguments, check=True, **options):
    """git with an identity of its own and no configuration of the machine."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(["git", "-c", "user.name=Tester", "-c", "user.email=tester@example.invalid",
                           "-c", "init.defaultBranch=main", *map(str, arguments)],
                          cwd=repo, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, **options)
    assert not check or done.returncode == 0, f"git {arguments[0]}: {done.stderr.decode()}"
    return done


def repository(path, files=None):
    """A new repository with one commit of `files` (name: text); programs begin with #!."""
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


class Installation:
    """Commands run with the state directory of this installation and a plain environment."""

    def __init__(self, work, name="state", config=""):
        self.state = Path(work) / name
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith("SKEP_") or k in ("SKEP_BIN", "SKEP_SOURCE")}
        self.environment["SKEP_STATE"] = str(self.state)
        self.said = []  # everything the commands printed
        self.started = []  # processes beside the scenario
        if config:
            self.config(config)

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

    def config(self, text):
        """Writes skep.toml; a running daemon does not see it."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        (self.state / "skep.toml").write_text(text)

    # -- commands

    def run(self, *words, code=None, limit_s=60, **options):
        """`skep WORDS`, to its end, with what it printed kept; it must end with `code` where one is given."""
        options.setdefault("env", self.environment)
        done = scenario.run(["skep", *words], limit_s=limit_s, **options)
        self.said.append(done.stdout + done.stderr)
        assert code is None or done.returncode == code, f"skep {' '.join(map(str, words))[:300]} ended with " \
            f"{done.returncode}, not {code}: {done.stdout[-1500:]} {done.stderr[-1500:]}"
        return done

    def popen(self, *words, **options):
        """`skep WORDS` (or a program given by its path) as a running process with pipes of text, in its own session."""
        argv = [str(word) for word in words]
        if "/" not in argv[0]:
            argv.insert(0, str(scenario.program("skep")))
        for name, value in (("env", self.environment), ("stdin", subprocess.DEVNULL), ("stdout", subprocess.PIPE),
                            ("stderr", subprocess.PIPE)):
            options.setdefault(name, value)
        process = subprocess.Popen(argv, text=True, start_new_session=True, **options)
        self.started.append(process)
        return process

    def json(self, *words, code=0, **options):
        """The one JSON document of `skep WORDS --json`, which must end with `code` (None: any)."""
        lines = self.json_lines(*words, code=code, **options)
        assert len(lines) == 1, f"skep {words[0]} --json printed {len(lines)} documents"
        return lines[0]

    def json_lines(self, *words, code=0, **options):
        """Every document that `skep WORDS --json` printed; standard output holds nothing else."""
        words = [*words]
        at = words.index("--") if "--" in words else len(words)
        words.insert(at, "--json")
        return [json.loads(line) for line in self.run(*words, code=code, **options).stdout.splitlines()]

    # -- swarms

    def start(self, repo, *options):
        """Starts a swarm and leaves it to the daemon: its id."""
        return self.json("run", "--detach", "--repo", repo, *options)["run"]["swarm"]

    def status(self, swarm):
        return self.json("status", swarm)

    def running(self, swarm, text="", limit_s=60):
        """The status of a swarm once every pane runs, and its log holds the text."""
        def look():
            found = self.status(swarm)
            assert found["swarm"]["state"] != "closed", f"closed early: {found['swarm']}"
            if not found["panes"] or any(p["state"] != "running" for p in found["panes"]):
                return None
            good = not text or all(text in self.log_text(f"{swarm}/{p['name']}") for p in found["panes"])
            return found if good else None
        return scenario.wait_until(f"every pane of {swarm} runs {text and 'and says ' + text}", look, limit_s)

    def closed(self, swarm, limit_s=60, every_s=0.02):
        """The status of a swarm once it is closed; asked for `every_s`."""
        def look():
            found = self.status(swarm)
            return found if found["swarm"]["state"] == "closed" else None
        return scenario.wait_until(f"{swarm} closes", look, limit_s, every_s)

    def events(self, swarm=None):
        """Every event of the journal (of one swarm), oldest first."""
        return self.json_lines("events", "--from", "1", *(("--swarm", swarm) if swarm else ()))

    def log_text(self, pane):
        """What `skep logs` shows of a pane from its first byte."""
        return "".join(piece["text"] for piece in self.json_lines("logs", pane, "--from", "0"))

    def log_of(self, pane):
        """The daemon's file of the first attempt of a pane (a row of status)."""
        return self.state / "logs" / pane["swarm"] / f"{pane['pane']}.1.log"

    # -- the daemon

    def install_id(self):
        """The id of this installation, or None before its first daemon."""
        try:
            return (self.state / "install").read_text().split()[0]
        except (FileNotFoundError, IndexError):
            return None

    def daemon_pid(self):
        """The process that the lock file names, when it lives."""
        try:
            pid = int((self.state / "lock").read_text().split()[0])
            name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
            return None
        return pid if name.endswith(b"skepd") else None

    def kill_daemon(self):
        """kill -9, and its end: the pid it had."""
        pid = self.daemon_pid()
        assert pid, "no skepd runs"
        end_process(pid)
        return pid

    # -- the local host

    def host_dir(self):
        """State of the local host, or None before the first daemon."""
        if os.geteuid() != 0:
            return self.state / "host" / "state"
        name = self.install_id()
        return Path("/var/lib/skep-host") / name if name else None

    def host_file(self):
        """What ready.json of the host says (url, pid), or None."""
        try:
            return json.loads((self.host_dir() / "ready.json").read_text())
        except (TypeError, OSError, ValueError):
            return None

    def host_pid(self):
        """The local host's process, or None."""
        try:
            pid = self.host_file()["pid"]
            name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except (TypeError, OSError):
            return None
        return pid if name.endswith(b"skep-host") else None

    def sandboxes_at_host(self):
        """Ids of the sandboxes that the host has: a folder of a holder each."""
        folder = self.host_dir()
        return sorted(os.listdir(folder / "holders")) if folder and (folder / "holders").exists() else []

    def holders(self):
        """Processes that hold sandboxes of this installation: id -> pid."""
        ours, found = set(self.sandboxes_at_host()), {}
        for pid, cmdline in processes():
            words = cmdline.split(b"\0")
            if words[:2] == [b"skep-host", b"hold"] and words[2].decode() in ours:
                found[words[2].decode()] = pid
        return found

    def ask_host(self, path, headers=None, data=None):
        """One request to skep-host with the account's key: the body of its answer."""
        headers = {"X-API-KEY": (self.state / "host" / "key").read_text().strip(), **(headers or {})}
        request = urllib.request.Request(self.host_file()["url"] + path, headers=headers, data=data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return answer.read()

    def host_sandboxes(self):
        """What the host lists: sandboxes that live."""
        if self.host_file() is None:
            return []
        return json.loads(self.ask_host("/v2/sandboxes"))

    def envd(self, remote_id, path, data=None, content_type=None):
        """One request to the envd of a sandbox."""
        token = json.loads(self.ask_host(f"/sandboxes/{remote_id}"))["envdAccessToken"]
        headers = {"E2b-Sandbox-Id": remote_id, "E2b-Sandbox-Port": "49983", "X-Access-Token": token}
        if content_type:
            headers["Content-Type"] = content_type
        return self.ask_host(path, headers, data)

    def read_inside(self, remote_id, path):
        """A file of a sandbox, by the road every client has."""
        return self.envd(remote_id, "/files?" + urllib.parse.urlencode({"path": path, "username": "user"}))

    def write_inside(self, remote_id, path, data):
        self.envd(remote_id, "/files?" + urllib.parse.urlencode({"path": path, "username": "user"}), data,
                  "application/octet-stream")

    # -- the end

    def show_logs(self):
        """The ends of the logs, for whoever looks at a failed scenario."""
        for log in (self.state / "skepd.log", self.state / "host" / "host.log"):
            if log.exists():
                print(f"-- {log.name}: {log.read_text(errors='replace')[-2000:]}", file=sys.stderr)

    def close(self):
        """Ends daemon, host and sandboxes and removes the host's folder. What would not end by itself."""
        problems = []
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
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
                # It has let go of its lock; its last steps (a sanitizer looks for leaks there) may take a moment.
                if wait_for_end(pid, 10):
                    continue
                problems.append("skepd was still there after `skep daemon stop`")
            signal_if_there(pid, signal.SIGTERM)
            if not wait_for_end(pid, 15):
                problems.append(f"{what} does not end by SIGTERM")
                signal_if_there(pid, signal.SIGKILL)
        for pid in self.holders().values():
            signal_if_there(pid, signal.SIGTERM)
            if not wait_for_end(pid, 15):
                signal_if_there(pid, signal.SIGKILL)
        folder = self.host_dir()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        return problems


def documents_of(stream, limit_s=60):
    """JSON lines of a running process as they come; AssertionError when the next is later than the limit."""
    buffered, descriptor = b"", stream.fileno()
    while True:
        assert select.select([descriptor], [], [], limit_s * scenario.PATIENCE)[0], f"no line within {limit_s} s"
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
        out, err = process.communicate(timeout=limit_s * scenario.PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"no end within {limit_s} s: {' '.join(process.args[1:])}") from None
    return process.returncode, out, err
