#!/usr/bin/python3
"""What goes up and comes back of whole runs, by the form of the archive: gzip, a pack that is used again, ten megabytes of any bytes."""
import random

from installation import Installation, repository
from scenario import main, scenario

MIB = 1024 * 1024
NOISE = random.Random(55).randbytes(10 * MIB)  # every byte value, not to be compressed
# Copies the file, changes one byte in the middle, one at the end and its length, and tells what came.
AGENT = """#!/bin/sh
set -e
sha256sum noise.bin small
cp noise.bin copy.bin
printf '\\000\\377\\n' | dd of=noise.bin bs=1 seek=5000000 conv=notrunc 2>/dev/null
printf '\\r\\n\\000' >>noise.bin
"""


def changed(content):
    return content[:5_000_000] + b"\x00\xff\n" + content[5_000_003:] + b"\r\n\x00"


def archives(skep):
    """The kept archives: name -> first bytes and inode."""
    return {p.name: (p.read_bytes()[:4], p.stat().st_ino) for p in (skep.state / "packs").rglob("*.archive")}


def codes(skep, swarm):
    return [e["body"].get("code") for e in skep.events(swarm) if e["type"] == "notice"]


def one_run(skep, repo):
    """A run to its end: its swarm, its folder of results and the log of its agent."""
    lines = skep.json_lines("run", "--repo", repo, "--", "./agent", limit_s=120)
    summary = lines[-1]["summary"]
    assert summary["exit_code"] == 0 and summary["panes"][0]["result"] == "completed", summary
    swarm = lines[0]["run"]["swarm"]
    out = repo / "skep-out" / swarm
    return swarm, out, (out / "p0.log").read_text()


@scenario("a random file of ten megabytes goes up as gzip, is copied and changed, and comes back byte for byte")
def _(work):
    repo = repository(work / "repo", {"agent": AGENT, "small": "text\n"})
    (repo / "noise.bin").write_bytes(NOISE)  # not tracked: what is up there is the archive's
    with Installation(work, config='[upload]\ncompression = "gzip"\n') as skep:
        swarm, out, log = one_run(skep, repo)
        kept = archives(skep)
        assert len(kept) == 1 and all(head[:3] == b"\x1f\x8b\x08" for head, _ in kept.values()), kept
        assert "pack_reused" not in codes(skep, swarm), codes(skep, swarm)
        assert (out / "p0/files/copy.bin").read_bytes() == NOISE, "the copy differs"
        assert (out / "p0/files/noise.bin").read_bytes() == changed(NOISE), "the changed file differs"
        skep.run("apply", swarm, code=0)
        assert (repo / "noise.bin").read_bytes() == changed(NOISE) and (repo / "copy.bin").read_bytes() == NOISE
        (repo / "copy.bin").unlink()
        (repo / "noise.bin").write_bytes(NOISE)
        # The tree has the bytes that it had, and other stamps: packed anew, to the same archive or another one.
        second, out, again = one_run(skep, repo)
        assert "pack_reused" not in codes(skep, second), codes(skep, second)
        assert again == log, (again, log)
        before = archives(skep)
        # And now nothing changed.
        third, out, again = one_run(skep, repo)
        assert codes(skep, third).count("pack_reused") == 1, codes(skep, third)
        assert again == log, (again, log)
        assert archives(skep).keys() == before.keys(), (archives(skep), before)
        assert (out / "p0/files/copy.bin").read_bytes() == NOISE, "the copy differs"
        assert (out / "p0/files/noise.bin").read_bytes() == changed(NOISE), "the changed file differs"
        skep.run("daemon", "stop", code=0)
        # Evidence of another kind: with its bytes changed on disk, the kept pack is not used.
        archive = next((skep.state / "packs").rglob("*.archive"))
        damaged = bytearray(archive.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        archive.unlink()
        archive.write_bytes(damaged)
        fourth, out, again = one_run(skep, repo)
        assert "pack_reused" not in codes(skep, fourth), codes(skep, fourth)
        assert again == log, (again, log)


main()
