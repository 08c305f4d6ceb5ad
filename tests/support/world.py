"""A Skep as seen from outside, for scenarios about crashes, streams and secrets: its daemon, its host, its sandboxes.

    with Installation(work) as skep:
        swarm = skep.start(repo, "--sandboxes", "2", "--", "./agent")
        skep.closed(swarm)

Whatever a scenario did, leaving the block ends skepd, skep-host, its holders (and so their sandboxes) and removes
their files. What a scenario knows of the host it learns as anybody could: from ready.json, the key file and E2B's API.
"""
import base64
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from scenario import BIN, run, wait_until


def end_process(pid, number=signal.SIGKILL, limit_s=10):
    """Signals a process and waits until it is gone; one that is gone already is fine."""
    try:
        watch = os.pidfd_open(pid)
    except OSError:
        return
    try:
        signal.pidfd_send_signal(watch, number)
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        assert poller.poll(limit_s * 1000), f"process {pid} did not end within {limit_s} s of signal {number}"
    except ProcessLookupError:
        pass
    finally:
        os.close(watch)


def processes():
    """(pid, cmdline as bytes) of every process that can be looked at."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield int(name), Path("/proc", name, "cmdline").read_bytes()
        except OSError:
            continue


def make_repo(path, files):
    """A git repository with one commit of {name: content}; programs begin with #!."""
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_text(content)
        if content.startswith("#!"):
            (path / name).chmod(0o755)
    config = ["-c", "user.name=Scenario", "-c", "user.email=scenario@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*config, "commit", "-q", "-m", "The tree the agents work on"]):
        subprocess.run(["git", *words], cwd=path, check=True, stdin=subprocess.DEVNULL)
    return path


class Installation:
    """A state directory and everything that runs for it."""

    def __init__(self, work, config=""):
        self.state = work / "state"
        self.state.mkdir(mode=0o700)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("SKEP_STATE", "SKEP_CONFIG"))}
        self.env["SKEP_STATE"] = str(self.state)
        self.said = []  # everything the programs printed
        self.started = []
        if config:
            (self.state / "skep.toml").write_text(config)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        try:
            self.skep("daemon", "stop", "--force", good=False)
        finally:
            daemon = self.daemon_pid()
            if daemon:
                end_process(daemon)
            self.end_host()

    # -- programs

    def skep(self, *words, good=True, limit_s=60, **options):
        """Runs skep; its output is kept. `good`: it must succeed."""
        done = run(["skep", *words], limit_s=limit_s, env=self.env, **options)
        self.said.append(done.stdout + done.stderr)
        assert not good or done.returncode == 0, \
            f"skep {' '.join(map(str, words))} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
        return done

    def json(self, *words, **options):
        """The one document that `skep --json ...` prints."""
        return json.loads(self.skep("--json", *words, **options).stdout)

    def popen(self, *words, **options):
        """Starts skep (or another program, given by its path) beside the scenario."""
        argv = [str(w) for w in words]
        if "/" not in argv[0]:
            argv.insert(0, str(BIN / "skep"))
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(argv, env=self.env, text=True, **options)
        self.started.append(process)
        return process

    def start(self, repo, *options):
        """Starts a swarm and leaves it to the daemon: its id."""
        done = self.skep("--json", "run", "--detach", "--repo", repo, *options)
        return json.loads(done.stdout.splitlines()[0])["run"]["swarm"]

    def status(self, swarm):
        return self.json("status", swarm)

    def closed(self, swarm, limit_s=60):
        """The status of a swarm once it is closed."""
        def look():
            found = self.status(swarm)
            return found if found["swarm"]["state"] == "closed" else None
        return wait_until(f"{swarm} closes", look, limit_s)

    def running(self, swarm, limit_s=60):
        """The status of a swarm once every pane runs."""
        def look():
            found = self.status(swarm)
            assert found["swarm"]["state"] != "closed", f"closed early: {found['swarm']}"
            return found if found["panes"] and all(p["state"] == "running" for p in found["panes"]) else None
        return wait_until(f"every pane of {swarm} runs", look, limit_s)

    def events(self, *options):
        """Every journaled event, as `skep events --from 1 --json` prints them."""
        text = self.skep("events", "--from", "1", "--json", *options).stdout
        return [json.loads(line) for line in text.splitlines()]

    # -- the daemon

    def daemon_pid(self):
        """The process that holds this state directory, or None."""
        for pid, cmdline in processes():
            words = cmdline.split(b"\0")
            if words[0].endswith(b"/skepd") and str(self.state).encode() in words:
                return pid
        return None

    def kill_daemon(self):
        """kill -9, and its end."""
        pid = self.daemon_pid()
        assert pid, "no skepd runs"
        end_process(pid)
        return pid

    def log_of(self, pane):
        """The daemon's log of the first attempt of a pane (a row of status)."""
        return self.state / "logs" / pane["swarm"] / f"{pane['pane']}.1.log"

    # -- the host

    def host_dir(self):
        if os.geteuid() != 0:
            return self.state / "host" / "state"
        found = self.state / "install"
        return Path("/var/lib/skep-host", found.read_text().split()[0]) if found.exists() else None

    def host_file(self):
        path = self.host_dir()
        try:
            return json.loads((path / "ready.json").read_text()) if path else None
        except (OSError, ValueError):
            return None

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

    def end_host(self):
        """The host, its holders and, where it was made outside the state directory, its files."""
        place = self.host_dir()
        if place is None or not place.exists():
            return
        ids = {name.name.encode() for name in (place / "holders").iterdir()} if (place / "holders").exists() else set()
        hosts, holders = [], []
        for pid, cmdline in processes():
            words = cmdline.split(b"\0")
            if words[0].endswith(b"skep-host") and str(place).encode() in words:
                hosts.append(pid)
            elif words[0].endswith(b"skep-host") and words[1:2] == [b"hold"] and words[2] in ids:
                holders.append(pid)
        for pid in hosts + holders:
            end_process(pid)
        shutil.rmtree(place, ignore_errors=True)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def forms(secret):
    """Every form in which a secret must not be found: {name: bytes}."""
    raw = secret.encode()
    found = {"plain": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode(),
             "url": urllib.parse.quote(secret, safe="").encode()}
    for shift in range(3):
        # Only the characters that depend on the secret alone, whatever stands before and after it.
        coded = base64.b64encode(b"\0" * shift + raw)
        begin = (shift * 8 + 5) // 6
        end = (shift + len(raw)) * 8 // 6
        found[f"base64 at {shift}"] = coded[begin:end]
        found[f"base64url at {shift}"] = coded[begin:end].replace(b"+", b"-").replace(b"/", b"_")
    return found
