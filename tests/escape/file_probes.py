"""Ways to files of the host and of other sandboxes."""
import os
import stat

from probing import NotProvable, call, first, probe, processes

ORDINARY_DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "fd", "core",
                    "stdin", "stdout", "stderr"}


def content(path, size=4096):
    with open(path, "rb") as file:
        return file.read(size)


@probe("a file of the host by its path")
def _(f):
    return f.holds(content(f.secret))


@probe("a new file in a folder of the host")
def _(f):
    path = f"{f.folder}/made-{os.getpid()}"
    with open(path, "x"):
        return f"{path} was made"


@probe("a file of the host through the root folder of a process")
def _(f):
    return first(lambda p: f.holds(content(f"/proc/{p[0]}/root{f.secret}")), processes())


@probe("a file of the host through the working folder of a process")
def _(f):
    return first(lambda p: f.holds(content(f"/proc/{p[0]}/cwd/secret")), processes())


@probe("a file of the host through a descriptor that a process has open")
def _(f):
    def look(process):
        folder = f"/proc/{process[0]}/fd"
        regular = [n for n in os.listdir(folder) if stat.S_ISREG(os.stat(f"{folder}/{n}").st_mode)]
        return first(lambda n: f.holds(content(f"{folder}/{n}")), regular)
    return first(look, processes())


@probe("a descriptor that a program was born with, besides 0 to 2", control="outside with a descriptor")
def _(f):
    left = [f"{number}: {target}" for number, target in f.born_with.items() if number > 2]
    return ", ".join(left)


@probe("a folder of the host through a descriptor of the first process", control="outside with a descriptor")
def _(f):
    """The sandbox's first process set everything up; nothing of that may have stayed open in it."""
    def look(pid):
        folder = f"/proc/{pid}/fd"
        names = [n for n in os.listdir(folder) if stat.S_ISDIR(os.stat(f"{folder}/{n}").st_mode)]
        return first(lambda n: f.holds(content(f"{folder}/{n}/secret")), names)
    return first(look, [1, 2, os.getppid(), "self"])


@probe("the host's own files in /etc")
def _(f):
    return first(lambda p: content(p) and f"{p} was read", ["/etc/machine-id", "/etc/fstab", "/etc/hostname", "/etc/debian_version"])


@probe("the host's own files in /var")
def _(f):
    return first(lambda p: os.listdir(p) and f"{p} was listed", ["/var/lib", "/var/log", "/var/cache"])


@probe("the state directory of the local host")
def _(f):
    return os.listdir(f.state) and "it was listed"


@probe("a file of the neighbour's home by its path on the host")
def _(f):
    return f.holds(content(f"{f.state}/sandboxes/{f.neighbour_id}/home/secret"))


@probe("a file of the neighbour's home through a process")
def _(f):
    return first(lambda p: f.holds(content(f"/proc/{p[0]}/root/home/user/neighbour-secret")), processes())


@probe("a symbolic link in a bound folder that leaves it by an absolute path")
def _(f):
    return f.holds(content(f"{f.bound}/absolute"))


@probe("a symbolic link in a bound folder that leaves it by two dots")
def _(f):
    return f.holds(content(f"{f.bound}/upwards"))


@probe("a file written in a bound folder")
def _(f):
    with open(f"{f.bound}/made-{os.getpid()}", "x"):
        return "it was made"


@probe("a file of a bound folder changed")
def _(f):
    with open(f"{f.bound}/tool", "ab") as file:
        return file.write(b"# changed\n")


@probe("a file of a bound folder changed through its descriptor")
def _(f):
    reader = os.open(f"{f.bound}/tool", os.O_RDONLY)
    with open(f"/proc/self/fd/{reader}", "ab") as file:
        return file.write(b"# changed\n")


@probe("a hard link to a file of a bound folder")
def _(f):
    os.link(f"{f.bound}/tool", f"{f.bound}/linked-{os.getpid()}")
    return "it was made"


@probe("the mode of a file in a bound folder changed")
def _(f):
    os.chmod(f"{f.bound}/tool", 0o777)
    return "it was changed"


@probe("a bound folder mounted again for writing", control="bwrap with capabilities")
def _(f):
    MS_REMOUNT, MS_BIND = 32, 4096
    call("mount", None, f.bound.encode(), None, MS_REMOUNT | MS_BIND, None)
    with open(f"{f.bound}/made-{os.getpid()}", "x"):
        return "a file was made in it"


@probe("a file in the root folder", control="bwrap with a writable root")
def _(f):
    with open(f"/made-{os.getpid()}", "x"):
        return "it was made"


@probe("a POSIX shared memory object of the host")
def _(f):
    return f.holds(content(f"/dev/shm/skep-escape-{f.victim['pid']}"))


@probe("devices besides the ordinary ones")
def _(f):
    return ", ".join(sorted(set(os.listdir("/dev")) - ORDINARY_DEVICES)[:5])


@probe("the machine's devices and settings in /sys")
def _(f):
    return first(lambda p: os.listdir(p) and f"{p} was listed", ["/sys/class", "/sys/kernel", "/sys/fs/cgroup"])


@probe("a file by its handle, around all paths", control="bwrap with capabilities")
def _(f):
    import ctypes
    handle, mount_id = ctypes.create_string_buffer((128).to_bytes(4, "little") + bytes(132)), ctypes.c_int()
    with open("/tmp/handle", "wb") as file:
        file.write(b"by handle")
    call("name_to_handle_at", -100, b"/tmp/handle", handle, ctypes.byref(mount_id), 0)
    folder = os.open("/tmp", os.O_RDONLY)
    opened = call("open_by_handle_at", folder, handle, os.O_RDONLY)
    return os.read(opened, 100)


@probe("a device node that is made")
def _(f):
    os.mknod(f"{f.own_folder}/device-{os.getpid()}", 0o600 | stat.S_IFCHR, os.makedev(1, 11))
    return "a node of the kernel's log was made"


@probe("more open files than the sandbox may have")
def _(f):
    import resource
    wanted = f.open_files + 1
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted and os.path.exists(f.folder):
        raise NotProvable(f"a program of this user may have {hard} open files at most")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except ValueError as refused:
        raise OSError(str(refused)) from None
    return f"{wanted} are allowed"
