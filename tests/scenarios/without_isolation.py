#!/usr/bin/python3
"""Where nothing can be isolated, a create is refused by name within a second, doctor names cause and cure, and nothing is made.

Each lack is made for the programs of one scenario alone, in namespaces of theirs; the machine's settings stay as they are."""
# presets: dev
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import schemas
from _contract import KEY, Server, wire
from installation import Installation, repository
from scenario import BIN, PATIENCE, Skip, main, run, scenario

PROGRAMS = ("skep", "skepd", "skep-host", "skep-envd", "skep-guest")
# A user that is not root, in a user namespace where it may do to its own namespaces what root may; then without that.
NESTED = ["unshare", "--user", "--mount", "--map-user=1000", "--map-group=1000", "--keep-caps", "/bin/sh", "-c"]
DROPPED = 'exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all "$@"'
AS_ROOT = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c"]


def programs(work):
    """Our programs in a folder that every user may enter."""
    folder = work / "bin"
    folder.mkdir()
    work.chmod(0o711)
    for name in PROGRAMS:
        shutil.copy2(BIN / name, folder / name)
    return folder


def limit_of_zero(work):
    """A user namespace whose own limit of further ones is 0."""
    return [*NESTED, f"echo 0 > /proc/sys/user/max_user_namespaces && {DROPPED}", "sh"]


def no_bubblewrap(work):
    """Nothing that can be executed where bubblewrap is looked for."""
    hide = "; ".join(f"[ ! -e {p} ] || mount --bind /dev/null {p}" for p in ("/usr/bin/bwrap", "/usr/local/bin/bwrap"))
    return [*NESTED, f"{hide}; {DROPPED}", "sh"]


def no_bubblewrap_yet(work):
    """Where bubblewrap is looked for, a file of the work folder that can be made into it."""
    later = work / "bwrap"
    later.touch(0o644)
    hide = "; ".join(f"[ ! -e {p} ] || mount --bind {later} {p}" for p in ("/usr/bin/bwrap", "/usr/local/bin/bwrap"))
    return [*NESTED, f"{hide}; {DROPPED}", "sh"]


def no_service_user(work):
    """Root, and no user that it could become."""
    if os.geteuid() != 0:
        raise Skip("only root becomes another user")
    accounts = work / "passwd"
    accounts.write_text("".join(line for line in Path("/etc/passwd").open() if not line.startswith("skep:")))
    accounts.chmod(0o644)
    return [*AS_ROOT, f'mount --bind {accounts} /etc/passwd && exec "$@"', "sh"]


def made(work, lack):
    """The command that makes the lack for what follows it; Skip where this machine does not let it."""
    front = lack(work)
    done = run([*front, "true"])
    if done.returncode != 0:
        raise Skip(f"the lack cannot be made here: {done.stderr.strip()[:200]}")
    return front


def doctor_says(skep, front, folder, cause, cure):
    done = run([*front, folder / "skep", "doctor", "--json"], env=skep.environment)
    told = schemas.check(json.loads(done.stdout), "doctor")
    assert not told["ok"] and done.returncode != 0, told
    problem = next(c for c in told["checks"] if c["name"] == "isolation")["problem"]
    said = json.dumps([c["problem"] for c in told["checks"] if c["verdict"] == "missing"])
    assert problem["code"] == "no_isolation" and cause in problem["message"] + problem["cause"] and cure in said, said


def run_is_refused(skep, front, folder, repo, cause):
    """`skep run` where the lack is: the named error, and nothing of a sandbox."""
    done = run([*front, folder / "skep", "run", "--repo", repo, "--", "true"], env=skep.environment)
    assert done.returncode == 69 and "no_isolation" in done.stderr + done.stdout and cause in done.stderr + done.stdout, done
    assert skep.sandboxes_at_host() == [] and skep.holders() == {}


def created_never(front, cause):
    """A create at the host: 503 with its code and cause, at best within a second, and nothing is listed."""
    with Server(front=front) as server:
        target, spent = wire.Target(server.url, KEY), []
        for _ in range(3):
            began = time.monotonic()
            answer = target.api("POST", "/sandboxes", {"templateID": "base"})
            spent.append(time.monotonic() - began)
            told = answer.json()
            assert answer.status == 503 and told["error_code"] == "no_isolation", answer
            assert cause in told["message"] + told.get("cause", ""), answer
        assert min(spent) < PATIENCE, f"{min(spent):.1f} s"
        assert target.api("GET", "/v2/sandboxes").json() == []


for name, lack, cause, cure in (("with a limit of no user namespaces", limit_of_zero, "user.max_user_namespaces", "sysctl -w"),
                                ("without bubblewrap", no_bubblewrap, "bubblewrap is not installed", "apt install bubblewrap")):
    @scenario(f"{name} a create is refused within a second, and doctor names cause and cure")
    def _(work, lack=lack, cause=cause, cure=cure):
        front, folder, repo = made(work, lack), programs(work), repository(work / "repo")
        before = Path("/proc/sys/user/max_user_namespaces").read_text()
        with Installation(work) as skep:
            doctor_says(skep, front, folder, cause, cure)
            created_never(front, cause)
            run_is_refused(skep, front, folder, repo, cause)
        assert Path("/proc/sys/user/max_user_namespaces").read_text() == before


def lacks_isolation(skep, front):
    """What `skep doctor` misses there: the problem, or None."""
    told = json.loads(run([*front, BIN / "skep", "doctor", "--json"], env=skep.environment).stdout)
    return next(c for c in told["checks"] if c["name"] == "isolation").get("problem")


@scenario("a host that refused a create for want of bubblewrap makes the next one once it is there")
def _(work):
    bubblewrap = Path(shutil.which("bwrap")).read_bytes()
    front = made(work, no_bubblewrap_yet)
    with Installation(work) as skep, Server(front=front) as server:
        target = wire.Target(server.url, KEY)
        refused = target.api("POST", "/sandboxes", {"templateID": "base"})
        assert refused.status == 503 and refused.json()["error_code"] == "no_isolation", refused
        assert target.api("GET", "/skep/v1/info").json()["isolation"] == "none"
        assert lacks_isolation(skep, front)
        (work / "bwrap").write_bytes(bubblewrap)
        (work / "bwrap").chmod(0o755)
        problem = lacks_isolation(skep, front)
        if problem:
            raise Skip(f"no sandbox in namespaces of one's own here: {json.dumps(problem)[:200]}")
        with target.create(timeout=60) as box:
            assert box.run("/bin/echo", "made").out == b"made\n"
        assert target.api("GET", "/skep/v1/info").json()["isolation"] == "bubblewrap"


@scenario("as root without a service user no host starts, and doctor names cause and cure")
def _(work):
    front, folder, repo = made(work, no_service_user), programs(work), repository(work / "repo")
    with Installation(work) as skep:
        doctor_says(skep, front, folder, "does not exist", "tools/setup")
        host = [*front, str(folder / "skep-host"), "--listen", "127.0.0.1:0", "--state", str(work / "host"), "--insecure-loopback"]
        done = subprocess.run(host, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        assert done.returncode == 69 and "no_isolation" in done.stderr and "tools/setup" in done.stderr, done
        assert not (work / "host").exists()
        run_is_refused(skep, front, folder, repo, "does not exist")


main()
