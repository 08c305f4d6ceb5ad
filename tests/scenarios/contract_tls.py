#!/usr/bin/python3
"""The contract suite through a TLS proxy with HTTP/2, each sandbox found by its name PORT-ID.DOMAIN.

The proxy is Debian's nghttpx, the certificates are made here; the client maps every name to the proxy's address."""
# timeout: 300
# presets: dev
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

from _contract import KEY, Server, judge, wire
from scenario import wait_until

DOMAIN = "skep.test"


def authority(folder):
    """A certificate authority and a server's certificate for all names of the domain."""
    def openssl(*words):
        done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj",
            "/CN=contract")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={DOMAIN}")
    (folder / "names").write_text(f"subjectAltName=DNS:*.{DOMAIN}\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem",
            "-days", "2", "-extfile", "names")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def reach(port):
    """How far skep-guest comes at a server of TLS, without a name for it."""
    done = subprocess.run([Path(os.environ["SKEP_BIN"]) / "skep-guest", "reach", "--limit-ms", "10000", "--tls",
                           f"127.0.0.1@{port}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["targets"][0]["state"]


def main():
    proxy = shutil.which("nghttpx")
    if not proxy:
        print("not ok - through TLS, the proxy is installed: nghttpx is missing (tools/setup --for test)", flush=True)
        raise SystemExit(1)
    with Server() as server:
        authority(server.work)
        port = free_port()
        running = subprocess.Popen(
            [proxy, f"--frontend=127.0.0.1,{port}", f"--backend=127.0.0.1,{server.url.rsplit(':', 1)[1]}", "--workers=1",
             "--frontend-read-timeout=120", "--backend-read-timeout=120", "--conf=/dev/null", "--no-ocsp",
             "--request-header-field-buffer=128K", "--max-request-header-fields=300",
             str(server.work / "server.key"), str(server.work / "server.pem")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(server.work / "proxy.log", "w"))
        try:
            wait_until("the proxy listens", lambda: listens(port) or running.poll() is not None)
            assert running.poll() is None, (server.work / "proxy.log").read_text()[-2000:]
            target = wire.Target(f"https://api.{DOMAIN}:{port}", KEY, domain=DOMAIN, authority=server.work / "ca.pem",
                                 resolve="127.0.0.1")

            def spoken():
                return "" if set(target.versions) == {"2"} else f"versions of HTTP spoken: {dict(target.versions)}"
            said = reach(port)
            assert said == "answered", f"skep-guest reach said {said} of a server of TLS"
            print("ok - a look from inside takes the hello of a real server for an answer", flush=True)
            judge("through TLS", target, [("every exchange was HTTP/2", spoken)])
        finally:
            running.terminate()
            running.wait(20)


main()
