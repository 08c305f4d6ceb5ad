"""Ways to processes of the host and of other sandboxes, and to privileges."""
import ctypes
import os
import signal
import subprocess
import time

from probing import NotProvable, call, first, libc, probe, processes

PTRACE_PEEKDATA, PTRACE_ATTACH, PTRACE_DETACH = 2, 16, 17
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWUTS = 0x10000000, 0x40000000, 0x20000000, 0x20000, 0x4000000


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def read_memory(pid, address, size):
    out = ctypes.create_string_buffer(size)
    local, remote = Vector(ctypes.addressof(out), size), Vector(address, size)
    call("process_vm_readv", pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    return out.raw


def trace(pid, address, size):
    """The memory at an address, word by word, with the process stopped."""
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    call("ptrace", PTRACE_ATTACH, pid, 0, 0)
    os.waitpid(pid, 0x40000000)  # __WALL
    data = b"".join(libc.ptrace(PTRACE_PEEKDATA, pid, address + at, None).to_bytes(8, "little", signed=True)
                    for at in range(0, size, 8))
    call("ptrace", PTRACE_DETACH, pid, 0, 0)
    return data


def named(label):
    """Processes of victim.py with this label."""
    return [pid for pid, words in processes() if any(w.endswith(b"victim.py") for w in words) and label.encode() in words]


@probe("a process of the host in /proc")
def _(f):
    return named("host") and "it is listed"


@probe("a process of the neighbour in /proc")
def _(f):
    return named(f.neighbour_label) and "it is listed"


@probe("the environment of a process of the host")
def _(f):
    return first(lambda p: f.holds(open(f"/proc/{p[0]}/environ", "rb").read()), processes())


@probe("the environment of a process of the neighbour")
def _(f):
    return first(lambda pid: f.holds(open(f"/proc/{pid}/environ", "rb").read()), {f.neighbour["host_pid"], *named(f.neighbour_label)})


@probe("a process of the host traced")
def _(f):
    return f.holds(trace(f.victim["pid"], f.victim["address"], f.victim["size"]))


@probe("a process of the neighbour traced")
def _(f):
    return f.holds(trace(f.neighbour["host_pid"], f.neighbour["address"], f.neighbour["size"]))


@probe("memory of a process of the host by process_vm_readv")
def _(f):
    return f.holds(read_memory(f.victim["pid"], f.victim["address"], f.victim["size"]))


@probe("memory of a process of the neighbour by process_vm_readv")
def _(f):
    return f.holds(read_memory(f.neighbour["host_pid"], f.neighbour["address"], f.neighbour["size"]))


@probe("memory of a process of the host by /proc/PID/mem")
def _(f):
    with open(f"/proc/{f.victim['pid']}/mem", "rb", buffering=0) as memory:
        memory.seek(f.victim["address"])
        return f.holds(memory.read(f.victim["size"]))


@probe("a descriptor taken from a process of the host")
def _(f):
    taken = call("pidfd_getfd", os.pidfd_open(f.victim["pid"]), f.victim["descriptor"], 0)
    return f.holds(os.pread(taken, 4096, 0))


@probe("a signal to a process of the host")
def _(f):
    """Whether it came is the victim's to say; this one is judged by whoever runs it."""
    os.kill(f.victim["pid"], signal.SIGWINCH)
    return "it was sent"


@probe("a signal to every process there is")
def _(f):
    os.kill(-1, signal.SIGWINCH)  # which nobody minds: it is ignored unless it is asked for
    return "it was sent"


@probe("the namespaces of another sandbox")
def _(f):
    def join(process):
        theirs = f"/proc/{process[0]}/ns/user"
        if os.readlink(theirs) == os.readlink("/proc/self/ns/user"):
            return None
        call("setns", os.open(theirs, os.O_RDONLY), 0)
        return f"those of process {process[0]}"
    return first(join, processes())


@probe("a new user namespace by unshare")
def _(f):
    return call("unshare", CLONE_NEWUSER) == 0


@probe("a new user namespace by clone")
def _(f):
    return born(lambda: call("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0))


@probe("a new user namespace by clone3")
def _(f):
    arguments = ctypes.create_string_buffer(88)
    arguments[0:8] = CLONE_NEWUSER.to_bytes(8, "little")
    arguments[32:40] = int(signal.SIGCHLD).to_bytes(8, "little")
    return born(lambda: call("clone3", arguments, 88))


def born(clone):
    child = clone()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "a child was born in it"


@probe("a new network namespace", control="bwrap with capabilities")
def _(f):
    return call("unshare", CLONE_NEWNET) == 0


@probe("a new process namespace", control="bwrap with capabilities")
def _(f):
    return call("unshare", CLONE_NEWPID) == 0


@probe("a new mount namespace", control="bwrap with capabilities")
def _(f):
    return call("unshare", CLONE_NEWNS) == 0


@probe("root by a set-user-id program")
def _(f):
    """Programs that wait for a password run as root meanwhile, wherever the bit counts."""
    for program in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/chsh", "/usr/bin/gpasswd"):
        if not os.path.exists(program) or not os.stat(program).st_mode & 0o4000:
            continue
        process = subprocess.Popen([program, *(["x"] if "gpasswd" in program else [])], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 1
        while time.monotonic() < end and process.poll() is None:
            try:
                with open(f"/proc/{process.pid}/status") as status:
                    user = next(line.split()[2] for line in status if line.startswith("Uid:"))
            except (OSError, StopIteration):
                continue
            with open(f"/proc/{process.pid}/comm") as name:
                if user == "0" and name.read().strip() == os.path.basename(program):
                    process.kill()
                    return f"{program} runs as root"
        process.kill()
        process.wait()
    return None


@probe("more processes than the sandbox may have")
def _(f):
    wanted, children = f.need("pids") * 2, []
    try:
        for _ in range(wanted):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return f"{wanted} were started"


@probe("shared memory of the host")
def _(f):
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(f.victim["shared_memory"], None, 0)
    if at is None or at == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f.holds(ctypes.string_at(at, f.victim["size"]))


@probe("a message queue of the host")
def _(f):
    out = ctypes.create_string_buffer(8 + 256)
    call("msgrcv", f.victim["messages"], out, 256, 0, 0o4000)
    return f.holds(out.raw)


@probe("a key in the key ring of the host's user")
def _(f):
    KEYCTL_SEARCH, KEYCTL_READ, USER_KEYRING = 10, 11, -4
    if not f.victim["key"]:
        raise NotProvable("the kernel keeps no keys")
    out = ctypes.create_string_buffer(256)
    found = call("keyctl", KEYCTL_SEARCH, USER_KEYRING, b"user", f.victim["key"].encode(), 0)
    call("keyctl", KEYCTL_READ, found, out, 256, 0)
    return f.holds(out.raw)


@probe("the names of keys in /proc/keys")
def _(f):
    if not f.victim["key"]:
        raise NotProvable("the kernel keeps no keys")
    with open("/proc/keys") as keys:
        return f.victim["key"] in keys.read()


@probe("a key of its own in the key ring of the user")
def _(f):
    KEYCTL_UNLINK, USER_KEYRING = 9, -4
    key = call("add_key", b"user", b"skep-escape-probe", b"x", 1, USER_KEYRING)
    call("keyctl", KEYCTL_UNLINK, key, USER_KEYRING)
    return "it was made"
