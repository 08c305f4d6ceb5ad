#!/usr/bin/python3
"""How fast a killed daemon's runs are in hand again: simulated sandboxes, whose host is a process of its own.

    control     from the start of the next skepd until `skep daemon status` answers                     2 s
    adopted     until of every sandbox: its lease is confirmed at the provider (the simulator's record), its output stream is
                open, and a line that was written after the restart is in its log                        5 s
    ps          `skep ps --json`, median of five                                                       100 ms
    idle        processor time of skepd while no agent says a word, of one core                           2 %

More than a run may have, which is 1,000, are begun as several runs; --interval says how often each agent speaks.

Idle is measured 45 s after the start: the deadlines of some forty requests a sandbox, which were answered long ago, are over by then.

A line counts as written after the restart when it is the second new one of its pane: the daemon is away for less than
the second between two lines of an agent. The simulator and the agents share the machine with skepd.
"""
import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("SKEP_SOURCE", str(ROOT))
sys.path.insert(0, str(ROOT / "tests" / "support"))
sys.dont_write_bytecode = True

from crash_runs import Daemon, rows  # noqa: E402 the path must be set first
from installation import Installation, repository  # noqa: E402 the path must be set first
from processes import end_process  # noqa: E402 the path must be set first
from scenario import wait_until  # noqa: E402 the path must be set first
from simulator import KEY, Simulator  # noqa: E402 the path must be set first

GOALS = {"control": (2.0, "s"), "adopted": (5.0, "s"), "ps": (0.1, "s"), "idle": (2.0, "% of a core")}
LINE_BYTES = 60
PATIENCE = "\n[policy]\nready_limit_s = 600\n"  # ten thousand agents that start at once have two processors
MOST_OF_A_RUN = 1000  # limits of `skep run --sandboxes`
SILENT = ("sim-agent", "--lines", "2", "--stall-ms", "36000000")


def running(skep, count):
    found = rows(skep, "SELECT count(*) AS n FROM panes WHERE state = 2")  # 2: running
    return bool(found) and found[0]["n"] == count


def talking(interval_s):
    return ("sim-agent", "--lines", "1000000", "--interval-ms", str(round(interval_s * 1000)), "--line-bytes", str(LINE_BYTES))


def started(skep, repo, sandboxes, panes, agent):
    """Swarms of which every agent runs: (their ids, how long that took)."""
    began = time.monotonic()
    swarms = []
    for first in range(0, sandboxes, MOST_OF_A_RUN):
        swarms.append(skep.start(repo, "--provider", "sim", "--limit", "6h", "--sandboxes", str(min(MOST_OF_A_RUN, sandboxes - first)),
                                 "--panes", str(panes), "--", *agent))
    wait_until("every agent runs", lambda: running(skep, sandboxes * panes), 60 + sandboxes * panes, every_s=0.2)
    return swarms, time.monotonic() - began


def end_all(skep, swarms):
    for swarm in swarms:
        skep.run("kill", swarm, "--wait", code=0, limit_s=300)


def lines_of(skep):
    """Size of each pane's log: pane -> bytes."""
    return {path.name.split(".")[0]: path.stat().st_size for path in (skep.state / "logs").glob("*/*.1.log")}


def recovery(skep, daemon, sim, repo, sandboxes, panes, interval_s):
    swarms, took = started(skep, repo, sandboxes, panes, talking(interval_s))
    print(f"{sandboxes} x {panes} agents run after {took:.1f} s", flush=True)
    of = {row["pane"]: row["remote_id"] for row in rows(skep, "SELECT pane, remote_id FROM panes JOIN sandboxes USING (sandbox)")}
    wait_until("every agent said something", lambda: len(lines_of(skep)) == len(of), 60 + sandboxes)
    end_process(daemon.process.pid)
    daemon.process.wait()
    before, leases, killed_at = lines_of(skep), len(sim.record("lease")), time.time() * 1000
    began = time.monotonic()
    daemon.start()
    wait_until("it answers", lambda: skep.run("daemon", "status").returncode == 0, 120, every_s=0.01)
    control = time.monotonic() - began

    def adopted():
        confirmed = {x["sandbox"] for x in sim.record("lease")[leases:] if x["t_ms"] >= killed_at}
        if len(confirmed) < sandboxes:
            return False
        heard = {of[pane] for pane, size in lines_of(skep).items() if size >= before[pane] + 2 * LINE_BYTES}
        return len(heard) == sandboxes
    # Each look reads the whole record and asks for every log: many are looked at less often.
    wait_until("every sandbox is adopted", adopted, 120 + sandboxes / 20, every_s=max(0.05, sandboxes / 10000))
    adopted_after = time.monotonic() - began
    times = []
    for _ in range(5):
        at = time.monotonic()
        skep.run("ps", "--json", code=0)
        times.append(time.monotonic() - at)
    assert len(sim.record("create")) == sandboxes, "a sandbox was made twice"
    end_all(skep, swarms)
    return {"control": control, "adopted": adopted_after, "ps": statistics.median(times)}


def idle(skep, daemon, repo, sandboxes, panes, settle, seconds):
    swarms, _ = started(skep, repo, sandboxes, panes, SILENT)

    def used():
        fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    time.sleep(settle)  # sleep: until what the start left is done
    before = used()
    time.sleep(seconds)  # sleep: the measured span itself
    share = 100 * (used() - before) / seconds
    end_all(skep, swarms)
    return {"idle": share}


def shown(figures):
    for name, value in figures.items():
        goal, unit = GOALS[name]
        print(f"{name:8} {value:8.3f} {unit:12} goal {goal:g} {unit}: {'missed' if value > goal else 'met'}", flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="proves that it runs; nothing is judged")
    parser.add_argument("--sandboxes", type=int, help="default 1000")
    parser.add_argument("--panes", type=int, help="in each; default 4")
    parser.add_argument("--interval", type=float, default=1, metavar="S", help="an agent says a line each S seconds (default 1)")
    args = parser.parse_args()
    sandboxes, panes = args.sandboxes or (8 if args.tiny else 1000), args.panes or (2 if args.tiny else 4)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="skep-bench-") as folder:
        work = Path(folder)
        repo = repository(work / "repo")
        with Simulator(work) as sim, Installation(work, config=sim.config() + PATIENCE) as skep:
            skep.run("secret", "set", "SIM_KEY", input=KEY + "\n", code=0)
            daemon = Daemon(skep)
            daemon.start()
            daemon.await_socket()
            try:
                figures |= shown(recovery(skep, daemon, sim, repo, sandboxes, panes, args.interval))
                figures |= shown(idle(skep, daemon, repo, sandboxes, panes, *((1, 3) if args.tiny else (45, 30))))
            finally:
                daemon.stop()
    missed = [name for name, value in figures.items() if value > GOALS[name][0]]
    return 1 if missed and not args.tiny else 0


if __name__ == "__main__":
    sys.exit(main())
