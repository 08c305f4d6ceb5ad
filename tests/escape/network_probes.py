"""Ways through sockets: to the host's network, to other sandboxes, to the control API."""
import json
import socket

from probing import probe

LIMIT_S = 3


def said(address, family=socket.AF_INET):
    """What a server says to whoever connects."""
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(LIMIT_S)
        s.connect(address)
        return s.recv(200)


def echoed(address, question=b"?"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(LIMIT_S)
        s.sendto(question, address)
        return s.recv(200)


@probe("a server on the host's loopback address")
def _(f):
    return f.holds(said(("127.0.0.1", f.tcp)))


@probe("a server on the host's loopback address of IPv6")
def _(f):
    return f.holds(said(("::1", f.need("tcp6")), socket.AF_INET6))


@probe("a server on the host's own address")
def _(f):
    return f.holds(said((f.need("address"), f.tcp)))


@probe("a server of datagrams on the host")
def _(f):
    return f.holds(echoed(("127.0.0.1", f.udp)))


@probe("the address that tells a cloud machine its keys")
def _(f):
    return f.holds(said((f.need("metadata"), 80)))


@probe("the host's name server")
def _(f):
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01"
    return f.holds(echoed((f.need("name_server"), 53), query))


@probe("a socket of raw packets", control="bwrap with capabilities")
def _(f):
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).fileno() >= 0


@probe("a socket of raw packets of IPv6", control="bwrap with capabilities")
def _(f):
    return socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6).fileno() >= 0


@probe("a socket of frames of the network card", control="bwrap with capabilities")
def _(f):
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300).fileno() >= 0


@probe("a unix socket of the host by its path")
def _(f):
    return f.holds(said(f.unix, socket.AF_UNIX))


@probe("an abstract unix socket of the host")
def _(f):
    return f.holds(said("\0" + f.victim["abstract"], socket.AF_UNIX))


@probe("an abstract unix socket of the neighbour", control="inside the neighbour")
def _(f):
    return f.holds(said("\0" + f.neighbour["abstract"], socket.AF_UNIX))


@probe("a server inside the neighbour", control="inside the neighbour")
def _(f):
    return f.holds(said(("127.0.0.1", f.neighbour["tcp"])))


@probe("the list of the host's listening sockets")
def _(f):
    with open("/proc/net/tcp") as table:
        return f":{f.tcp:04X} " in table.read()


@probe("the list of the host's abstract unix sockets")
def _(f):
    with open("/proc/net/unix") as table:
        return f.victim["abstract"] in table.read()


def to_holder(f, box, request):
    """One request to the holder of a sandbox, on the socket that the host speaks to it by."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(LIMIT_S)
        s.connect(f"{f.state}/holders/{box}/ctl.sock")
        s.sendall(json.dumps(request).encode() + b"\n")
        return s.makefile().readline()


@probe("the holder of its own sandbox asked for more time")
def _(f):
    return '"ok":true' in to_holder(f, f.own_id, {"op": "extend", "ms": 60_000})


@probe("the holder of the neighbour asked for its keys")
def _(f):
    return "accessToken" in to_holder(f, f.neighbour_id, {"op": "watch"})


@probe("envd of the neighbour by its socket")
def _(f):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(LIMIT_S)
        s.connect(f"{f.state}/holders/{f.neighbour_id}/envd.sock")
        s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        return s.recv(100).startswith(b"HTTP/1.1 2")


@probe("the control API asked for more time")
def _(f):
    """With the account's key in hand, which an agent does not have either."""
    body = b'{"timeout": 600}'
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.settimeout(LIMIT_S)
        s.connect(("127.0.0.1", f.api_port))
        s.sendall((f"POST /sandboxes/{f.own_id}/timeout HTTP/1.1\r\nHost: x\r\nX-API-KEY: {f.api_key}\r\nConnection: close\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)
        return s.recv(100).startswith(b"HTTP/1.1 204")
