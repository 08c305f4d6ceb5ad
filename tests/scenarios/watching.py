#!/usr/bin/python3
"""How a running installation is watched: audit log, JSON log, health, metrics; and its schema, down and up on what a run left."""
# timeout: 300
import json
import os
import re
import socket
import sqlite3
import stat

from installation import Installation, repository
from scenario import main, program, scenario, wait_until
from schemas import check
from simulator import KEY, Simulator

FILES = {"README": "a tree\n", "src/a.txt": "one\n",
         "ask": "#!/bin/sh\nprintf 'Really? '\nread answer\necho answered $answer\n",
         "mixed": "#!/bin/sh\n[ $SKEP_PANE_INDEX = 0 ] && exit 3\nexec sleep 600  # sleep: until it is killed\n"}


def installation(work, sim, more=""):
    skep = Installation(work, config=more + sim.config())
    skep.run("secret", "set", "SIM_KEY", input=KEY + "\n", code=0)
    return skep


def run(skep, repo, *words, code=0):
    return skep.json_lines("run", "--repo", repo, "--provider", "sim", *words, code=code, limit_s=120)


def audit(skep, *words):
    return [check(line, "audit") for line in skep.json_lines("audit", "show", "-n", "0", *words)]


def verified(skep, code=0):
    return check(skep.json("audit", "verify", code=code), "audit-verify")


def log_lines(skep):
    files = sorted(skep.state.glob("skepd*.log"), reverse=True)
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert all(line.startswith("{") for line in lines), [line for line in lines if not line.startswith("{")]
    return [json.loads(line) for line in lines]


@scenario("every operation of a run is one line of an audit log that verifies, also after kill -9, and tampering is named")
def _(work):
    repo = repository(work / "repo", FILES)
    agent = {"lines": 60, "interval_ms": 50, "files": 1}
    with Simulator(work, scenario={"agent": agent}) as sim, installation(work, sim) as skep:
        swarm = run(skep, repo, "--sandboxes", "2", "--panes", "2", "--name", "watched", "--detach",
                    "--", "./agent")[0]["run"]["swarm"]
        skep.running(swarm)
        skep.kill_daemon()
        found = verified(skep, code=None)
        assert all(f["what"] == "cut" for f in found["findings"]), found  # at most what was on its way
        skep.json("ps")
        skep.closed(swarm)
        found = verified(skep)
        assert found["ok"] and found["lines"] == found["anchor_line"], found
        lines = audit(skep)
        assert [line["line"] for line in lines] == list(range(1, len(lines) + 1))
        operations = [line["operation"] for line in lines]
        for name, count in (("SANDBOX_CREATED", 2), ("AGENT_STARTED", 4), ("SWARM_CREATED", 1), ("SWARM_CLOSED", 1),
                            ("SANDBOX_KILLED", 2), ("DAEMON_STARTED", 2), ("SECRET_SET", 1)):
            assert operations.count(name) == count, (name, operations)
        assert {line["category"] for line in lines} == {"SECURITY", "RESOURCE", "DATA"}, operations  # no agent told a cost
        made = [line for line in lines if line["operation"] == "SANDBOX_CREATED"][0]
        assert made["metadata"]["timeout_ms"] == 3600000 and made["metadata"]["rate_usd_per_hour"] == 0, made
        assert made["swarm"] == swarm and made["sandbox"].startswith("sb_"), made
        asked = [line for line in lines if line["operation"] == "COMMAND_ASKED"]
        assert [line["metadata"]["command"] for line in asked] == ["run"], asked
        assert asked[0]["metadata"]["uid"] == os.getuid() and asked[0]["metadata"]["pid"] > 0, asked
        assert [s["swarm"] for s in skep.json("ps", "--all", "--repo", repo)["swarms"]] == [swarm]
        assert skep.json("ps", "--all", "--repo", work)["panes"] == []
        log = skep.state / "audit.jsonl"
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert KEY not in log.read_text() and KEY not in json.dumps(log_lines(skep))
        skep.run("daemon", "stop", code=0)
        good = log.read_text()
        text = good.splitlines(keepends=True)

        def finds(damaged):
            log.write_text("".join(damaged))
            return [(f["what"], f["line"]) for f in verified(skep, code=74)["findings"]]
        changed = [*text]
        changed[6] = changed[6].replace('"level":"INFO"', '"level":"WARN"')
        assert changed != text
        assert finds(changed) == [("changed", 7)]
        assert finds(text[:3] + text[4:]) == [("removed", 4)]
        assert finds(text[:-2])[0][0] == "cut"
        assert finds([*text[:4], text[5], text[4], *text[6:]]) == [("swapped", 5)]
        shown = skep.run("audit", "verify", code=74)
        assert "lines 5 to 6 were swapped" in shown.stdout, shown.stdout
        # The next daemon keeps what it found, makes the log anew, and says so.
        skep.json("daemon", "start")
        assert verified(skep)["ok"]
        repaired = audit(skep, "--operation", "AUDIT_REPAIRED")[-1]
        evidence = skep.state / repaired["metadata"]["evidence"]
        assert repaired["level"] == "ERROR" and repaired["metadata"]["line"] == 5, repaired
        assert evidence.read_text() == "".join([*text[:4], text[5], text[4], *text[6:]])
        assert log.read_text().startswith(good)


@scenario("the daemon's log is JSON lines with time, level, component, ids and stable names, and its core prints nothing")
def _(work):
    repo = repository(work / "repo", FILES)
    with Simulator(work, scenario={"agent": {"lines": 3, "interval_ms": 5}}) as sim, installation(work, sim) as skep:
        daemon = skep.popen(program("skepd"), "--state", skep.state)
        wait_until("skepd answers", lambda: skep.run("daemon", "status").returncode == 0)
        swarm = run(skep, repo, "--panes", "2", "--", "./agent")[0]["run"]["swarm"]
        skep.run("daemon", "stop", code=0)
        out, err = daemon.communicate(timeout=60)
        assert (out, err) == ("", ""), (out, err)
        lines = log_lines(skep)
        for line in lines:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"]), line
            assert line["level"] in ("info", "warn", "error"), line
            assert re.fullmatch(r"[a-z_]+\.[a-z_]+|notice", line["event"]) and line["component"], line
        names = [line["event"] for line in lines]
        for name in ("daemon.up", "swarm.created", "sandbox.phase_changed", "pane.started", "swarm.closed", "daemon.down"):
            assert name in names, (name, names)
        started = [line for line in lines if line["event"] == "pane.started"]
        assert len(started) == 2 and all(line["swarm"] == swarm and line["sandbox"].startswith("sb_")
                                         and line["pane"].startswith("pn_") for line in started), started
        assert "debug" not in {line["level"] for line in lines}
        # With another level.
        skep.config('[daemon]\nlog_level = "error"\n' + sim.config())
        before = len(lines)
        skep.json("daemon", "start")
        run(skep, repo, "--", "./agent")
        assert log_lines(skep)[before:] == [], log_lines(skep)[before:]
        skep.run("daemon", "stop", code=0)
        skep.config('[daemon]\nlog_level = "loud"\n' + sim.config())
        refused = skep.run("daemon", "start")
        assert refused.returncode != 0 and "log_level takes" in refused.stdout + refused.stderr, refused


@scenario("health tells healthy, degraded and unhealthy with reasons, for daemon, swarm, sandbox and pane, by exit code too")
def _(work):
    repo = repository(work / "repo", FILES)
    with Installation(work) as skep:
        swarm = skep.start(repo, "--name", "ask", "--", "./ask")
        skep.running(swarm, "Really?")

        def health(*words, code=0):
            return check(skep.json("health", *words, code=code), "health")
        waiting = wait_until("the agent is seen to wait", lambda: [
            p for p in health(swarm)["panes"] if p["activity"] == "waiting"], 30)
        assert waiting[0]["source"] == "an unfinished line" and waiting[0]["last_output_at_ms"] > 0, waiting
        whole = health()
        assert whole["state"] == "healthy" and whole["daemon"]["open_swarms"] == 1, whole
        assert whole["swarms"][0]["worktree"] == str(repo) and whole["swarms"][0]["limit_ms"] == 3600000, whole
        pane, box = whole["panes"][0]["pane"], whole["sandboxes"][0]["sandbox"]
        assert health(pane)["panes"][0]["name"] == "p0" and health(box)["sandboxes"][0]["state"] == "healthy"
        sampled = wait_until("the sandbox's resources are sampled", lambda: [
            s for s in health(swarm)["sandboxes"] if s["sampled_at_ms"] > 0], 60)
        assert sampled[0]["usage"]["memory_total_bytes"] > 0, sampled
        assert any(e["type"] == "sandbox.usage" for e in skep.events(swarm))
        text = skep.run("status", "ask", code=0).stdout
        assert "waiting (an unfinished line)" in text and "LAST OUTPUT" in text and "MEMORY" in text, text
        skep.json("send", "ask/p0", "yes")
        skep.closed(swarm)
        mixed = skep.start(repo, "--panes", "3", "--restarts", "0", "--prompt", "Do the thing {index}", "--", "./mixed")
        degraded = wait_until("one pane of three is out", lambda: [
            h for h in [health(mixed, code=None)] if h["state"] == "degraded"], 60)[0]
        assert degraded["swarms"][0]["state"] == "degraded" and degraded["sandboxes"][0]["state"] == "degraded"
        assert {p["prompt_head"] for p in degraded["panes"]} == {f"Do the thing {i}" for i in range(3)}, degraded
        dead = [p for p in degraded["panes"] if p["activity"] == "dead"]
        assert len(dead) == 1 and dead[0]["state"] == "unhealthy" and dead[0]["source"] == "exit code 3", degraded
        assert skep.run("health", mixed).returncode == 1
        skep.json("kill", mixed)
        skep.closed(mixed)
        assert health(mixed, code=2)["state"] == "unhealthy"
        assert skep.run("health", "sw_nothing").returncode == 66


def scrape(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(path))
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while block := s.recv(65536):
            data += block
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode(), body.decode()


def figures(text):
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}


@scenario("metrics are served in the text format on a socket of this user alone, and count what a run did")
def _(work):
    repo = repository(work / "repo", FILES)
    path = work / "m.sock"
    agent = {"lines": 3, "interval_ms": 5, "files": 1}
    with Simulator(work, scenario={"agent": agent}) as sim, \
            installation(work, sim, f'[metrics]\nlisten = "unix:{path}"\n') as skep:
        run(skep, repo, "--sandboxes", "2", "--panes", "2", "--", "./agent")
        run(skep, repo, "--restarts", "0", "--", "sim-agent", "--exit", "3", "--lines", "2", code=81)
        head, body = scrape(path)
        assert head.startswith("HTTP/1.1 200") and "text/plain; version=0.0.4" in head, head
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        found = figures(body)
        assert found["skep_sandboxes_created_total"] == 3, body
        assert found['skep_panes_closed_total{result="completed"}'] == 4, body
        assert found['skep_panes_closed_total{result="failed"}'] == 1, body
        for name in ("creating", "verifying", "provisioning", "uploading", "starting"):
            assert found[f'skep_phase_seconds_count{{phase="{name}",result="ok"}}'] == 3, (name, body)
        assert found['skep_start_seconds_count{result="ok"}'] == 3
        assert found['skep_commands_total{operation="create",result="ok",error=""}'] == 3
        assert found["skep_events_total"] > 50 and found["skep_head_seq"] >= found["skep_events_total"]
        assert found["skep_resident_bytes"] > 1e6 and found["skep_publisher_lag_events"] == 0
        assert scrape(path)[1].count("# TYPE") == body.count("# TYPE")
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(path))
            s.sendall(b"POST /other HTTP/1.1\r\n\r\n")
            assert s.recv(100).startswith(b"HTTP/1.1 404")
        skep.run("daemon", "stop", code=0)
        assert not path.exists()
        skep.config('[metrics]\nlisten = "0.0.0.0:9180"\n' + sim.config())
        refused = skep.run("daemon", "start")
        assert refused.returncode != 0 and "metrics.listen takes" in refused.stdout + refused.stderr, refused


def content(database):
    """Schema and rows of everything but the table of versions: equal contents are equal databases."""
    found = {}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall():
            rows = []
            if kind == "table" and name != "schema_metadata":
                rows = sorted(map(repr, db.execute(f'SELECT * FROM "{name}"')))
            found[kind, name] = (sql, rows)
    return found


@scenario("each migration goes down and up on the database of a real run and leaves schema, views and rows as they were")
def _(work):
    repo = repository(work / "repo", FILES)
    agent = {"lines": 5, "interval_ms": 5, "files": 1}
    with Simulator(work, scenario={"agent": agent}) as sim, installation(work, sim) as skep:
        run(skep, repo, "--sandboxes", "2", "--panes", "2", "--", "./agent")
        run(skep, repo, "--restarts", "1", "--", "sim-agent", "--exit", "3", "--lines", "2", code=81)
        skep.run("daemon", "stop", code=0)
        database = skep.state / "skep.db"
        before = content(database)
        assert sum(len(rows) for _, rows in before.values()) > 50
        newest = skep.json("db", "status")["newest"]
        for to in range(newest - 1, 0, -1):
            down = check(skep.json("db", "rollback", "--to", str(to)), "db-change")
            assert (down["from"], down["to"]) == (newest, to) and os.path.exists(down["backup"]), down
            lower = content(database)
            assert lower != before and skep.json("db", "status")["current"] == to
            if to < 3:
                assert ("view", "sandbox_sessions") in before and ("view", "sandbox_sessions") not in lower
            up = check(skep.json("db", "migrate"), "db-change")
            assert (up["from"], up["to"]) == (to, newest), up
            after = content(database)
            assert after == before, {k: (before.get(k), after.get(k)) for k in before.keys() | after.keys()
                                     if before.get(k) != after.get(k)}
        # Everything works on it, and the audit log has the deeds.
        skep.json("daemon", "start")
        assert len(skep.json("ps", "--all")["swarms"]) == 2
        rolled = wait_until("the deeds are in the audit log",
                            lambda: [deeds for deeds in [audit(skep, "--operation", "SCHEMA_ROLLED_BACK")]
                                     if len(deeds) == newest - 1], 20)[0]
        assert rolled[0]["metadata"]["uid"] == os.getuid(), rolled
        assert verified(skep)["ok"]


main()
