#!/usr/bin/python3
"""Limits and budgets, whole programs against the simulator, judged by its own record."""
# timeout: 240
import json

import schemas
from installation import Installation, repository
from scenario import main, scenario, wait_until
from simulator import KEY, Simulator

FILES = {"README": "a work tree\n"}
BUSY = ("--", "sim-agent", "--lines", "100000", "--stall-ms", "600000")


def installation(work, sim, provider="", more=""):
    """`provider`: settings of the provider sim; `more`: other tables of skep.toml."""
    skep = Installation(work, "state", config=sim.config() + provider + more)
    skep.run("secret", "set", "SIM_KEY", input=KEY + "\n")
    return skep


def run(skep, repo, *words, code=0, limit_s=120):
    return skep.json_lines("run", "--repo", repo, "--provider", "sim", *words, code=code, limit_s=limit_s)


def detached(skep, repo, name):
    return run(skep, repo, "--name", name, "--detach", *BUSY)[0]["run"]["swarm"]


def states(skep, swarm):
    return [s["state"] for s in skep.json("status", swarm)["sandboxes"]]


@scenario("a run whose budget ends is over with exit code 80, and the simulator has no sandbox left")
def _(work):
    repo = repository(work / "repo", FILES)
    # 10 cents a second: 5 dollars are 50 s, of which the last 20 are kept for stopping.
    with Simulator(work) as sim, installation(work, sim, "usd_per_hour = 360\n", "[budget]\nwind_down_s = 20\n") as skep:
        lines = run(skep, repo, "--budget", "5usd", *BUSY, code=80)
        swarm, summary = lines[0]["run"]["swarm"], lines[-1]["summary"]
        assert summary["swarm"]["result"] == "budget", summary["swarm"]
        assert summary["swarm"]["error_code"] == "budget_spent", summary["swarm"]
        assert [s["result"] for s in summary["sandboxes"]] == ["budget"], summary["sandboxes"]
        assert sim.alive() == [], sim.record()
        warnings = [e["body"] for e in skep.events(swarm) if e["type"] == "swarm.budget_warned"]
        told = [w["percent"] for w in warnings]
        assert told in ([50], [50, 80]), told  # it begins to stop at 60 %
        assert warnings[0]["text"].startswith("50 % of the budget of the run ($5.00) is spent, $2."), warnings
        box = summary["sandboxes"][0]
        charged = box["usd_per_hour"] * (box["charged_until_ms"] - box["charged_from_ms"]) / 3600000
        assert 2.9 < charged <= 5 + 5 * 0.1, charged
        written = json.loads((repo / "skep-out" / swarm / "summary.json").read_text())
        assert written["budget_usd"] == 5 and abs(written["cost_usd"] - charged) < 0.01, written
        day = next(b for b in skep.json("budget")["budgets"] if b["scope"] == "day")
        assert abs(day["spent_usd"] - charged) < 0.01 and day["reserved_usd"] == 0, day
        refused = skep.run("run", "--repo", repo, "--provider", "sim", "--budget", "0.5", "--json", *BUSY)
        assert refused.returncode == 64 and "never_fits" in refused.stdout and "budget" in refused.stdout, refused.stdout
        assert len(sim.record("create")) == 1, "what can never fit was made"


@scenario("a run beyond a limit is refused with --no-queue, and waits without it until there is room")
def _(work):
    repo = repository(work / "repo", FILES)
    with Simulator(work) as sim, installation(work, sim, "max_active = 1\n") as skep:
        one = detached(skep, repo, "one")
        wait_until("the first runs", lambda: states(skep, one) == ["running"], 40)
        done = skep.run("run", "--repo", repo, "--provider", "sim", "--no-queue", "--json", "--", "sim-agent")
        assert done.returncode == 75, (done.returncode, done.stdout)
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert error["code"] == "quota" and error["message"].startswith("1 of 1 (max_active)"), error
        assert error["retry_after_ms"] > 0 and "providers.sim.max_active" in error["message"], error
        assert len(skep.json("ps", "--all")["swarms"]) == 1, "a refused run was made"
        two = run(skep, repo, "--name", "two", "--detach", "--", "sim-agent", "--lines", "3")[0]["run"]["swarm"]
        line = wait_until("the second waits", lambda: skep.json("budget", two)["waiting"], 40)
        assert [(w["position"], w["rule"], w["limit"], w["count"]) for w in line] == [(1, "max_active", 1, 1)], line
        assert line[0]["wait_ms"] > 0 and line[0]["setting"] == "providers.sim.max_active", line
        shown = skep.run("status", two).stdout
        assert "max_active" in shown and "1 of 1" in shown, shown
        assert len(sim.record("create")) == 1
        skep.json("stop", one)
        wait_until("the second ends", lambda: skep.json("status", two)["swarm"]["state"] == "closed", 60)
        assert skep.json("status", two)["swarm"]["result"] == "completed"
        # The simulator's word: the second was made after the first was gone.
        order = [e["event"] for e in sim.record() if e["event"] in ("create", "kill")]
        assert order == ["create", "kill", "create", "kill"], order


@scenario("a dry run tells what the run is told, by the daemon and, where none runs, from the tables of the last one")
def _(work):
    repo, calm = repository(work / "repo", FILES), repository(work / "calm", FILES)
    with Simulator(work) as sim, installation(work, sim, "max_active_per_repo = 1\n") as skep:
        one = detached(skep, repo, "one")
        wait_until("the first runs", lambda: states(skep, one) == ["running"], 40)

        def words(tree):
            return "--repo", tree, "--provider", "sim", "--no-queue", "--", "sim-agent", "--lines", "2"

        def planned(tree, code):
            return skep.json("run", "--dry-run", *words(tree), code=code)["dry_run"]

        def refused(code):
            return json.loads(skep.run("run", "--json", *words(repo), code=code).stdout.splitlines()[-1])["error"]
        plan, error = planned(repo, 75), refused(75)
        assert error["code"] == "quota" and plan["problems"][0].startswith("quota: "), (plan["problems"], error)
        for text in (plan["problems"][0], error["message"]):
            assert "1 of 1 (max_active_per_repo)" in text and "providers.sim.max_active_per_repo" in text, text
        free = planned(calm, 0)  # a repository of which nothing runs
        assert free["would_start"] and free["counts_known"] and free["limits"] == [], free
        assert len(sim.record("create")) == 1 and len(skep.json("ps", "--all")["swarms"]) == 1, "a plan was made"
        skep.json("stop", one)
        wait_until("the first ends", lambda: skep.json("status", one)["swarm"]["state"] == "closed", 60)
        skep.json("budget", "set", "--day", "0usd")
        spent = planned(repo, 80)
        assert spent["problems"][0].startswith("budget_spent: ") and not spent["would_start"], spent
        skep.json("daemon", "stop")
        left = planned(repo, 80)
        assert left["problems"] == spent["problems"] and left["counts_known"], left
        assert any("skepd does not run" in text for text in left["remarks"]), left["remarks"]
        assert skep.run("daemon", "status").returncode != 0, "a dry run started a daemon"
        assert refused(80)["code"] == "budget_spent"
        assert len(sim.record("create")) == 1


@scenario("the creations of the last minute count over a restart of the daemon")
def _(work):
    repo = repository(work / "repo", FILES)
    with Simulator(work) as sim, installation(work, sim, "creates_per_minute = 1\n") as skep:
        run(skep, repo, "--", "sim-agent", "--lines", "2")
        skep.json("daemon", "stop")
        done = skep.run("run", "--repo", repo, "--provider", "sim", "--no-queue", "--json", "--", "sim-agent")
        assert done.returncode == 75, (done.returncode, done.stdout)
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert error["code"] == "rate" and "1 of 1 (creates_per_minute)" in error["message"], error
        assert 0 < error["retry_after_ms"] <= 60000, error
        assert len(sim.record("create")) == 1


@scenario("what a provider refuses for its quota is made at the fallback of its entry, and waits with --fallback none")
def _(work):
    repo = repository(work / "repo", FILES)
    full = {"faults": {"quota_percent": 100}}
    with Simulator(work, scenario=full) as sim, installation(work, sim, 'usd_per_hour = 0.5\nfallback = "local"\n') as skep:
        plan = skep.json("run", "--repo", repo, "--provider", "sim", "--dry-run", "--", "true")["dry_run"]
        assert any("is made at local" in r for r in plan["remarks"]), plan["remarks"]
        lines = run(skep, repo, "--sandboxes", "2", "--", "sh", "-c", "echo here > made.txt")
        swarm, summary = lines[0]["run"]["swarm"], lines[-1]["summary"]
        assert summary["swarm"]["result"] == "completed" and summary["swarm"]["provider"] == "sim", summary["swarm"]
        assert [(s["provider"], s["usd_per_hour"]) for s in summary["sandboxes"]] == [("local", 0)] * 2, summary
        for pane in ("p0", "p1"):
            assert "+here" in (repo / "skep-out" / swarm / f"{pane}.patch").read_text()
        assert sim.alive() == [], sim.record()
        told = [e["body"] for e in skep.events(swarm) if e["type"] == "sandbox.fell_back"]
        assert [(x["from"], x["provider"], x["why"]["code"]) for x in told] == [("sim", "local", "quota")] * 2, told
        said = skep.run("run", "--repo", repo, "--provider", "sim", "--allow-no-changes", "--", "true")
        assert "falls back from sim to local: quota" in said.stdout + said.stderr, (said.stdout, said.stderr)
        shown = skep.run("status", swarm).stdout
        assert shown.count(" at local") == 2, shown
        waits = run(skep, repo, "--fallback", "none", "--detach", "--", "true")[0]["run"]["swarm"]
        line = wait_until("it waits", lambda: skep.json("budget", waits)["waiting"], 40)
        assert (line[0]["provider"], line[0]["rule"]) == ("sim", "provider"), line
        skep.json("kill", waits)


@scenario("a provider that costs money has its limits by default, and those that are set are in force")
def _(work):
    away = '[providers.{}]\napi_url = "http://127.0.0.1:1"\nkey = "K"\n'
    config = (away.format("cloud") + away.format("own") + 'max_active = "unlimited"\ncreates_per_day = 7\n'
              + away.format("play") + 'kind = "sim"\n[local]\nmax_active = 3\n[budget]\nmonth_usd = 30\n')
    with Installation(work, "state", config=config) as skep:
        skep.json("daemon", "start")
        shown = schemas.check(skep.json("budget"), "budget")
        found = {(x["provider"], x["rule"]): x["limit"] for x in shown["limits"]}
        rules = ("max_active", "max_active_per_repo", "creates_per_minute", "creates_per_hour", "creates_per_day")
        assert [found["cloud", r] for r in rules] == [10, 5, 10, 20, 50], found
        assert [found["own", r] for r in rules] == [-1, 5, 10, 20, 7], found
        assert [found["play", r] for r in rules] == [-1] * 5, found
        assert [found["local", r] for r in rules] == [3, -1, -1, -1, -1], found
        assert {found[name, "max_starting"] for name in ("cloud", "own", "play", "local")} == {64}, found
        assert [(b["scope"], b["limit_usd"], b["set_by"]) for b in shown["budgets"]] == \
            [("day", -1, ""), ("month", 30, "skep.toml")], shown["budgets"]
        schemas.check(skep.json("budget", "set", "--day", "20usd", "--month", "none"), "budget-set")
        skep.json("daemon", "stop")
        skep.json("daemon", "start")
        assert [(b["limit_usd"], b["set_by"]) for b in skep.json("budget")["budgets"]] == \
            [(20, "command"), (-1, "command")]
        text = skep.run("budget").stdout
        assert "providers.cloud.max_active" in text and "$20.00" in text, text
        bad = skep.run("budget", "set", "--day", "lots", "--json")
        assert bad.returncode == 64, bad.stdout


main()
