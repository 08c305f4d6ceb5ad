"""A proxy before a sandbox host that keeps every answer until it is whole: calls work, streams never begin.

    with HoldingProxy(host_url) as proxy:
        proxy.url
"""
import re

from cutting_proxy import CuttingProxy


class HoldingProxy(CuttingProxy):
    def answers(self, client, server):
        try:
            stream = server.makefile("rb")
            while head := self.head(stream):
                client.sendall(head + self.body(head, stream))
        except OSError:
            pass
        self.close(client)
        self.close(server)

    @staticmethod
    def body(head, stream):
        """All of it: by its length, by chunks up to the last one, or up to the end of the connection."""
        if re.match(rb"HTTP/1\.1 (1\d\d|204|304)", head):
            return b""
        if size := re.search(rb"\r\ncontent-length: *(\d+)", head, re.I):
            return stream.read(int(size[1]))
        if not re.search(rb"\r\ntransfer-encoding: *chunked", head, re.I):
            return stream.read()
        whole = b""
        while line := stream.readline():
            whole += line
            size = int(line.split(b";")[0], 16)
            whole += stream.read(size + 2)
            if size == 0:
                return whole
        raise OSError("cut")
