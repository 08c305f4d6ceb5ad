#!/usr/bin/python3
"""No way out of a sandbox: each probe of tests/escape/ fails inside a real one and succeeds in its control."""
# presets: dev
# timeout: 300
import json
import os
import sys
import tempfile
import traceback

from _contract import ROOT, Server, wire
sys.path.insert(0, str(ROOT / "escape"))
import agent_deeds  # noqa: E402 behind the path it needs
import deeds  # noqa: E402 behind the path it needs
import file_probes, gateway_probes, kernel_probes, network_probes, process_probes  # noqa: F401, E401, E402 they register their probes
from host_side import FILES, Host, answers, own_network  # noqa: E402 behind the path it needs
from probing import OPEN_INSIDE, probes  # noqa: E402 behind the path it needs
from processes import processes  # noqa: E402 behind the path it needs

LEAST = 40
OPEN_FILES = 65536  # host/bwrap.hpp
PIDS = 96
DENY_REST = {"denyOut": ["0.0.0.0/0"]}
NETWORKS = {  # by the kind of sandbox (gateway_probes.py)
    "wide": {"allowOut": ["0.0.0.0/0"]},
    "narrow": {"allowOut": ["files.example.com"], **DENY_REST,
               "rules": {"model.example.com": [{"transform": {"headers": {"x-api-key": "key-of-nobody"}}, "paths": ["/v1"]}]}},
}
INSIDE = "/home/user/escape"
counted, failed = [], []


def result(name, why=""):
    if why:
        failed.append(name)
    print(f"not ok - {name}: {why}" if why else f"ok - {name}", flush=True)


def judge(name, inside, control):
    """One probe: what came of it inside, and in its control (None: that control is not possible here)."""
    title = f"no way out, {name}"
    if inside["state"] == "broken" or (control and control["state"] == "broken"):
        return result(title, f"the probe is broken: {inside if inside['state'] == 'broken' else control}")
    if inside["state"] == "open":
        return result(title, f"it is open: {inside['why']}")
    if control is None or control["state"] != "open":
        why = control["why"] if control else "the control needs root"
        return print(f"not provable here: {name}: {why}", flush=True)
    counted.append(name)
    return result(title)


def judge_deed(name, inside, control):
    """The same for a deed, of which each side is evidence or nothing."""
    judge(name, *({"state": "open" if x else "closed", "why": str(x or "nothing was reached")} for x in (inside, control)))


def expect(name, function, *args):
    """A check of its own, which has no control."""
    try:
        function(*args)
        result(name)
    except AssertionError as why:
        result(name, " ".join(str(why).split())[:300] or "it does not hold")


def upload(box, secret=None):
    for name in FILES:
        box.write(f"{INSIDE}/{name}", (ROOT / "escape" / name).read_bytes())
    if secret:
        box.write("/home/user/secret", secret.encode())
        box.write("/home/user/neighbour-secret", secret.encode())


def neighbour_victim(box, label, secret):
    """victim.py inside a sandbox: its stream, and what it told."""
    stream = box.start("/usr/bin/python3", f"{INSIDE}/victim.py", label, stdin=True, envs={"SKEP_ESCAPE_SECRET": secret})
    stream.until_said("\n")
    told = json.loads(wire.joined([e.get("event", {}) for e in stream.events], "stdout"))
    told["host_pid"] = next(pid for pid, words in processes() if label.encode() in words.split(b"\0") and b"bwrap" not in words)
    return stream, told


def probe_inside(box, facts, names):
    box.write(f"{INSIDE}/facts.json", json.dumps(facts).encode())
    done = box.run("/usr/bin/python3", "-I", f"{INSIDE}/run.py", f"{INSIDE}/facts.json", *names)
    assert done.end and done.end.get("exitCode", 0) == 0, f"{done} {done.err[-600:]}"
    return answers(done.out)


def through_gateway(target, facts, network, names):
    """Probes in a sandbox whose gateway opens this."""
    if not names:
        return {}
    with target.create(timeout=600, network=network) as box:
        upload(box)
        return probe_inside(box, facts, names)


def prove(host, target, server, words):
    """Every probe, inside and in its control."""
    names = [n for n in probes if not words or any(w in n for w in words)]
    plain = [n for n in names if probes[n].box == "plain"]
    limits = target.api("GET", "/skep/v1/info").json().get("limits", {})
    with target.create(timeout=600) as box, target.create(timeout=600) as neighbour:
        upload(box)
        upload(neighbour, host.secret)
        label = f"neighbour-{os.urandom(6).hex()}"
        stream, told = neighbour_victim(neighbour, label, host.secret)
        facts = host.facts(state=str(server.work / "state"), own_id=box.id, own_folder="/home/user", neighbour_id=neighbour.id,
                           neighbour_label=label, neighbour=told, api_port=int(server.url.rsplit(":", 1)[1]), api_key=target.key,
                           open_files=OPEN_FILES, pids=PIDS if limits.get("pids", {}).get("enforced") else None)
        host.victim.signalled()
        inside = probe_inside(box, facts, plain)
        for kind, network in NETWORKS.items():
            inside.update(through_gateway(target, facts, network, [n for n in names if probes[n].box == kind]))
        heard_inside = host.victim.signalled()
        control = probe_inside(neighbour, facts, [n for n in names if probes[n].control == "inside the neighbour"])
        for kind in sorted({probes[n].control for n in names} - {"inside the neighbour", OPEN_INSIDE}):
            mine = [n for n in names if probes[n].control == kind]
            found = host.control(kind, facts, mine)
            control.update(found if found is not None else dict.fromkeys(mine))
        # Whether a signal came is the victim's word, not the sender's.
        heard_outside = host.victim.signalled()
        for name in (n for n in names if " signal to " in n):
            inside[name]["state"] = "open" if heard_inside else "closed"
            if control[name]["state"] == "open" and not heard_outside:
                control[name] = {"state": "closed", "why": "the victim heard nothing"}
        for name in names:
            if probes[name].control == OPEN_INSIDE:
                found = inside[name]
                if found["state"] == "none":
                    print(f"not provable here: {name}: {found['why']}", flush=True)
                else:
                    result(name, "" if found["state"] == "open" else f"it is {found['state']}: {found['why']}")
            else:
                judge(name, inside[name], control[name])
        stream.leave()


def main():
    words = sys.argv[1:]
    private = own_network()
    host = Host(tempfile.mkdtemp(prefix="skep-escape-"), private)
    try:
        with Server("--bind", str(host.bound), "--pids", str(PIDS)) as server:
            target = wire.Target(server.url, "e2b_" + "0" * 40)
            prove(host, target, server, words)
            for done in deeds.all_of(host, target, server, words):
                judge_deed(*done)
        if not words or "agent" in words:
            for done in (*agent_deeds.git_tricks(host), *agent_deeds.terminal_tricks(host)):
                judge_deed(*done)
            expect("forged frames and records of a pane are only data, and the daemon goes on", agent_deeds.forged_records, host)
            expect("a filter that an agent gives git hides nothing from the patch", agent_deeds.filtered_patch, host)
            expect("an agent that shuts its follower out fails its own run by name", agent_deeds.forged_epoch, host)
        if not words:
            print(f"{len(counted)} probes count", flush=True)
            result("at least 40 probes count", "" if len(counted) >= LEAST else f"only {len(counted)}")
    except Exception as why:  # noqa: BLE001 any failure is a result
        traceback.print_exc()
        result("the escape suite runs to its end", " ".join(str(why).split())[:300] or type(why).__name__)
    finally:
        host.close()
    sys.exit(1 if failed else 0)


main()
