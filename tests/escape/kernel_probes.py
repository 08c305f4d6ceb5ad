"""Ways to the kernel: its settings, its log, its lesser known calls."""
import ctypes
import fcntl
import mmap
import os
import platform
import pty
import socket
import struct
import termios

from probing import NotProvable, call, call_number, probe

AF_VSOCK, AF_ALG = 40, 38
TIOCLINUX = 0x541C


@probe("the program that the kernel starts after a crash", control="bwrap as root")
def _(f):
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))  # opening it is enough: nothing is changed
    return "core_pattern opened for writing"


@probe("the kernel's settings of memory", control="bwrap as root")
def _(f):
    os.close(os.open("/proc/sys/vm/overcommit_memory", os.O_WRONLY))
    return "overcommit_memory opened for writing"


@probe("the kernel's settings of its log", control="bwrap as root")
def _(f):
    os.close(os.open("/proc/sys/kernel/printk", os.O_WRONLY))
    return "printk opened for writing"


@probe("the program that the kernel starts for modules", control="bwrap as root")
def _(f):
    os.close(os.open("/proc/sys/kernel/modprobe", os.O_WRONLY))
    return "modprobe opened for writing"


@probe("a file system mounted", control="bwrap with capabilities")
def _(f):
    return call("mount", b"none", b"/tmp", b"tmpfs", 0, None) == 0


@probe("a file system mounted by the newer calls", control="bwrap with capabilities")
def _(f):
    return call("fsopen", b"tmpfs", 0) >= 0


@probe("a copy of the mount tree", control="bwrap with capabilities")
def _(f):
    OPEN_TREE_CLONE = 1
    return call("open_tree", -100, b"/tmp", OPEN_TREE_CLONE) >= 0


@probe("a mount taken away from above what it covers", control="bwrap with capabilities")
def _(f):
    MNT_DETACH = 2
    return call("umount2", b"/tmp", MNT_DETACH) == 0


@probe("another root folder by chroot", control="bwrap with capabilities")
def _(f):
    os.chroot("/tmp")
    return "it was changed"


@probe("another root folder by pivot_root", control="bwrap with capabilities")
def _(f):
    MS_BIND = 4096
    call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    return call("pivot_root", b"/tmp", b"/tmp") == 0


@probe("another host name", control="bwrap with capabilities")
def _(f):
    socket.sethostname("escaped")
    return "it was changed"


@probe("the clock set")
def _(f):
    import time
    now = struct.pack("qq", int(time.time()), 0)
    return call("clock_settime", 0, now) == 0


@probe("the kernel's log")
def _(f):
    SYSLOG_ACTION_READ_ALL = 3
    out = ctypes.create_string_buffer(4096)
    return call("syslog", SYSLOG_ACTION_READ_ALL, out, 4096) > 0


@probe("a program loaded into the kernel")
def _(f):
    BPF_MAP_CREATE = 0
    return call("bpf", BPF_MAP_CREATE, struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(100), 120) >= 0


@probe("a module loaded")
def _(f):
    return call("init_module", None, 0, b"") == 0


@probe("another kernel loaded")
def _(f):
    return call("kexec_load", 0, 0, None, 0) == 0


@probe("counters of the processor")
def _(f):
    PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, EXCLUDE_KERNEL = 1, 1, (1 << 5) | (1 << 6)
    attributes = struct.pack("IIQQQQQ", PERF_TYPE_SOFTWARE, 128, PERF_COUNT_SW_TASK_CLOCK, 0, 0, 0, EXCLUDE_KERNEL) + bytes(80)
    return call("perf_event_open", attributes, 0, -1, -1, 0) >= 0


@probe("faults of memory handled by a program")
def _(f):
    UFFD_USER_MODE_ONLY = 1
    return call("userfaultfd", UFFD_USER_MODE_ONLY) >= 0


@probe("rings of requests to the kernel")
def _(f):
    return call("io_uring_setup", 4, ctypes.create_string_buffer(120)) >= 0


@probe("a socket to the machine below the virtual machine")
def _(f):
    return socket.socket(AF_VSOCK, socket.SOCK_STREAM).fileno() >= 0


@probe("a socket to the kernel's ciphers")
def _(f):
    return socket.socket(AF_ALG, socket.SOCK_SEQPACKET).fileno() >= 0


def typed(request):
    """What a terminal of our own has to read after one letter was typed into it from outside."""
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)  # each probe leads a session of its own
    ioctl = {"x86_64": 16, "aarch64": 29}.get(platform.machine())
    for letter in b"x\n":
        call_number(ioctl, terminal, request, ctypes.byref(ctypes.c_char(letter)))
    return os.read(terminal, 10).strip()


@probe("a letter typed into a terminal by TIOCSTI")
def _(f):
    return typed(termios.TIOCSTI)


@probe("a letter typed into a terminal by TIOCSTI with a long number")
def _(f):
    return typed(termios.TIOCSTI | 1 << 32)


@probe("the selection of the console pasted by TIOCLINUX")
def _(f):
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, TIOCLINUX, b"\3")
    return "it was pasted"


@probe("a call under the numbers of another architecture")
def _(f):
    """getpid() by the gate of 32-bit programs, which has numbers of its own."""
    if platform.machine() != "x86_64":
        raise NotProvable("only x86_64 has that gate")
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    done = function()
    if done < 0:
        raise OSError(-done, os.strerror(-done))
    return done == os.getpid()


@probe("a call under the numbers of x32")
def _(f):
    if platform.machine() != "x86_64":
        raise NotProvable("only x86_64 has those numbers")
    return call_number(39 | 0x40000000) == os.getpid()
