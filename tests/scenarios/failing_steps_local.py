#!/usr/bin/python3
"""Each step of a sandbox's way to its agents fails once at a real local host, and is stopped and killed while it is not answered.

One daemon, one skep-host with real sandboxes, and between them a proxy that breaks one request of each swarm (step_proxy.py). The host
is a provider of the configuration and not `local`, whose address and limits nobody may set; its driver is the same. The steps:

    step             request that is broken    fails by                  the error         its step    phase
    create           POST /sandboxes           an answer of 400          refused           create      creating
    verify           GET /health               a cut                     network           verify      verifying
    guest upload     POST /files, skep-guest   a cut                     network           provision   provisioning
    worktree upload  POST /files, the tree     an answer of 400          refused           upload      uploading
    unpack           skep-guest unpack         an unknown word           remote_command..  unpack      uploading
    agent start      skep-guest pane           an unknown word           remote_command..  start       starting
    readiness        skep-guest pane           no answer, agent at work  not_ready         start       starting
"""
# presets: dev
# timeout: 420
import contextlib
from dataclasses import dataclass

from host_server import KEY, Server
from installation import Installation, repository
from scenario import main, scenario, side_by_side, wait_until
from step_proxy import StepProxy


@dataclass
class Step:
    request: str
    fails: str      # how the proxy makes it fail
    code: str
    word: str       # the step in the error
    phase: str
    waits: str = "keep"  # how the proxy makes it wait for an end from outside
    ends: bool = False   # its own deadline is so short that it may come before that end


STEPS = {
    "create": Step("create", "refuse", "refused", "create", "creating"),
    "verify": Step("health", "cut", "network", "verify", "verifying", ends=True),
    "guest upload": Step("guest", "cut", "network", "provision", "provisioning"),
    "worktree upload": Step("worktree", "refuse", "refused", "upload", "uploading"),
    "unpack": Step("unpack", "garble", "remote_command_failed", "unpack", "uploading"),
    "agent start": Step("pane", "garble", "remote_command_failed", "start", "starting", waits="hold"),
    "readiness": Step("pane", "keep", "not_ready", "start", "starting"),
}
WAY = ["creating", "verifying", "provisioning", "uploading", "starting"]
# Of kind `sim`: no limits but those that stand here. The lease of a create whose answer is kept is longer than it is waited for.
SETTINGS = """[providers.far]
api_url = "{url}"
sandbox_url = "{url}"
key = "FAR_KEY"
kind = "sim"
create_timeout_s = 20
first_lease_s = 120
usd_per_hour = 3.6
max_active = 30
[policy]
ready_limit_s = 8
reap_interval_s = 1
"""


class World:
    def __init__(self, work, host, proxy, skep):
        self.host, self.proxy, self.skep = host, proxy, skep
        self.repo = repository(work / "repo", {"agent": "#!/bin/sh\nexec sleep 600\n", "file.txt": "text\n"})

    def begin(self, *broken, agent="./agent"):
        swarm = self.skep.start(self.repo, "--provider", "far", "--", agent)
        self.proxy.plan(swarm, *broken)
        return swarm

    def wait_held(self, swarm):
        """Until its request is where it is left; what became of the swarm where it does not come."""
        try:
            self.proxy.wait_held(swarm, 120)
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.skep.json('status', swarm)}") from late

    def held(self):
        """Money that is reserved, and places that are taken."""
        told = self.skep.json("budget")
        return ([b["reserved_usd"] for b in told["budgets"] if b["scope"] == "day"],
                [x["count"] for x in told["limits"] if x["rule"] == "max_active" and x["provider"] == "far"])

    def left(self, swarm):
        return [x for x in self.proxy.ask_host("/v2/sandboxes") if x["metadata"]["skep.swarm"] == swarm]

    def ended(self, swarm, phase):
        """The status of a swarm that came as far as `phase`, and what its sandbox's last event says."""
        done = self.skep.closed(swarm, 60, every_s=0.4)
        wait_until(f"no sandbox of {swarm} is left at the host", lambda: not self.left(swarm), 40, every_s=0.2)
        listed = {x["swarm"]: x["result"] for x in self.skep.json("ps", "--all")["swarms"]}
        assert listed[swarm] == done["swarm"]["result"], (listed, done["swarm"])
        events = self.skep.events(swarm)
        reached = [e["body"]["to"] for e in events if e["type"] == "sandbox.phase_changed" and e["body"]["to"] in WAY]
        assert reached == WAY[:WAY.index(phase) + 1], reached
        assert all(p["state"] == "closed" for p in done["panes"]), done["panes"]
        closings = [e["body"] for e in events if e["type"] == "sandbox.closed"]
        assert len(closings) == 1, closings
        # Where it was written down before the end it is the same one.
        failing = [e["body"]["why"] for e in events if e["type"] == "sandbox.failing"]
        assert [named(x) for x in failing] in ([], [named(closings[0].get("why"))]), (failing, closings)
        return done, closings[0]


def named(why):
    """Of an error its code and its step; None of none."""
    return (why["code"], why["step"]) if why and why["code"] != "none" else None


@contextlib.contextmanager
def world(work):
    """After it nothing is left: not at the host, not on its disk, not here, and nothing is reserved."""
    with Server() as host, StepProxy(host.url, KEY) as proxy, \
            Installation(work, config=SETTINGS.format(url=proxy.url)) as skep:
        skep.run("secret", "set", "FAR_KEY", input=KEY + "\n", code=0)
        here = World(work, host, proxy, skep)
        yield here
        wait_until("nothing is reserved and no place is taken", lambda: here.held() == ([0], [0]), 30, every_s=0.2)
        assert proxy.ask_host("/v2/sandboxes") == []
        wait_until("no holder and no file of a sandbox is left", lambda: not any(
            any((host.work / "state" / name).iterdir()) for name in ("holders", "sandboxes")), 30)
        wait_until("no temporary file is left", lambda: not list((skep.state / "work").rglob("*")), 30)


def failed_at(here, name):
    step = STEPS[name]
    done, closing = here.ended(here.begin(step.request, step.fails), step.phase)
    assert named(closing.get("why")) == (step.code, step.word), f"{name}: {closing}"
    box = done["sandboxes"][0]
    assert (box["result"], box["error_code"], box["error_step"]) == ("failed", step.code, step.word), box
    assert done["swarm"]["result"] == "failed" and done["swarm"]["error_code"] == step.code, done["swarm"]
    return f"{name}: {step.code} at {step.word}"


def ended_at(here, name, how):
    step = STEPS[name]
    swarm = here.begin(step.request, step.waits)
    here.wait_held(swarm)
    here.skep.run(how, swarm, code=None if step.ends else 0)
    done, closing = here.ended(swarm, step.phase)
    result = done["swarm"]["result"]
    if step.ends and result == "failed":
        assert closing["why"]["step"] == step.word, closing
    else:
        assert result == {"stop": "cancelled", "kill": "killed"}[how], f"{name}: {done['swarm']}"
        assert done["sandboxes"][0]["result"] == result and not done["sandboxes"][0]["error_code"], done["sandboxes"]
    return f"{name}: {how} while it waits: {result}"


@scenario("each step that fails at the local host leaves no sandbox, no place and no reservation, and the error names the step")
def _(work):
    with world(work) as here:
        # What fails below fails by what the proxy does, and not by its being there.
        done, _ = here.ended(here.begin(agent="true"), "starting")
        assert done["swarm"]["result"] == "completed", done["swarm"]
        side_by_side([(failed_at, here, name) for name in reversed(STEPS)])


@scenario("a stop and a kill while a step at the local host is not answered, whichever it is, leave no sandbox, place or reservation")
def _(work):
    with world(work) as here:
        # One of them is looked at while it waits: that nothing is held at the end says something.
        swarm = here.begin(STEPS["unpack"].request, "keep")
        here.wait_held(swarm)
        (reserved,), (places,) = here.held()
        assert reserved > 0 and places == 1 and len(here.left(swarm)) == 1, (reserved, places)
        here.skep.run("kill", swarm, code=0)
        # Few at a time: what is not to fail has deadlines of some seconds, on a busy machine, too.
        side_by_side([(ended_at, here, name, how) for how in ("stop", "kill") for name in STEPS], at_once=3)


main()
