"""A process that has what others must not get at: victim.py LABEL, with the secret in SKEP_ESCAPE_SECRET.

It says in one line of JSON where its things are, then answers each SIGWINCH with a line "signal" and each line of its
input with "alive", until its input ends. Started twice: on the host, and inside the neighbour of the probed sandbox."""
import ctypes
import json
import os
import select
import signal
import socket
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from probing import call  # noqa: E402 behind the path it needs

IPC_CREAT, USER_KEYRING = 0o1000, -4
label, secret = sys.argv[1], os.environ["SKEP_ESCAPE_SECRET"].encode()
memory = ctypes.create_string_buffer(secret)
told = {"pid": os.getpid(), "address": ctypes.addressof(memory), "size": len(secret), "user": os.getuid()}


def answer(listener):
    """Gives the secret to everybody who connects."""
    while True:
        peer, _ = listener.accept()
        peer.sendall(secret)
        peer.close()


def listen(family, address):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(16)
    threading.Thread(target=answer, args=(listener,), daemon=True).start()
    return listener


def shared_memory():
    key = int.from_bytes(os.urandom(3), "big") + 1
    segment = call("shmget", key, 4096, IPC_CREAT | 0o600)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(segment, None, 0)
    ctypes.memmove(at, secret, len(secret))
    libc.shmctl(segment, 0, None)  # IPC_RMID: gone with the last process that has it
    return segment


def message_queue():
    queue = call("msgget", 0, IPC_CREAT | 0o600)
    message = ctypes.create_string_buffer((1).to_bytes(8, sys.byteorder) + secret)
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(8):  # whoever takes one leaves others
        assert libc.msgsnd(queue, message, len(secret), 0) == 0
    return queue


folder = os.path.dirname(os.path.abspath(__file__))
kept = open(os.path.join(folder, "..", "vault", "secret"), "rb") if label == "host" else None
try:
    if kept:
        told["descriptor"] = kept.fileno()
        os.chdir(os.path.dirname(kept.name))
        told["shared_memory"], told["messages"] = shared_memory(), message_queue()
        with open(f"/dev/shm/skep-escape-{os.getpid()}", "wb") as out:
            out.write(secret)
        told["key"] = f"skep-escape-{os.getpid()}"
        try:
            call("add_key", b"user", told["key"].encode(), secret, len(secret), USER_KEYRING)
        except OSError:
            told["key"] = None
    port = listen(socket.AF_INET, ("127.0.0.1", 0))
    told["tcp"] = port.getsockname()[1]
    told["abstract"] = f"skep-escape-{label}-{os.urandom(6).hex()}"
    listen(socket.AF_UNIX, "\0" + told["abstract"])

    reader, writer = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGWINCH, lambda *_: None)
    print(json.dumps(told), flush=True)
    while True:
        ready = select.select([0, reader], [], [])[0]
        if reader in ready:
            os.read(reader, 64)
            print("signal", flush=True)
        if 0 in ready:
            if not os.read(0, 4096):
                break
            print("alive", flush=True)
finally:
    if kept:
        try:
            os.unlink(f"/dev/shm/skep-escape-{os.getpid()}")
        except OSError:
            pass
        if "messages" in told:
            ctypes.CDLL(None).msgctl(told["messages"], 0, None)
