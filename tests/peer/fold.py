#!/usr/bin/env python3
"""Folds journaled events into state tables, on its own.

Reads JSON lines as `skep events --from 1 --json` prints them:
  {"seq": 1, "swarm": "sw_..", "sandbox": "", "type": "swarm.created", "at_ms": 5, "body": {..}}
and prints {"swarms": [row, ..], "sandboxes": [..], "panes": [..], "transfers": [..],
"commands": [..], "epochs": [..], "switches": [..], "replacements": [..]}: the rows that the daemon's database must hold, columns by name,
enumerations by name, blobs as base64, each table in order of its key.

  fold.py < events.jsonl                     prints the rows
  fold.py --database skep.db < events.jsonl  compares them with the database (read by Python's own
                                             sqlite3): exit 0 and "same", or 1 and the differences

It shares no code with the daemon: the rules are those of storage/README.md, the texts of errors are
read from messages/errors.def and the names of enumerations stand below. Python's standard library
only.
"""

import argparse
import base64
import json
import os
import re
import sqlite3
import sys

PHASES = ["queued", "creating", "verifying", "provisioning", "uploading", "starting", "running",
          "draining", "collecting", "closed"]
PANE_PHASES = ["queued", "starting", "running", "restarting", "exited", "closed"]
SWARM_PHASES = ["queued", "running", "stopping", "closed"]
OUTCOMES = ["none", "completed", "failed", "timed_out", "budget", "cancelled", "killed", "lost",
            "suspect"]
DIRECTIONS = ["upload", "download"]
TRANSFER_PHASES = ["intended", "running", "done", "failed"]
AGENTS = ["command", "claude"]
BUDGET_SCOPES = ["day", "month", "swarm", "pane"]
DAY_MS = 86400000

# Columns that hold an enumeration: their names in order of the numbers in the database.
ENUMS = {
    "swarms": {"agent": AGENTS, "state": SWARM_PHASES, "result": OUTCOMES},
    "sandboxes": {"state": PHASES, "result": OUTCOMES},
    "panes": {"agent": AGENTS, "state": PANE_PHASES, "result": OUTCOMES},
    "transfers": {"direction": DIRECTIONS, "state": TRANSFER_PHASES},
    "budgets": {"scope": BUDGET_SCOPES},
    "spend_warnings": {"scope": BUDGET_SCOPES},
}
FLAGS = {
    "swarms": ["keep"],
    "sandboxes": ["unresolved", "kill_intended", "kill_confirmed", "degraded", "kept",
                  "counted", "output_incomplete", "frozen"],
    "panes": ["counted", "output_incomplete", "idle"],
    "switches": ["state"],
}
KEYS = {"swarms": "swarm", "sandboxes": "sandbox", "panes": "pane", "transfers": "transfer",
        "commands": "key", "epochs": "epoch", "creates": "intent", "spend_days": "day_ms",
        "budgets": "scope", "spend_warnings": "warning", "switches": "name",
        "replacements": "lost"}

NOTES = {"supervisor.child_restarted", "supervisor.gave_up", "notice", "pane.block",
         "sandbox.poll_failed", "sandbox.waits", "sandbox.usage", "daemon.panic",
         "daemon.stop_forced", "swarm.time_limit", "pane.log_truncated",
         "pane.blocks_suppressed", "transfer.progress", "collision"}
# Facts that are found in the journal alone.
UNFOLDED = {"command.asked", "audit.repaired", "daemon.done_outside"}


class Refused(Exception):
    """An event that the journal should not have taken."""


def need(condition, event, why):
    if not condition:
        raise Refused("event %s (%s): %s" % (event["seq"], event["type"], why))


def read_errors(path):
    """name -> (text, hint) of messages/errors.def."""
    out = {}
    line = re.compile(r'^SKEP_ERROR\(\d+, (\w+), \w+, \d+, "((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\)')
    with open(path, encoding="utf-8") as f:
        for text in f:
            found = line.match(text)
            if found:
                name, what, hint = found.groups()
                out[name] = tuple(re.sub(r"\\(.)", r"\1", x) for x in (what, hint))
    return out


class Fold:
    def __init__(self, errors):
        self.errors = errors
        self.tables = {name: {} for name in KEYS}

    def render(self, e):
        """The text of an error in its fixed order; "" for none."""
        if e["code"] == "none":
            return ""
        text, hint = self.errors[e["code"]]
        out = "%s: %s" % (e["code"], text)
        if e["message"]:
            out += ": " + e["message"]
        if e["sandbox"]:
            out += " | Sandbox: " + e["sandbox"]
        if e["step"]:
            out += " | Step: " + e["step"]
        if e["cause"]:
            out += " | Cause: " + e["cause"]
        if e["retry_after_ms"] > 0:
            out += " | Wait: %d s" % ((e["retry_after_ms"] + 999) // 1000)
        return out + " | Hint: " + hint

    def set_error(self, row, e):
        row["error_code"] = "" if e["code"] == "none" else e["code"]
        row["error_text"] = self.render(e)

    def set_error_parts(self, row, e):
        row["error_step"], row["error_message"], row["error_cause"] = (
            e["step"], e["message"], e["cause"])

    # -- rows an event is about

    def swarm(self, event):
        need(event["swarm"] and not event["sandbox"], event, "not in a swarm's own chunk")
        row = self.tables["swarms"].get(event["swarm"])
        need(row is not None, event, "no such swarm")
        need(row["state"] != "closed", event, "after closed")
        return row

    def sandbox(self, event, after_closed=False):
        row = self.tables["sandboxes"].get(event["sandbox"])
        need(row is not None, event, "no such sandbox")
        need(row["swarm"] == event["swarm"], event, "sandbox of another swarm")
        need(after_closed or row["state"] != "closed", event, "after closed")
        return row

    def pane(self, event, attempt=None, states=None):
        row = self.tables["panes"].get(event["body"]["pane"])
        need(row is not None and row["sandbox"] == event["sandbox"], event, "no such pane")
        need(row["state"] != "closed", event, "after closed")
        need(attempt is None or row["attempt"] == attempt, event, "another attempt")
        need(states is None or row["state"] in states, event, "pane is " + row["state"])
        return row

    def transfer(self, event):
        row = self.tables["transfers"].get(event["body"]["transfer"])
        need(row is not None and row["sandbox"] == event["sandbox"], event, "no such transfer")
        need(row["state"] in ("intended", "running"), event, "transfer has ended")
        return row

    def insert(self, event, table, row):
        key = row[KEYS[table]]
        need(key not in self.tables[table], event, "exists already")
        self.tables[table][key] = row

    # -- money

    def on_day(self, day, time_usd, model_usd):
        row = self.tables["spend_days"].setdefault(
            day, {"day_ms": day, "time_usd": 0.0, "model_usd": 0.0})
        row["time_usd"] += time_usd
        row["model_usd"] += model_usd

    def charge_ends(self, event, row):
        """The time of a sandbox is over: its swarm and the days pay for it."""
        if row["charged_from_ms"] == 0 or row["charged_until_ms"] != 0:
            return
        begin, end, rate = row["charged_from_ms"], max(event["at_ms"], row["charged_from_ms"]), row["usd_per_hour"]
        row.update(charged_until_ms=end, reserved_usd=0.0)
        usd = rate * (end - begin) / 3600000.0
        swarm = self.tables["swarms"][event["swarm"]]
        swarm["cost_usd"] += usd
        swarm["time_cost_usd"] += usd
        if usd == 0:
            return
        for day in range(begin - begin % DAY_MS, end - end % DAY_MS + 1, DAY_MS):
            part = min(day + DAY_MS, end) - max(day, begin)
            self.on_day(day, rate * part / 3600000.0, 0.0)

    def model_cost_is(self, event, row, now, more):
        row["model_cost_usd"] = now
        if more == 0:
            return
        swarm = self.tables["swarms"][event["swarm"]]
        swarm["cost_usd"] = max(swarm["cost_usd"] + more, 0.0)
        self.on_day(event["at_ms"] - event["at_ms"] % DAY_MS, 0.0, more)

    def warned(self, event, scope, name):
        body = event["body"]
        key = "%s %s %d" % (scope, name, body["percent"])
        self.insert(event, "spend_warnings", {"warning": key, "scope": scope,
                                              "percent": body["percent"], "at_ms": event["at_ms"]})

    # -- facts

    def apply(self, event):
        kind = event["type"]
        if kind in NOTES or kind.startswith("unknown."):
            return
        body, at = event["body"], event["at_ms"]

        if kind == "daemon.started":
            need(not event["swarm"], event, "in a swarm's chunk")
            need(body["epoch"] > max(self.tables["epochs"], default=0), event, "stale epoch")
            self.insert(event, "epochs", {
                "epoch": body["epoch"], "version": body["version"], "pid": body["pid"],
                "started_at_ms": at, "stopped_at_ms": 0, "stop_reason": ""})
        elif kind == "daemon.stopping":
            row = self.tables["epochs"].get(body["epoch"])
            need(row is not None and row["stopped_at_ms"] == 0, event, "no such epoch runs")
            row["stopped_at_ms"] = at
            row["stop_reason"] = body["reason"]
        elif kind == "command.accepted":
            commands = self.tables["commands"]
            for key in [k for k, row in commands.items() if row["expires_at_ms"] <= at]:
                del commands[key]
            self.insert(event, "commands", {
                "key": body["key"], "command": body["command"],
                "fingerprint": body["fingerprint"], "reply": body["reply"],
                "accepted_at_ms": at, "expires_at_ms": body["expires_at_ms"]})

        elif kind == "daemon.draining":
            need(not event["swarm"], event, "in a swarm's chunk")
            self.tables["switches"]["draining"] = {
                "name": "draining", "state": body["on"], "reason": body["reason"],
                "changed_at_ms": at}

        elif kind == "budget.set":
            need(not event["swarm"] and body["scope"] in ("day", "month"), event, "not of all")
            self.tables["budgets"][body["scope"]] = {"scope": body["scope"],
                                                     "limit_usd": body["limit_usd"]}
        elif kind == "budget.warned":
            need(not event["swarm"] and body["scope"] in ("day", "month"), event, "not of all")
            self.warned(event, body["scope"], body["period"])
        elif kind == "swarm.budget_warned":
            self.warned(event, "swarm", event["swarm"])
        elif kind == "pane.budget_warned":
            self.warned(event, "pane", body["pane"])

        elif kind in UNFOLDED:
            need(not event["swarm"] and not event["sandbox"], event, "stands in a swarm's chunk")
        elif kind == "swarm.scanned":
            need(event["swarm"] and not event["sandbox"], event, "not in a swarm's own chunk")
        elif kind == "transfer.results_scanned":
            need(event["sandbox"], event, "not in a sandbox's chunk")
        elif kind == "swarm.created":
            need(event["swarm"] and not event["sandbox"], event, "not in a swarm's own chunk")
            self.insert(event, "swarms", {
                "swarm": event["swarm"], "name": body["name"], "repo": body["repo"],
                "provider": body["provider"], "agent": body["agent"],
                "sandboxes": body["sandboxes"], "panes": body["panes"], "keep": body["keep"],
                "out_dir": body["out_dir"], "state": "queued", "result": "none",
                "error_code": "", "error_text": "", "cost_usd": 0.0, "created_at_ms": at,
                "closed_at_ms": 0, "spec": body["spec"], "budget_usd": body["budget_usd"],
                "pane_budget_usd": body["pane_budget_usd"], "stop_reason": "",
                "time_cost_usd": 0.0, "warned_ms": 0})
        elif kind == "swarm.phase_changed":
            row = self.swarm(event)
            another = (body["to"] == row["state"] == "stopping"
                       and body["reason"] != row["stop_reason"])
            need(another or body["to"] != "closed" and SWARM_PHASES.index(body["to"])
                 > SWARM_PHASES.index(row["state"]), event, "phase goes back")
            row["state"] = body["to"]
            if body["to"] == "stopping":
                row["stop_reason"] = body["reason"]
        elif kind == "swarm.time_warning":
            row = self.swarm(event)
            need(body["threshold_ms"] > row["warned_ms"], event, "an earlier threshold")
            row["warned_ms"] = body["threshold_ms"]
        elif kind == "swarm.sandbox_replaced":
            row = self.swarm(event)
            need(row["state"] != "stopping", event, "the swarm stops")
            lost = self.tables["sandboxes"].get(body["lost"])
            need(lost is not None and lost["swarm"] == event["swarm"]
                 and lost["state"] == "closed" and lost["result"] == "lost", event, "not lost")
            need(body["number"] > 0 and body["successor"] not in ("", body["lost"]), event,
                 "no successor")
            need(body["successor"] not in
                 [r["successor"] for r in self.tables["replacements"].values()], event, "twice")
            self.insert(event, "replacements", {
                "lost": body["lost"], "swarm": event["swarm"], "successor": body["successor"],
                "number": body["number"], "base_commit": body["base_commit"],
                "last_sync_at_ms": body["last_sync_at_ms"],
                "unsynced": "".join(p + "\n" for p in body["unsynced"]),
                "unanswered": body["unanswered"], "output_bytes": body["output_bytes"],
                "cost_usd": body["cost_usd"], "replaced_at_ms": at})
        elif kind == "swarm.closed":
            row = self.swarm(event)
            need(body["result"] != "none", event, "no outcome")
            need(all(s["state"] == "closed" for s in self.tables["sandboxes"].values()
                     if s["swarm"] == event["swarm"]), event, "a sandbox is open")
            row.update(state="closed", result=body["result"], closed_at_ms=at)
            self.set_error(row, body["why"])

        elif kind == "sandbox.queued":
            parent = self.tables["swarms"].get(event["swarm"])
            need(parent is not None and parent["state"] != "closed", event, "no open swarm")
            self.insert(event, "sandboxes", {
                "sandbox": event["sandbox"], "swarm": event["swarm"], "index": body["index"],
                "provider": body["provider"], "state": "queued", "result": "none", "intent": "",
                "unresolved": False, "remote_id": "", "kill_intended": False,
                "kill_confirmed": False, "degraded": False, "kept": False, "base_commit": "",
                "error_code": "", "error_text": "", "error_step": "", "error_message": "",
                "error_cause": "", "lease_end_at_ms": 0, "created_at_ms": at,
                "phase_since_ms": at, "closed_at_ms": 0, "usd_per_hour": body["usd_per_hour"],
                "charged_from_ms": 0, "charged_until_ms": 0, "model_cost_usd": 0.0,
                "reserved_usd": 0.0, "counted": False, "agent_cost_usd": 0.0,
                "unpriced_calls": 0, "output_incomplete": False, "frozen": False})
        elif kind == "sandbox.create_intended":
            row = self.sandbox(event)
            need(not row["unresolved"] and not row["remote_id"], event, "a create is under way")
            need(body["intent"] and body["intent"] != row["intent"], event, "intent is not new")
            row.update(intent=body["intent"], unresolved=True, reserved_usd=body["reserved_usd"])
            if row["charged_from_ms"] == 0:
                row["charged_from_ms"] = at
            self.tables["creates"].setdefault(body["intent"], {
                "intent": body["intent"], "sandbox": event["sandbox"],
                "provider": row["provider"], "at_ms": at})
        elif kind == "sandbox.fell_back":
            row = self.sandbox(event)
            need(not row["unresolved"] and not row["remote_id"], event, "it is, or may be, somewhere")
            need(body["provider"] not in ("", row["provider"]), event, "it goes nowhere")
            row.update(provider=body["provider"], usd_per_hour=body["usd_per_hour"])
        elif kind in ("sandbox.created", "sandbox.create_failed"):
            row = self.sandbox(event, after_closed=True)
            need(row["unresolved"] and row["intent"] == body["intent"], event, "no such create")
            row["unresolved"] = False
            if kind == "sandbox.created":
                row["remote_id"] = body["remote_id"]
            else:
                row.update(charged_from_ms=0, reserved_usd=0.0)
                made = self.tables["creates"].get(body["intent"])
                if body["why"]["code"] in ("quota", "rate", "cancelled") and made is not None \
                        and made["sandbox"] == event["sandbox"]:
                    del self.tables["creates"][body["intent"]]
        elif kind == "sandbox.phase_changed":
            row = self.sandbox(event)
            need(body["to"] != "closed" and PHASES.index(body["to"]) > PHASES.index(row["state"]),
                 event, "phase goes back")
            row.update(state=body["to"], phase_since_ms=at)
        elif kind == "sandbox.lease_intended":
            self.sandbox(event)["lease_end_at_ms"] = body["end_at_ms"]
        elif kind == "sandbox.base_recorded":
            self.sandbox(event)["base_commit"] = body["commit"]
        elif kind == "sandbox.degraded":
            self.sandbox(event)["degraded"] = len(body["panes"]) > 0
        elif kind == "sandbox.output_incomplete":
            self.sandbox(event)["output_incomplete"] = True
            for pane in body["panes"]:
                row = self.tables["panes"].get(pane)
                need(row is not None and row["sandbox"] == event["sandbox"], event, "no such pane")
                row["output_incomplete"] = True
        elif kind == "sandbox.frozen":
            self.sandbox(event)["frozen"] = body["frozen"]
        elif kind == "sandbox.failing":
            row = self.sandbox(event)
            need(body["why"]["code"] != "none", event, "no error")
            if row["error_code"] == "":
                self.set_error(row, body["why"])
                self.set_error_parts(row, body["why"])
        elif kind == "sandbox.kill_intended":
            self.sandbox(event, after_closed=True)["kill_intended"] = True
        elif kind == "sandbox.kill_confirmed":
            row = self.sandbox(event, after_closed=True)
            row.update(kill_confirmed=True, kept=False)
            self.charge_ends(event, row)
        elif kind == "sandbox.model_spend":
            row = self.sandbox(event, after_closed=True)
            row["unpriced_calls"] = max(row["unpriced_calls"], body["unpriced_calls"])
            before = row["model_cost_usd"]
            now = max(before, body["cost_usd"]) if row["counted"] else body["cost_usd"]
            row["counted"] = True
            for p in self.tables["panes"].values():
                if p["sandbox"] == event["sandbox"]:
                    p["counted"] = True
            self.model_cost_is(event, row, now, now - before)
        elif kind == "sandbox.closed":
            row = self.sandbox(event)
            need(body["result"] != "none", event, "no outcome")
            need(all(p["state"] == "closed" for p in self.tables["panes"].values()
                     if p["sandbox"] == event["sandbox"]), event, "a pane is open")
            row.update(state="closed", result=body["result"], kept=body["kept"],
                       phase_since_ms=at, closed_at_ms=at)
            self.set_error(row, body["why"])
            self.set_error_parts(row, body["why"])
            if body["result"] == "lost":
                self.charge_ends(event, row)
            for t in self.tables["transfers"].values():
                if t["sandbox"] == event["sandbox"] and t["state"] in ("intended", "running"):
                    t.update(state="failed", error_code="cancelled",
                             error_text="the sandbox was closed", ended_at_ms=at)

        elif kind == "pane.created":
            self.sandbox(event)
            self.insert(event, "panes", {
                "pane": body["pane"], "sandbox": event["sandbox"], "swarm": event["swarm"],
                "index": body["index"], "name": body["name"], "branch": body["branch"],
                "agent": body["agent"], "state": "queued", "result": "none", "attempt": 0,
                "pid": 0, "exit_code": 0, "signal": 0, "final_offset": 0, "cost_usd": 0.0,
                "input_tokens": 0, "output_tokens": 0, "turns": 0, "summary": "",
                "error_code": "", "error_text": "", "error_step": "", "error_message": "",
                "error_cause": "", "created_at_ms": at, "started_at_ms": 0,
                "closed_at_ms": 0, "counted": False, "output_incomplete": False, "idle": False})
        elif kind == "pane.start_intended":
            row = self.pane(event, states=("queued", "restarting", "exited", "starting"))
            again = row["state"] == "starting"
            need(body["attempt"] == row["attempt"] if again else body["attempt"] > row["attempt"],
                 event, "attempt is not the next")
            row.update(state="starting", attempt=body["attempt"], pid=0, exit_code=0, signal=0,
                       final_offset=0, idle=False)
        elif kind == "pane.started":
            row = self.pane(event, body["attempt"], ("starting",))
            row.update(state="running", pid=body["pid"], started_at_ms=at)
        elif kind == "pane.exited":
            row = self.pane(event, body["attempt"], ("starting", "running"))
            row.update(state="exited", exit_code=body["exit_code"], signal=body["signal"],
                       final_offset=body["final_offset"])
        elif kind == "pane.restarting":
            row = self.pane(event, body["attempt"], ("starting", "running", "exited"))
            row["state"] = "restarting"
        elif kind == "pane.closed":
            row = self.pane(event)
            need(body["attempt"] >= row["attempt"], event, "an earlier attempt")
            need(body["result"] != "none", event, "no outcome")
            # Nobody saw this attempt end.
            if row["state"] != "exited" or body["attempt"] != row["attempt"]:
                row["exit_code"] = -1
            row.update(state="closed", result=body["result"], attempt=body["attempt"],
                       final_offset=body["final_offset"], closed_at_ms=at)
            self.set_error(row, body["why"])
            self.set_error_parts(row, body["why"])
        elif kind == "pane.usage":
            row = self.pane(event)
            for name in ("cost_usd", "input_tokens", "output_tokens", "turns"):
                row[name] += body[name]
            if body["summary"]:
                row["summary"] = body["summary"]
            box = self.tables["sandboxes"][event["sandbox"]]
            box["agent_cost_usd"] += body["cost_usd"]
            if not box["counted"]:
                self.model_cost_is(event, box, box["model_cost_usd"] + body["cost_usd"],
                                   body["cost_usd"])
        elif kind in ("pane.idle", "pane.active"):
            self.pane(event)["idle"] = kind == "pane.idle"
        elif kind == "pane.input":
            self.pane(event)

        elif kind == "transfer.intended":
            self.sandbox(event)
            self.insert(event, "transfers", {
                "transfer": body["transfer"], "sandbox": event["sandbox"],
                "swarm": event["swarm"], "pane": body["pane"], "direction": body["direction"],
                "state": "intended", "files": body["files"], "size_bytes": body["size_bytes"],
                "sha256": "", "error_code": "", "error_text": "", "created_at_ms": at,
                "ended_at_ms": 0})
        elif kind == "transfer.done":
            self.transfer(event).update(state="done", files=body["files"],
                                        size_bytes=body["size_bytes"], sha256=body["sha256"],
                                        ended_at_ms=at)
        elif kind == "transfer.failed":
            row = self.transfer(event)
            row.update(state="failed", ended_at_ms=at)
            self.set_error(row, body["why"])
        else:
            raise Refused("event %s: a fact of unknown type %s" % (event["seq"], kind))

    def rows(self):
        return {name: [table[k] for k in sorted(table)] for name, table in self.tables.items()}


def database_rows(path):
    """The same form, read from the database."""
    db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    db.row_factory = sqlite3.Row
    out = {}
    for table, key in KEYS.items():
        rows = []
        for found in db.execute('SELECT * FROM %s ORDER BY "%s"' % (table, key)):
            row = dict(found)
            for name, value in row.items():
                if isinstance(value, bytes):
                    row[name] = base64.b64encode(value).decode()
            for name, names in ENUMS.get(table, {}).items():
                row[name] = names[row[name]]
            for name in FLAGS.get(table, []):
                row[name] = bool(row[name])
            rows.append(row)
        out[table] = rows
    db.close()
    return out


def differences(folded, stored):
    for table, key in KEYS.items():
        a = {row[key]: row for row in folded[table]}
        b = {row[key]: row for row in stored[table]}
        for k in sorted(set(a) | set(b)):
            if k not in a or k not in b:
                yield "%s %s: only in the %s" % (table, k, "fold" if k in a else "database")
                continue
            for column in sorted(set(a[k]) | set(b[k])):
                x, y = a[k].get(column, "(missing)"), b[k].get(column, "(missing)")
                if x != y:
                    yield "%s %s.%s: fold %r, database %r" % (table, k, column, x, y)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    options = argparse.ArgumentParser(description="folds `skep events --json` into state tables")
    options.add_argument("--errors", default=os.path.join(here, "../../messages/errors.def"))
    options.add_argument("--database", help="compare with this database")
    given = options.parse_args()
    fold = Fold(read_errors(given.errors))
    expected = 1
    for line in sys.stdin.buffer:
        event = json.loads(line.decode("utf-8"))
        if event["seq"] != expected:
            sys.exit("gap: expected event %d, got %d" % (expected, event["seq"]))
        expected += 1
        try:
            fold.apply(event)
        except Refused as e:
            sys.exit(str(e))
    if not given.database:
        json.dump(fold.rows(), sys.stdout, indent=1)
        print()
        return
    found = list(differences(fold.rows(), database_rows(given.database)))
    print("\n".join(found) if found else "same")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
