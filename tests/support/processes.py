"""Processes of this machine as scenarios look at them: by what /proc says, waited for by descriptors."""
import contextlib
import os
import select
import signal
from pathlib import Path

from scenario import PATIENCE


def processes():
    """(pid, cmdline as bytes) of every process that can be looked at."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield int(name), Path("/proc", name, "cmdline").read_bytes()
        except OSError:
            continue


def alive(pid):
    """False also for a process that ended and was not yet reaped by its parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for_end(pid, limit_s):
    """True when the process ended in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], limit_s * PATIENCE)[0])
    finally:
        os.close(descriptor)


def signal_if_there(pid, number):
    """To a process that may end by itself at this moment."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end_process(pid, number=signal.SIGKILL, limit_s=10):
    """Signals a process and waits until it is gone; one that is gone already is fine."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(watch, number)
        assert select.select([watch], [], [], limit_s * PATIENCE)[0], f"process {pid} did not end within {limit_s} s of signal {number}"
    except ProcessLookupError:
        pass
    finally:
        os.close(watch)
