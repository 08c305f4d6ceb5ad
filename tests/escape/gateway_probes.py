"""Ways through the gateway, which is the only door of a sandbox: as a proxy (CONNECT, absolute form) to what it must not open.

Two sandboxes: `wide` may reach every public address (allowOut 0.0.0.0/0), so that only the addresses that are not public
stand between it and the host; `narrow` may reach files.example.com alone. Both look names up where the suite put them:

    localhost, rebound.example.com     127.0.0.1                files.example.com, other.example.com,
    rebound6.example.com               ::1                      model.example.com, ...              a public address

The control of each is the same request to a proxy without rules (host_side.OpenProxy)."""
import socket

from probing import OPEN_INSIDE, probe

LIMIT_S = 10
PROXY = "a proxy without rules"


def answered(f, request):
    """What the proxy answers to the request, to its end; it says something in HTTP or hangs up."""
    data = b""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.settimeout(LIMIT_S)
        s.connect(("127.0.0.1", f.proxy))
        try:
            s.sendall(request)
        except ConnectionError:
            pass  # it has seen enough, and its answer may be there
        while len(data) < 4096:
            try:
                block = s.recv(4096)
            except ConnectionError:
                if data:
                    break
                raise  # hung up: closed
            if not block:
                break
            data += block
            if f.holds(data):
                break
    assert data.startswith(b"HTTP/1."), f"the proxy says nothing that is HTTP: {data[:100]}"
    return data


def tunnel(f, authority, *headers):
    lines = "".join(f"{h}\r\n" for h in (headers or (f"Host: {authority}",)))
    return f.holds(answered(f, f"CONNECT {authority} HTTP/1.1\r\n{lines}\r\n".encode()))


def asked(f, url, *headers):
    lines = "".join(f"{h}\r\n" for h in headers)
    return f.holds(answered(f, f"GET {url} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode()))


# -- what is open, so that a closed door is no broken one

@probe("the gateway opens a tunnel to a public address when all of them are allowed", control=OPEN_INSIDE, box="wide")
def _(f):
    return tunnel(f, f"{f.need('public')}:{f.web}")


@probe("the gateway opens a tunnel to a listed host, whatever case and dot it is written with", control=OPEN_INSIDE, box="narrow")
def _(f):
    f.need("public")
    return tunnel(f, f"files.example.com:{f.web}") and tunnel(f, f"Files.Example.COM.:{f.web}")


# -- addresses that are not public, in every spelling

@probe("a tunnel to the host's loopback address by its number", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"127.0.0.1:{f.need('web')}")


@probe("a tunnel to the host's loopback address by its name", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"localhost:{f.need('web')}")


@probe("a tunnel to the host's own address", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"{f.need('address')}:{f.need('web')}")


@probe("a tunnel to the address that tells a cloud machine its keys", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"{f.need('metadata')}:80")


@probe("a tunnel to a public name that leads to the host", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"rebound.example.com:{f.need('web')}")


@probe("a tunnel to a public name that leads to the host by IPv6", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"rebound6.example.com:{f.need('web6')}")


@probe("a tunnel to the host's loopback address of IPv6", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"[::1]:{f.need('web6')}")


@probe("a tunnel to the host's loopback address inside an address of IPv6", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"[::ffff:127.0.0.1]:{f.need('web')}")


@probe("a tunnel to the host's loopback address as one number", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"2130706433:{f.need('web')}")


@probe("a tunnel to the host's loopback address in hexadecimal", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"0x7f.0x0.0x0.0x1:{f.need('web')}")


@probe("a tunnel to the host's loopback address with parts left out", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"127.1:{f.need('web')}")


@probe("a request in absolute form to the address that tells a cloud machine its keys", control=PROXY, box="wide")
def _(f):
    return asked(f, f"http://{f.need('metadata')}/latest/meta-data/", f"Host: {f.metadata}")


@probe("a request in absolute form to a public name that leads to the host", control=PROXY, box="wide")
def _(f):
    return asked(f, f"http://rebound.example.com:{f.need('web')}/", "Host: rebound.example.com")


# -- ports and hosts that are not listed

@probe("a tunnel to a public address on a port that is not allowed", control=PROXY, box="wide")
def _(f):
    return tunnel(f, f"{f.need('public')}:{f.tcp}")


@probe("a tunnel to a host that is not listed", control=PROXY, box="narrow")
def _(f):
    f.need("public")
    return tunnel(f, f"other.example.com:{f.web}")


@probe("a tunnel to the address of a listed host", control=PROXY, box="narrow")
def _(f):
    return tunnel(f, f"{f.need('public')}:{f.web}")


@probe("a tunnel to a host that begins as a listed one", control=PROXY, box="narrow")
def _(f):
    f.need("public")
    return tunnel(f, f"files.example.com.other.example.com:{f.web}")


@probe("a tunnel to a host below a listed one", control=PROXY, box="narrow")
def _(f):
    f.need("public")
    return tunnel(f, f"below.files.example.com:{f.web}")


@probe("a tunnel to another host with a listed one as its user", control=PROXY, box="narrow")
def _(f):
    f.need("public")
    return tunnel(f, f"files.example.com@other.example.com:{f.web}")


@probe("a tunnel to another host with a listed one in its Host header", control=PROXY, box="narrow")
def _(f):
    f.need("public")
    return tunnel(f, f"other.example.com:{f.web}", f"Host: files.example.com:{f.web}")


@probe("a tunnel to a host that is not listed, behind a header of a megabyte", control=PROXY, box="narrow")
def _(f):
    f.need("public")
    return tunnel(f, f"other.example.com:{f.web}", "Host: files.example.com", "X-Long: " + "a" * 1_000_000)


@probe("a request in absolute form to another host with a listed one in its Host header", control=PROXY, box="narrow")
def _(f):
    f.need("public")
    return asked(f, "http://other.example.com/", "Host: files.example.com")


@probe("a tunnel to the host of a rule, around its paths and its key", control=PROXY, box="narrow")
def _(f):
    f.need("public")
    return tunnel(f, f"model.example.com:{f.web}")
