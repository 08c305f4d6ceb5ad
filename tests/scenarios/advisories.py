#!/usr/bin/python3
"""tools/advisories finds a package with a security update, among those that are recorded and those that are loaded."""
# presets: dev
import os

from scenario import SOURCE, main, run, scenario

APT = """#!/usr/bin/python3
import sys
security, main = "http://an.archive/debian-security bookworm-security/main amd64 Packages", "http://an.archive/debian bookworm/main amd64 Packages"
if sys.argv[2:] == []:
    print("Package files:\\n 500 " + {sources})
for name in sys.argv[2:]:
    newest = {newest}.get(name)
    print(name + ":\\n  Installed: 1.0-1\\n  Candidate: " + (newest[0] if newest else "1.0-1") + "\\n  Version table:")
    if newest:
        print("     " + newest[0] + " 500\\n        500 " + {{"security": security, "main": main}}[newest[1]])
    print(" *** 1.0-1 500\\n        500 " + main + "\\n        100 /var/lib/dpkg/status")
"""


def advisories(work, newest, *options, sources="security"):
    """The tool with an apt-cache that knows these newer versions, and a dpkg for which libcurl is of libcurl4."""
    folder = work / f"bin-{len(list(work.iterdir()))}"
    folder.mkdir()
    for name, text in (("apt-cache", APT.format(newest=repr(newest), sources=sources)),
                       ("ldd", "#!/bin/sh\necho 'libcurl.so.4 => /usr/lib/x/libcurl.so.4 (0x1)'\n"),
                       ("dpkg", "#!/bin/sh\necho \"libcurl4:amd64: $2\"\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return run([SOURCE / "tools/advisories", *options], env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})


@scenario("a security update of a recorded or of a loaded package is found and named with both versions")
def _(work):
    done = advisories(work, {"libssl-dev": ("1.0-1+deb12u1", "security"), "libcurl4": ("1.0-2", "security"),
                             "libzstd-dev": ("1.1-1", "main")})
    if done.returncode == 2:  # lists of apt older than a week: nothing is claimed
        assert "older than" in done.stderr, done.stderr
        return
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "libssl-dev: 1.0-1 is here, 1.0-1+deb12u1 is a security update" in done.stdout, done.stdout
    assert "libcurl4: 1.0-1 is here" in done.stdout, done.stdout
    assert "libzstd-dev" not in done.stdout, "an update that is none of security was told"
    good = advisories(work, {})
    assert good.returncode == 0 and "no security update is known" in good.stdout, (good.stdout, good.stderr)


@scenario("without an archive of security updates nothing is said to be well")
def _(work):
    done = advisories(work, {}, sources="main")
    assert done.returncode == 2 and "no archive of security updates" in done.stderr, (done.stdout, done.stderr)


@scenario("every package that is recorded and every library that is loaded is looked at")
def _(work):
    names = advisories(work, {}, "--list").stdout.split()
    assert {"libcurl4", "libssl-dev", "libcaf-dev", "bubblewrap", "git", "ca-certificates"} <= set(names), names


main()
