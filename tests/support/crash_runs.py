"""Runs against the simulator in which skepd ends by SIGKILL at a crash point (messages/crash_point.hpp) and is started
again; and the judge of them, who believes the simulator's record, the journal and the files alone. Series of such runs
are in crash_series.py.

    plain = crash_run(folder, repo, seed=1)                       # counts the points on its way
    for name in plain.names: judge(crash_run(folder, repo, seed=1, at=name), plain)
    crash_run(folder, repo, seed=1, at=name, again=other)         # the daemon that recovers is killed, too

The daemon is the harness's own child: only so has it the option that no help shows. One that ended is started again
without it, as `skep` would do.
"""
import dataclasses
import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import zlib
from pathlib import Path

from installation import Installation
from processes import alive, wait_for_end
from scenario import PATIENCE, program, wait_until
from simulator import KEY, Simulator

FIRST_LEASE_S = 15  # Long enough to make a sandbox ready on a busy machine; a twin nobody knows dies after it.
CREATE_TIMEOUT_S = 2
SMALL = {"agent": {"lines": 4, "interval_ms": 10, "files": 1}}
# Nothing that a run cannot get over: it must end alike with and without a kill.
FAULTY = {
    "agent": {"lines": [30, 60], "interval_ms": [5, 20], "files": [1, 2]},
    "faults": {"latency_ms": {"create": [0, 60], "envd": [0, 8]}, "error_percent": {"create": 5},
               "lost_create_percent": 25, "lost_kill_percent": 15, "late_create_percent": 10,
               "late_create_ms": [2500, 4000], "list_lag_ms": 200, "cut_percent": 20, "cut_after_bytes": [1500, 6000]},
}
# The uploaded tree never unpacks.
FAILING = {**SMALL, "faults": {"programs": [{"what": "skep-guest unpack", "how": "fail"}]}}
# Agents that end only when they are told to.
ENDLESS = {"agent": {"lines": 100000, "interval_ms": 100, "files": 1}}
FOREIGN = [{"metadata": {"owner": "somebody"}, "timeout_s": 3600},
           {"metadata": {"skep.install": "another-installation", "skep.sandbox": "sb_theirs"}, "timeout_s": 3600}]


@dataclasses.dataclass
class Outcome:
    """What is left of one run when all is over."""
    seed: int
    at: str
    names: list  # points passed by the first daemon, NAME#K in order
    killed: bool  # it ended at its point
    again: str
    names_again: list  # points passed by the daemon that took over from it, where they were counted
    killed_again: bool
    stored: list  # (first, last, label) of what was committed before it ended
    events: list
    swarm: dict
    panes: dict  # name -> (state, result, attempt)
    logs: dict  # name -> bytes
    results: dict  # path in the output folder -> bytes
    left: list  # files that should not be there
    record: list
    swarms: int
    damage: str  # what the database says of itself

    def lines(self, event):
        return [line for line in self.record if line["event"] == event]


class Started:
    """A skepd that a client started, because ours died before it answered: what is used of a Popen."""

    def __init__(self, pid):
        self.pid, self.watch = pid, os.pidfd_open(pid)

    def __del__(self):
        os.close(self.watch)

    def poll(self):
        return 0 if select.select([self.watch], [], [], 0)[0] else None

    def wait(self):
        select.select([self.watch], [], [])
        return 0  # nobody but its parent knows more

    def send_signal(self, number):
        try:
            signal.pidfd_send_signal(self.watch, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Daemon:
    """The skepd of one installation, started by us unless a client was first; `crash` are the hidden options of each
    that is started by us, one after the other, until there are none left."""

    def __init__(self, skep, *crash):
        self.skep = skep
        self.process = None
        self.crash = list(crash)
        self.armed = []  # those that had such options, in order

    def start(self):
        if not self.crash and (pid := self.skep.daemon_pid()):
            try:
                self.process = Started(pid)
                return
            except ProcessLookupError:
                pass
        options = self.crash.pop(0) if self.crash else ()
        log = open(self.skep.state / "skepd.err", "ab")
        self.process = subprocess.Popen([str(program("skepd")), "--state", str(self.skep.state), "--idle-exit", "0", *options],
                                        env=self.skep.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        start_new_session=True)
        log.close()
        if options:
            self.armed.append(self.process)

    def ended(self):
        return self.process.poll() is not None

    def listens(self):
        for name in ("control.sock", "events.sock", "replay.sock"):
            with socket.socket(socket.AF_UNIX) as s:
                try:
                    s.connect(str(self.skep.state / "run" / name))
                except OSError:
                    return False
        return True

    def await_socket(self):
        """True once it listens; False when it ended before."""
        wait_until("skepd listens or ends", lambda: self.ended() or self.listens(), 60)
        return not self.ended()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert wait_for_end(self.process.pid, 60), "skepd does not end by SIGTERM"
        return self.process.wait()


def rows(skep, sql):
    """Rows of the database as dictionaries, read beside the daemon; none while it is being made."""
    try:
        db = sqlite3.connect(f"file:{skep.state}/skep.db?mode=ro", uri=True, timeout=5)
        try:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql)]
        finally:
            db.close()
    except sqlite3.OperationalError:
        return []


def start_swarm(skep, daemon, repo, options):
    """Starts the swarm as a user would, once, however the daemon ends meanwhile."""
    for _ in range(4):
        asked = skep.popen("run", "--detach", "--json", "--repo", repo, *options)
        end = time.monotonic() + 120 * PATIENCE
        while asked.poll() is None:
            assert time.monotonic() < end, "skep run does not end"
            if daemon.ended():
                daemon.start()
                daemon.await_socket()
            time.sleep(0.02)  # sleep: between two looks at two processes
        out, err = asked.communicate()
        if asked.returncode == 0:
            return json.loads(out)["run"]["swarm"]
        # A reply that got lost is no reason to start a second one.
        if daemon.ended():
            daemon.start()
        daemon.await_socket()
        if known := rows(skep, "SELECT swarm FROM swarms"):
            return known[0]["swarm"]
    raise AssertionError(f"skep run: {out} {err}")


def read_points(file):
    """(names in order, [(first, last, label) of what was stored])."""
    names, stored = [], []
    for line in file.read_text().splitlines() if file.exists() else ():
        _, name, *more = line.split(" ")
        names.append(name)
        if name.startswith("stored:"):
            stored.append((int(more[0]), int(more[1]), name[7:].rpartition("#")[0]))
    return names, stored


def crash_run(folder, repo, seed, at="", play=None, sandboxes=1, panes=2, limit_s=240, stop=False, again=None):
    """One run of its own; its folder is removed unless it fails. `stop`: by `skep stop`, once its agents run. `again`: a
    point of the daemon that takes over from the one killed at `at`; "" counts its points alone."""
    # Short: the path of a socket below it has room for about a hundred bytes.
    folder = Path(folder) / f"run-{seed}-{zlib.crc32(f'{at} {again}'.encode()):08x}"
    folder.mkdir()
    play = {**(play or SMALL), "foreign": FOREIGN}
    with Simulator(folder, seed=seed, scenario=play) as sim:
        skep = Installation(folder, config=sim.config() + f"create_timeout_s = {CREATE_TIMEOUT_S}\n"
                            f"first_lease_s = {FIRST_LEASE_S}\n[policy]\nloss_looks = 2\n")
        daemon = Daemon(skep, crash_options(folder / "points", at),
                        *([] if again is None else [crash_options(folder / "points-again", again)]))
        try:
            out = played(folder, repo, seed, (at, again), sim, skep, daemon, sandboxes, panes, limit_s, stop)
        finally:
            if daemon.process and not daemon.ended():
                daemon.process.kill()
            if daemon.process:
                daemon.process.wait()
            for process in skep.started:
                if process.poll() is None:
                    process.kill()
                process.communicate()
            if (stray := skep.daemon_pid()) and alive(stray):
                os.kill(stray, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    return out


def crash_options(count_file, at):
    return ("--crash-count-file", str(count_file), *(("--crash-at", at) if at else ()))


def stop_swarm(skep, daemon, swarm, panes):
    """`skep stop`, once every agent runs, until it is acknowledged."""
    def awake():
        if daemon.ended():
            daemon.start()
            daemon.await_socket()
        return True
    wait_until("agents run", lambda: awake() and len(rows(skep, "SELECT pane FROM panes WHERE started_at_ms > 0")) == panes, 120)
    def stopped():
        # A reply that got lost may have done its work: then there is nothing left to stop.
        return awake() and (skep.run("stop", swarm).returncode == 0 or rows(skep, "SELECT 1 FROM swarms WHERE closed_at_ms > 0"))
    wait_until("the stop is acknowledged", stopped, 120)


def played(folder, repo, seed, points, sim, skep, daemon, sandboxes, panes, limit_s, stop):
    skep.run("secret", "set", "SIM_KEY", input=KEY + "\n", code=0)
    daemon.start()
    if not daemon.await_socket():
        daemon.start()
        daemon.await_socket()
    swarm = start_swarm(skep, daemon, repo, ("--provider", "sim", "--sandboxes", str(sandboxes), "--panes", str(panes),
                                             "--", "./agent"))
    if stop:
        stop_swarm(skep, daemon, swarm, sandboxes * panes)
    end = time.monotonic() + limit_s * PATIENCE
    while True:
        if daemon.ended():
            daemon.start()
            daemon.await_socket()
        found = rows(skep, "SELECT * FROM swarms")
        if found and found[0]["closed_at_ms"]:
            break
        assert time.monotonic() < end, f"the swarm does not close: {found} {rows(skep, 'SELECT * FROM sandboxes')}"
        time.sleep(0.05)  # sleep: between two looks at a database
    wait_until("none of ours is left", lambda: len(sim.alive()) == len(FOREIGN), 100)
    pane_rows = rows(skep, "SELECT * FROM panes")
    # The point may lie in the very end of the daemon: it is asked to end, and then looked at by a fresh one.
    if not daemon.ended():
        daemon.stop()
    killed = [process.returncode == -signal.SIGKILL for process in daemon.armed] + [False]
    names, stored = read_points(folder / "points")
    names_again, stored_again = read_points(folder / "points-again")
    daemon.crash = []
    daemon.start()
    daemon.await_socket()
    events = skep.events()
    code = daemon.stop()
    assert code == 0, f"skepd ended with {code}: {(skep.state / 'skepd.err').read_text()[-500:]} {(skep.state / 'skepd.log').read_text()[-1500:]}"
    out_dir = repo / "skep-out" / swarm
    results = {str(p.relative_to(out_dir)): p.read_bytes() for p in sorted(out_dir.rglob("*")) if p.is_file()}
    shutil.rmtree(out_dir, ignore_errors=True)
    left = [str(p.relative_to(skep.state)) for p in (skep.state / "work").rglob("*")] if (skep.state / "work").exists() else []
    logs = {p["name"]: (skep.state / "logs" / swarm / f"{p['pane']}.{p['attempt']}.log").read_bytes()
            for p in pane_rows if p["attempt"]}
    db = sqlite3.connect(skep.state / "skep.db")
    damage = db.execute("PRAGMA integrity_check").fetchone()[0]
    db.close()
    at, again = points
    return Outcome(seed, at, names, killed[0], again or "", names_again, killed[1], stored + stored_again, events, rows_of(found[0]), {
        p["name"]: (p["state"], p["result"], p["attempt"]) for p in pane_rows}, logs, results, left, sim.record(),
        len(found), damage)


def rows_of(swarm):
    return {name: swarm[name] for name in ("swarm", "state", "result", "error_code", "error_text")}


def judge(run, plain=None, whole=True):
    """What must hold of a run whatever happened, and, where `plain` is the same one undisturbed, that it ended like it;
    `whole`: with the same output and results, byte for byte."""
    where = f"seed {run.seed}, killed at {run.at or 'nowhere'}" + (f" and then at {run.again}" if run.again else "")

    def check(good, text):
        assert good, f"{where}: {text}"

    creates = {line["sandbox"]: line for line in run.lines("create")}
    foreign = {i for i, line in creates.items() if line["foreign"]}
    touched = {line["sandbox"] for line in run.record if line["event"] not in ("create", "fault") and "sandbox" in line}
    check(not foreign & touched, "a foreign sandbox was touched")
    ours = {i: line for i, line in creates.items() if i not in foreign}
    intents = [line["metadata"]["skep.intent"] for line in ours.values()]
    check(len(set(intents)) == len(intents), "two creates of one intent")
    leased = {line["sandbox"] for line in run.lines("lease")}
    adopted = [line["metadata"]["skep.sandbox"] for i, line in ours.items() if i in leased]
    check(len(set(adopted)) == len(adopted), "two creates were taken for one sandbox")
    faulty = bool(run.lines("fault"))
    check(faulty or len(ours) == len({line["metadata"]["skep.sandbox"] for line in ours.values()}), "a duplicate create")
    killed = {line["sandbox"] for line in run.lines("kill")}
    check(set(ours) <= killed, f"{sorted(set(ours) - killed)} are left at the provider")
    # What a daemon knew, or gave a lease, it ends itself. The short first lease is for twins and creates without an
    # answer alone: it is over before the REAPER's grace is, so that no more can be asked of those.
    lapsed = {line["sandbox"] for line in run.lines("kill") if line["why"] == "lease"}
    known = {e["body"]["remote_id"] for e in run.events if e["type"] == "sandbox.created"}
    check(not lapsed & (known | leased), f"{sorted(lapsed & (known | leased))} were known and left to their leases")

    check(run.swarms == 1, f"{run.swarms} swarms were made")
    check(run.damage == "ok", f"the database is damaged: {run.damage}")
    check(not run.left, f"temporary files are left: {run.left}")
    check([e["seq"] for e in run.events] == list(range(1, len(run.events) + 1)), "the journal has gaps")
    types = {e["seq"]: e["type"] for e in run.events}
    for first, last, label in run.stored:
        found = [types.get(seq) for seq in range(first, last + 1)]
        check(None not in found and label in found, f"{label}, acknowledged as {first} to {last}, is {found}")
    for p in run.panes:
        starts = [e for e in run.events if e["type"] == "pane.started" and e["body"]["attempt"] == 1
                  and e["body"]["pane"] in pane_ids(run, p)]
        check(len(starts) <= 1, f"{p} was started twice")
    if plain is None:
        return
    for i in ours:
        if any(line["sandbox"] == i and line["why"] == "died" for line in run.lines("kill")):
            return  # the simulator's own doing
    ended = (run.swarm["result"], run.swarm["error_code"])
    check(ended == (plain.swarm["result"], plain.swarm["error_code"]), f"ended as {run.swarm}, undisturbed as {plain.swarm}")
    check(run.panes == plain.panes, f"panes ended as {run.panes}, undisturbed as {plain.panes}")
    if not whole:
        return
    for name, text in plain.logs.items():
        check(run.logs.get(name) == text, f"the log of {name} has {len(run.logs.get(name, b''))} bytes, "
              f"undisturbed {len(text)}")
    check(set(run.results) == set(plain.results), f"results {sorted(run.results)}, undisturbed {sorted(plain.results)}")
    for name, text in plain.results.items():
        if not name.endswith("summary.json"):  # it names ids and times
            check(comparable(name, run.results[name]) == comparable(name, text), f"{name} is not what it is undisturbed")


def comparable(name, text):
    """A result without what names this run alone: its repository, which has a commit of its own, and its times, those
    of the files in the archive that came back among them; the files themselves are compared one by one."""
    if name == "base.json":
        return {key: value for key, value in json.loads(text).items() if key not in ("repo", "head", "at_ms")}
    if name.endswith("/changes.json"):
        changes = json.loads(text)
        return {**changes, "summary": {key: value for key, value in changes["summary"].items()
                                       if key not in ("head", "tar_bytes", "tar_sha256")}}
    return text


def pane_ids(run, name):
    return {e["body"]["pane"] for e in run.events if e["type"] == "pane.created" and e["body"]["name"] == name}
