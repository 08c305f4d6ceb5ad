#!/usr/bin/python3
"""What is not there is named with what to do about it, before anything is made: programs, and providers that do not answer."""
import json
import os
import shutil
import socket
import time

import schemas
from installation import Installation, repository
from scenario import BIN, main, run, scenario

PROGRAMS = ("skep", "skepd", "skep-host", "skep-envd", "skep-guest")


def programs(work, without):
    """A folder of our programs without one of them."""
    folder = work / f"bin-without-{without}"
    folder.mkdir()
    work.chmod(0o711)  # a service user starts them
    for name in PROGRAMS:
        if name != without:
            shutil.copy2(BIN / name, folder / name)
    return folder


def path_without(work, name):
    """A PATH that has every program of the usual folders but one."""
    folder = work / f"path-without-{name}"
    folder.mkdir()
    for place in ("/usr/bin", "/bin"):
        for program in os.listdir(place):
            if program != name and not (folder / program).is_symlink():
                (folder / program).symlink_to(f"{place}/{program}")
    return str(folder)


def ends_refused(skep, argv, code, exit_code, mentions):
    """The run is refused in one document with code and hint, in under a second; the document."""
    began = time.monotonic()
    done = run(argv, env=skep.environment)
    spent = time.monotonic() - began
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(documents) == 1 and "error" in documents[0], done.stdout[-1500:] + done.stderr[-1500:]
    found = schemas.check(documents[0], "error")["error"]
    assert (found["code"], done.returncode) == (code, exit_code) and found["hint"], found
    assert mentions in found["message"] + found["cause"], found
    assert spent < 5, f"{spent:.1f} s"
    return found


def nothing_made(skep, repo):
    assert skep.sandboxes_at_host() == [] and skep.holders() == {} and not (repo / "skep-out").exists()
    if (skep.state / "skep.db").exists():
        rows = skep.json("ps", "--all")
        assert rows == {"swarms": [], "sandboxes": [], "panes": []}, rows


@scenario("without git a run is refused by name and nothing is made")
def _(work):
    repo = repository(work / "repo")
    with Installation(work) as skep:
        skep.environment["PATH"] = path_without(work, "git")
        found = ends_refused(skep, ["skep", "run", "--json", "--repo", repo, "--", "true"], "program_missing", 69, "git")
        assert "install" in found["hint"], found
        assert skep.daemon_pid() is None and not skep.state.exists(), "something was made"
        told = skep.json("doctor", code=69)
        git = next(c for c in told["checks"] if c["name"] == "git")
        assert git["verdict"] == "missing" and "apt install git" in git["problem"]["message"], git


for missing in PROGRAMS[1:]:
    @scenario(f"without {missing} a run is refused by name and nothing is made")
    def _(work, missing=missing):
        repo = repository(work / "repo")
        folder = programs(work, missing)
        with Installation(work) as skep:
            ends_refused(skep, [folder / "skep", "run", "--json", "--repo", repo, "--", "true"], "program_missing", 69, missing)
            nothing_made(skep, repo)
            done = run([folder / "skep", "doctor", "--json"], env=skep.environment)
            told = schemas.check(json.loads(done.stdout), "doctor")
            entry = next(c for c in told["checks"] if c["name"] == missing)
            assert not told["ok"] and done.returncode != 0 and entry["verdict"] == "missing", entry


@scenario("doctor names one of our programs that is of another release, and one that does not run")
def _(work):
    folder = programs(work, "skep-guest")
    with Installation(work) as skep:
        for text, code, says in (("#!/bin/sh\necho skep-guest 0.0.1\n", "wrong_version", "skep-guest 0.0.1"),
                                 ("#!/bin/sh\necho no such library >&2\nexit 127\n", "io", "no such library")):
            (folder / "skep-guest").write_text(text)
            (folder / "skep-guest").chmod(0o755)
            done = run([folder / "skep", "doctor", "--json"], env=skep.environment)
            told = schemas.check(json.loads(done.stdout), "doctor")
            entry = next(c for c in told["checks"] if c["name"] == "skep-guest")
            assert not told["ok"] and done.returncode != 0 and entry["verdict"] == "missing", entry
            problem = entry["problem"]
            assert problem["code"] == code and says in problem["message"] + problem["cause"], problem


# -- providers

class Silent:
    """A server that accepts connections, reads, and never says a word."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        return self

    def __exit__(self, *_):
        self.socket.close()


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@scenario("doctor ends within its limit when a provider does not answer, and says which and why")
def _(work):
    with Silent() as silent, Installation(work) as skep:
        skep.config(f'[providers.silent]\napi_url = "{silent.url}"\nkey = "SILENT_KEY"\n'
                    f'[providers.away]\napi_url = "http://127.0.0.1:{closed_port()}"\nkey = "SILENT_KEY"\n'
                    '[providers.keyless]\napi_url = "http://127.0.0.1:1"\nkey = "NOT_SET"\n')
        skep.json("secret", "set", "SILENT_KEY", input="e2b_canary_7d1f")
        began = time.monotonic()
        told = schemas.check(skep.json("doctor", code=0, limit_s=60), "doctor")  # local runs need none of them
        spent = time.monotonic() - began
        assert 5 < spent < 15, f"doctor took {spent:.1f} s"
        found = {c["name"]: c for c in told["checks"]}
        for name, code in (("silent", "timed_out"), ("away", "network"), ("keyless", "secret_missing")):
            check = found[f"provider {name}"]
            assert check["verdict"] == "optional" and check["problem"]["code"] == code and check["problem"]["hint"], check
        assert "silent" in found["provider silent"]["problem"]["message"], found["provider silent"]
        for name in ("git", "bwrap", "isolation", "skepd", "state", "configuration"):
            assert found[name]["verdict"] == "ok", found[name]
        plain = skep.run("doctor", code=0, limit_s=60)
        assert "but not for provider away, keyless, silent." in plain.stdout, plain.stdout
        assert "provider silent" in plain.stdout and "timed_out" in plain.stdout, plain.stdout
        assert "e2b_canary" not in plain.stdout + plain.stderr + json.dumps(told)
        # A provider that is named counts as needed: the first that is missing gives the exit code.
        named = skep.json("doctor", "--provider", "silent", "--provider", "keyless", code=77, limit_s=60)
        verdicts = {c["name"]: c["verdict"] for c in named["checks"]}
        assert not named["ok"] and verdicts["provider away"] == "optional", verdicts
        assert verdicts["provider silent"] == verdicts["provider keyless"] == "missing", verdicts
        skep.config(f'[providers.away]\napi_url = "http://127.0.0.1:{closed_port()}"\nkey = "SILENT_KEY"\n')
        skep.json("doctor", "--provider", "away", code=69)
        skep.json("doctor", "--provider", "local", "--provider", "nowhere", code=64)


main()
