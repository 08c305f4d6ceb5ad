"""A proxy before a sandbox host that counts the parts of uploads, and cuts or changes one on its way.

    with CuttingProxy(host_url) as proxy:
        proxy.cut_at = 3               # the connection ends in the middle of the third part, once
        proxy.change_at = 2            # one byte of the second part becomes another one, once
        proxy.at_part[4] = function    # called when the fourth part begins; it does not travel
    proxy.look = function          # called with the first line of each request, before any of it travels
        proxy.arrived                  # the names of the parts that reached the host whole, in order
        proxy.count_anew()             # the next part is the first one again

Parts are the files below FOLDER inside. Everything else passes as it is, connection by connection.
"""
import re
import socket
import threading
import urllib.parse

FOLDER = "/.skep/in/worktree/"


class CuttingProxy:
    def __init__(self, url):
        host = urllib.parse.urlsplit(url)
        self.behind = (host.hostname, host.port)
        self.cut_at = self.change_at = None
        self.at_part = {}
        self.look = None
        self.begun = 0
        self.arrived = []
        self.lock = threading.Lock()
        self.open = set()

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        for end in list(self.open):
            self.close(end)

    def count_anew(self):
        with self.lock:
            self.begun = 0
            self.arrived.clear()

    def close(self, end):
        self.open.discard(end)
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.behind)
            self.open |= {client, server}
            for work in (lambda a=client, b=server: self.requests(a, b), lambda a=client, b=server: self.answers(a, b)):
                threading.Thread(target=work, daemon=True).start()

    def answers(self, client, server):
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        self.close(client)
        self.close(server)

    def requests(self, client, server):
        """Request by request, so that each part is seen."""
        try:
            stream = client.makefile("rb")
            while head := self.head(stream):
                size = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
                line = urllib.parse.unquote(head.split(b"\r\n", 1)[0].decode("latin-1"))
                if self.look:
                    self.look(line)
                if FOLDER in line and line.startswith("POST /files"):
                    if not self.part(line, head, int(size[1]), stream, server):
                        break
                    continue
                server.sendall(head)
                if size is None and re.search(rb"\r\ntransfer-encoding:", head, re.I):
                    raise OSError("a body without a length")
                self.copy(stream, server, int(size[1]) if size else 0)
        except OSError:
            pass
        self.close(client)
        self.close(server)

    @staticmethod
    def head(stream):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return b""
            head += line
        return head

    @staticmethod
    def copy(stream, server, size):
        while size:
            data = stream.read1(min(size, 65536))
            if not data:
                raise OSError("cut")
            server.sendall(data)
            size -= len(data)

    def part(self, line, head, size, stream, server):
        """False: the connection ends here."""
        with self.lock:
            self.begun += 1
            here = self.begun
        if here in self.at_part:
            self.at_part.pop(here)()
            return False
        server.sendall(head)
        if here == self.cut_at:
            self.copy(stream, server, size // 2)
            return False
        body = stream.read(size)
        if len(body) < size:
            return False
        if here == self.change_at:
            body = body[:size // 2] + bytes([body[size // 2] ^ 1]) + body[size // 2 + 1:]
        server.sendall(body)
        self.arrived.append(re.search(r"worktree/([^&? ]+)", line)[1])
        return True
