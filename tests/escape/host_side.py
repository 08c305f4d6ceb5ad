"""What stands on the host for the probes: secrets in files, in processes and behind sockets, and controls.

Everything belongs to the user that sandboxes run as, the one that a program which got out would be. Started by root, a
network of its own is made for all of it, so that an address like a cloud's can be there without touching the machine's."""
import ctypes
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
METADATA, OWN_ADDRESS = "169.254.169.254", "198.51.100.7"
PUBLIC = "8.8.4.4"  # in the suite's own network alone, where nothing else is
NEIGHBOUR = "8.8.4.1"  # given to lo, which then takes its whole network (class A): PUBLIC is reached and is no address of an interface
NAMES = {"127.0.0.1": ["localhost", "rebound.example.com"], "::1": ["rebound6.example.com"],
         PUBLIC: ["files.example.com", "below.files.example.com", "other.example.com", "files.example.com.other.example.com",
                  "model.example.com"]}
CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
WEB = 443
GATEWAY_PORT = 49984  # host/spec.hpp
FILES = ("run.py", "probing.py", "victim.py", "file_probes.py", "gateway_probes.py", "kernel_probes.py", "network_probes.py", "process_probes.py")
# The options of a sandbox (host/isolation.cpp) without those that a control gives back.
BWRAP = ["/usr/bin/bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin",
         "/bin", "--symlink", "usr/sbin", "/sbin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc",
         "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]


def own_network():
    """A network of this process and its children, with a cloud's address and a public one on lo, and names of its own
    (/etc/hosts, mounted for them alone). False where only root could make it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        return False
    with tempfile.NamedTemporaryFile("w", prefix="skep-escape-hosts-") as hosts:
        hosts.write("".join(f"{address} {' '.join(names)}\n" for address, names in NAMES.items()))
        hosts.flush()
        os.chmod(hosts.name, 0o644)
        for what, on, flags in ((None, "/", MS_REC | MS_PRIVATE), (hosts.name, "/etc/hosts", MS_BIND)):
            if libc.mount(what and what.encode(), on.encode(), None, ctypes.c_ulong(flags), None) != 0:
                raise OSError(ctypes.get_errno(), f"mount on {on}")
    SIOCSIFADDR, SIOCSIFFLAGS, UP_AND_RUNNING = 0x8916, 0x8914, 0x41
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", UP_AND_RUNNING))
        for label, address in ((b"lo:1", METADATA), (b"lo:2", OWN_ADDRESS), (b"lo:3", NEIGHBOUR)):
            request = struct.pack("16sHH4s16x", label, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(s, SIOCSIFADDR, request)
    return True


class Service:
    """The user that sandboxes run as: skep where root started the host, else whoever runs the test."""

    def __init__(self):
        root = os.geteuid() == 0
        self.account = pwd.getpwnam("skep") if root else None

    def become(self):
        if self.account:
            os.setgroups([])
            os.setresgid(self.account.pw_gid, self.account.pw_gid, self.account.pw_gid)
            os.setresuid(self.account.pw_uid, self.account.pw_uid, self.account.pw_uid)

    def give(self, path):
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def popen(self, argv, become=True, **options):
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **options.pop("env", {})}
        return subprocess.Popen([str(a) for a in argv], env=env, preexec_fn=self.become if become else None,
                                stdout=subprocess.PIPE, bufsize=0, **{"stdin": subprocess.DEVNULL, **options})


class Victim:
    """A running victim.py: what it told of itself, and whether a signal came through."""

    def __init__(self, service, folder, label, secret):
        self.process = service.popen([PYTHON, folder / "victim.py", label], env={"SKEP_ESCAPE_SECRET": secret}, cwd=folder,
                                     stdin=subprocess.PIPE)
        self.told = json.loads(self.line())

    def line(self):
        assert select.select([self.process.stdout], [], [], 30)[0], "the victim says nothing"
        return self.process.stdout.readline().decode()

    def signalled(self):
        """True when a signal came since the last question."""
        self.process.stdin.write(b"?\n")
        self.process.stdin.flush()
        lines = []
        while not lines or lines[-1] != "alive":
            lines.append(self.line().strip())
            assert lines[-1], "the victim is gone"
        return "signal" in lines

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class OpenProxy:
    """What the gateway would be without its rules: connects to whatever it is asked for, and tells what it hears there."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    @staticmethod
    def serve(peer):
        with peer:
            head = b""
            while b"\r\n\r\n" not in head:
                block = peer.recv(65536)
                if not block:
                    return
                head += block
            method, target = head.split(b" ", 2)[:2]
            where = target.decode() if method == b"CONNECT" else target.decode().split("/")[2]
            name, colon, port = where.rpartition("@")[2].rpartition(":")
            if not colon or where.endswith("]"):
                name, port = where, "80"
            try:
                with socket.create_connection((name.strip("[]"), int(port)), timeout=5) as there:
                    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + there.recv(200))
            except OSError as why:
                peer.sendall(f"HTTP/1.1 502 {type(why).__name__}\r\n\r\n".encode())

    def close(self):
        self.listener.close()


class Host:
    """The vault, the servers and the victim; facts() is what probes are told."""

    def __init__(self, work, private_network):
        self.work, self.service, self.private = Path(work), Service(), private_network
        self.secret = "skep-escape-" + secrets.token_hex(16)
        self.work.chmod(0o711)
        self.folder = self.made("shared")
        self.vault = self.made("vault")
        self.probes = self.made("probes")
        self.bound = self.made("bound")
        self.put(self.vault / "secret", self.secret)
        for name in FILES:
            self.put(self.probes / name, (HERE / name).read_text())
        self.put(self.bound / "tool", "#!/bin/sh\n")
        (self.bound / "absolute").symlink_to(self.vault / "secret")
        (self.bound / "upwards").symlink_to("../vault/secret")
        self.sockets = []
        self.tcp = self.serve(socket.AF_INET, ("0.0.0.0", 0)).getsockname()[1]
        self.unix = str(self.folder / "host.sock")
        self.serve(socket.AF_UNIX, self.unix)
        os.chmod(self.unix, 0o777)
        self.tcp6 = self.optional(socket.AF_INET6, ("::1", 0))
        self.optional(socket.AF_INET, (METADATA, 80))
        self.web = self.serve(socket.AF_INET, ("0.0.0.0", WEB)).getsockname()[1] if self.private else None
        self.web6 = self.optional(socket.AF_INET6, ("::1", WEB)) if self.private else None
        if self.private:
            self.serve(socket.AF_INET, (PUBLIC, 80))
        self.proxy = OpenProxy()
        self.udp = self.echo(("127.0.0.1", 0))
        self.name_server = "127.0.0.1" if self.private and self.echo(("127.0.0.1", 53)) else None
        self.victim = Victim(self.service, self.probes, "host", self.secret)

    def made(self, name):
        path = self.work / name
        path.mkdir()
        path.chmod(0o755)
        self.service.give(path)
        return path

    def put(self, path, text):
        path.write_text(text)
        path.chmod(0o755 if "probes" in path.parts or "bound" in path.parts else 0o600)
        self.service.give(path)

    def optional(self, family, address):
        if address[0] == METADATA and not self.private:
            return None
        try:
            return self.serve(family, address).getsockname()[1]
        except OSError:
            return None

    def serve(self, family, address):
        """A server that tells the secret to everybody."""
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen(16)
        self.sockets.append(listener)

        def answer():
            while True:
                try:
                    peer, _ = listener.accept()
                    peer.sendall(self.secret.encode())
                    peer.close()
                except OSError:
                    return
        threading.Thread(target=answer, daemon=True).start()
        return listener

    def echo(self, address):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(address)
        self.sockets.append(server)

        def answer():
            while True:
                try:
                    question, peer = server.recvfrom(512)
                    server.sendto(question[:2] + self.secret.encode(), peer)
                except OSError:
                    return
        threading.Thread(target=answer, daemon=True).start()
        return server.getsockname()[1]

    def facts(self, **more):
        return {"proof": hashlib.sha256(self.secret.encode()).hexdigest(), "secret": str(self.vault / "secret"),
                "folder": str(self.folder), "bound": str(self.bound), "tcp": self.tcp, "tcp6": self.tcp6, "udp": self.udp,
                "unix": self.unix, "address": OWN_ADDRESS if self.private else None, "victim": self.victim.told,
                "metadata": METADATA if self.private else None, "name_server": self.name_server,
                "public": PUBLIC if self.private else None, "web": self.web, "web6": self.web6, "proxy": GATEWAY_PORT, **more}

    # -- controls

    def control(self, kind, facts, names):
        """Runs probes where they must succeed: {name: answer}; None where this control is not possible here."""
        facts = {**facts, "own_folder": str(self.folder)}
        self.put(self.probes / "facts.json", json.dumps(facts))
        words = [PYTHON, "-I", self.probes / "run.py", self.probes / "facts.json", *names]
        shown = ["--ro-bind", self.probes, self.probes, "--ro-bind", self.bound, self.bound]
        options = {}
        if kind == "outside with a descriptor":
            kept = os.open(self.vault, os.O_RDONLY)
            options["pass_fds"] = [kept]
        elif kind == "bwrap with capabilities":
            words = [*BWRAP, *shown, "--uid", "0", "--gid", "0", "--cap-add", "ALL", *words]
        elif kind == "bwrap with a writable root":
            words = [*BWRAP, *shown, "--uid", "1000", "--gid", "1000", *words]
        elif kind == "bwrap as root":
            if os.geteuid() != 0:
                return None
            words = [*BWRAP, *shown, "--unshare-user", "--uid", "1000", "--gid", "1000", *words]
            options["become"] = False
        elif kind == "a proxy without rules":
            self.put(self.probes / "facts.json", json.dumps({**facts, "proxy": self.proxy.port}))
        else:
            assert kind == "outside", kind
        process = self.service.popen(words, stderr=subprocess.PIPE, **options)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, f"{kind}: {err.decode()[-600:]}"
        return answers(out)

    def close(self):
        self.victim.close()
        self.proxy.close()
        for s in self.sockets:
            s.close()
        shutil.rmtree(self.work, ignore_errors=True)


def answers(output):
    """{name: answer} of what run.py printed."""
    return {a["name"]: a for a in map(json.loads, output.decode().splitlines())}
