#!/usr/bin/python3
"""Answers of creates get lost, creates happen late, the daemon is killed while it waits: the simulator's record judges.

SKEP_LOST_REPLIES=N makes N seeded runs instead of 20; SKEP_LOST_REPLIES_SEED=S begins with another seed."""
# timeout: 900
# presets: dev
import concurrent.futures
import os
import shutil

from installation import Installation, repository
from scenario import main, scenario, wait_until
from simulator import KEY, Simulator

RUNS = int(os.environ.get("SKEP_LOST_REPLIES", "20"))
FIRST = int(os.environ.get("SKEP_LOST_REPLIES_SEED", "1"))
AT_ONCE = 10
SHORT_LEASE_MS = 120_000
PLAY = {
    "agent": {"lines": 3, "interval_ms": 20},
    "faults": {"lost_create_percent": 45, "late_create_percent": 25, "late_create_ms": [2500, 6000], "list_lag_ms": 300,
               "error_percent": {"create": 5}},
    "foreign": [{"metadata": {"owner": "somebody"}, "timeout_s": 3600},
                {"metadata": {"skep.install": "another-installation", "skep.intent": "theirs"}, "timeout_s": 3600}],
}


def judge(sim, seed):
    """What the record says when all is over; AssertionError names the seed."""
    creates = {c["sandbox"]: c for c in sim.record("create")}
    kills = {k["sandbox"]: k for k in sim.record("kill")}
    leased = {e["sandbox"] for e in sim.record("lease")}
    foreign = {i for i, c in creates.items() if c["foreign"]}
    ours = {i: c for i, c in creates.items() if not c["foreign"]}
    assert not foreign & (set(kills) | leased), f"seed {seed}: a foreign sandbox was touched"
    intents = [c["metadata"]["skep.intent"] for c in ours.values()]
    assert len(set(intents)) == len(intents), f"seed {seed}: two creates of one intent"
    adopted = [c["metadata"]["skep.sandbox"] for i, c in ours.items() if i in leased]
    assert len(set(adopted)) == len(adopted), f"seed {seed}: two creates were taken for one sandbox"
    for i, c in ours.items():
        assert c["timeout_ms"] <= SHORT_LEASE_MS, f"seed {seed}: created with a long lease"
        assert i in kills, f"seed {seed}: {i} is left behind"
        lived = kills[i]["t_ms"] - c["t_ms"]
        assert i in leased or lived <= SHORT_LEASE_MS + 5000, f"seed {seed}: a twin lived for {lived} ms"
    return len(ours), sum(f["kind"] in ("lost_reply", "late_create") for f in sim.record("fault"))


def one_run(work, repo, seed, kill):
    folder = work / f"seed-{seed}"
    folder.mkdir()
    with Simulator(folder, seed=seed, scenario=PLAY) as sim:
        config = sim.config() + "create_timeout_s = 2\n"
        with Installation(folder, config=config) as skep:
            skep.run("secret", "set", "SIM_KEY", input=KEY + "\n")
            swarm = skep.start(repo, "--provider", "sim", "--sandboxes", "2", "--", "./agent")
            killed = 0
            if kill:
                # While it waits: a create has reached the provider and has not been answered, or not yet.
                wait_until("a create is under way", lambda: len(sim.record("create")) > 2 or sim.record("fault"), 60)
                skep.kill_daemon()
                killed = 1
            status = skep.closed(swarm, 240)
            wait_until("none of ours is left", lambda: len(sim.alive()) == len(PLAY["foreign"]), 200)
            result = status["swarm"]["result"]
        found = judge(sim, seed)
    shutil.rmtree(folder)
    return (*found, killed, result)


@scenario("by the simulator's record lost replies leave no twin past its short lease, nothing behind and nobody touched")
def _(work):
    repo = repository(work / "repo", {"file.txt": "text\n"})
    seeds = range(FIRST, FIRST + RUNS)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        turns = [pool.submit(one_run, work, repo, seed, seed % 2 == 0) for seed in seeds]
        results = [t.result() for t in concurrent.futures.as_completed(turns)]
    creates, faults, killed = (sum(r[i] for r in results) for i in range(3))
    ends = sorted({r[3] for r in results})
    print(f"# {RUNS} runs, {creates} creates, {faults} lost or late, {killed} daemons killed, ends: {ends}")
    assert killed == RUNS // 2 and faults >= RUNS // 2, (killed, faults)
    assert sum(r[3] == "completed" for r in results) >= RUNS * 3 // 4, [r[3] for r in results]


main()
