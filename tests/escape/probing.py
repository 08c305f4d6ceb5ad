"""What the probes share: their registry, raw system calls, and the one run of each in a process of its own.

    @probe("a file of the host by its path", control="outside")
    def _(f):                       # f: the facts, what the host has prepared (see facts.py)
        return f.holds(open(f.secret, "rb").read())

A probe tries one way out. What it returns, when that is true, is the evidence that the way is open; an OSError or a
false value says that it is closed; any other end is a mistake in the probe. Only the standard library is used, for
probes run inside a sandbox, where nothing is installed."""
import ctypes
import errno
import hashlib
import json
import os
import platform
import re
import select
import signal
import sys
import time

LIMIT_S = 20
OPEN_INSIDE = "none, for it is open inside"  # the control of what is no way out but shows that a door works
SECRET = re.compile(rb"skep-escape-[0-9a-f]{32}")
NUMBERS = {  # of system calls that Python has no function for: x86_64, aarch64
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "bpf": (321, 280), "unshare": (272, 97), "setns": (308, 268),
    "clone": (56, 220), "clone3": (435, 435), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "sethostname": (170, 161), "clock_settime": (227, 112), "syslog": (103, 116), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fsopen": (430, 430), "open_tree": (428, 428),
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "msgrcv": (70, 188), "init_module": (175, 105),
    "kexec_load": (246, 104), "mknodat": (259, 33),
}
COLUMN = {"x86_64": 0, "aarch64": 1}.get(platform.machine())
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
probes = {}


class NotProvable(Exception):
    """What the probe needs is not on this machine; the text says what."""


class Probe:
    def __init__(self, name, control, box, function):
        self.name, self.control, self.box, self.function = name, control, box, function


def probe(name, control="outside", box="plain"):
    """Registers a probe; `control` says where it must succeed (README.md), `box` in which sandbox it is tried:
    the plain one without a network, or `wide` or `narrow` (gateway_probes.py)."""
    assert name not in probes and ":" not in name, name

    def register(function):
        probes[name] = Probe(name, control, box, function)
        return function
    return register


class Facts:
    """What the host has prepared, as attributes; None where it could not be."""

    def __init__(self, values):
        self.__dict__.update(values)

    def holds(self, data):
        """The secret that was looked for, when it is in the data; the facts know it by its hash alone."""
        for found in SECRET.findall(data or b""):
            if hashlib.sha256(found).hexdigest() == self.proof:
                return "the secret was read"
        return None

    def need(self, name):
        value = getattr(self, name, None)
        if value is None:
            raise NotProvable(f"nothing was prepared for {name}")
        return value


def call(name, *args):
    """A system call by its name; OSError where it fails."""
    if COLUMN is None:
        raise NotProvable(f"numbers of system calls are not known for {platform.machine()}")
    return call_number(NUMBERS[name][COLUMN], *args)


def call_number(number, *args):
    done = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done


def processes():
    """(pid, words of its command line) of every process that /proc shows, without this one."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if int(name) != os.getpid():
            yield int(name), words


def descriptors():
    """{number: what it leads to} of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the one that listed them
    return found


def first(function, items):
    """The first true value of function(item); one that fails is passed over."""
    for item in items:
        try:
            found = function(item)
        except OSError:
            continue
        if found:
            return found
    return None


def in_child(function):
    """Runs the function in a forked child with a deadline: {"state": "open" | "closed" | "broken" | "none", "why"}."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        try:
            found = function()
            answer = {"state": "open", "why": str(found)} if found else {"state": "closed", "why": "nothing was reached"}
        except NotProvable as why:
            answer = {"state": "none", "why": str(why)}
        except OSError as why:
            answer = {"state": "closed", "why": errno.errorcode.get(why.errno, "") or str(why)}
        except BaseException as why:  # noqa: BLE001 whatever a probe does, it ends here
            answer = {"state": "broken", "why": f"{type(why).__name__}: {why}"}
        os.write(writer, json.dumps(answer).encode()[:4000])
        os._exit(0)
    os.close(writer)
    data, end = b"", time.monotonic() + LIMIT_S
    while select.select([reader], [], [], max(0, end - time.monotonic()))[0]:
        block = os.read(reader, 65536)
        if not block:
            break
        data += block
    os.close(reader)
    late = time.monotonic() >= end
    for target in (-child, child):
        try:
            os.kill(target, signal.SIGKILL)
        except OSError:
            continue
    os.waitpid(child, 0)
    if data:
        return json.loads(data)
    return {"state": "broken", "why": f"no answer within {LIMIT_S} s" if late else "it ended without an answer"}


def main():
    """probing FACTS_FILE [NAME...]: one line of JSON for each probe, all of them without a name."""
    born_with = descriptors()
    import file_probes, gateway_probes, kernel_probes, network_probes, process_probes  # noqa: F401, E401 they register their probes
    with open(sys.argv[1]) as file:
        facts = Facts({**json.load(file), "born_with": born_with})
    for name in sys.argv[2:] or probes:
        answer = in_child(lambda: probes[name].function(facts))
        print(json.dumps({"name": name, **answer}), flush=True)
