"""envd's /files: reading and writing whole files, in each of the ways, and by signed addresses."""
import base64
import gzip
import hashlib
import time

from suite import case
from wire import b64


def place(t):
    return t.shared.get(), t.shared.folder()


def rest_error(answer, status, word=""):
    """The error body of envd's REST: the status as a number and a message."""
    assert answer.status == status, answer
    body = answer.json()
    assert body["code"] == status and word.lower() in body["message"].lower(), body


def multipart(*parts, boundary="----skep-contract"):
    """A form: (name, filename, content) each; headers and body of the request."""
    body = b""
    for name, filename, content in parts:
        body += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
                 "Content-Type: application/octet-stream\r\n\r\n").encode() + content + b"\r\n"
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


def signature(box, path, operation, user="", expires=""):
    text = ":".join([path, operation, user, box.token] + ([str(expires)] if expires else []))
    return "v1_" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@case("what is written is read, byte for byte")
def _(t):
    box, folder = place(t)
    data = bytes(range(256)) * 4096
    (told,) = box.write(folder + "/bytes", data)
    assert told["path"] == folder + "/bytes" and told["name"] == "bytes" and told["type"] == "file", told
    answer = box.read(folder + "/bytes")
    assert answer.status == 200 and answer.body == data and answer.headers.get("accept-ranges") == "bytes", answer.headers


@case("an empty file is a file")
def _(t):
    box, folder = place(t)
    box.write(folder + "/empty", b"")
    answer = box.read(folder + "/empty")
    assert answer.status == 200 and answer.body == b"", answer


@case("writing again replaces the whole file")
def _(t):
    box, folder = place(t)
    box.write(folder + "/f", b"a longer text")
    box.write(folder + "/f", b"short")
    assert box.read(folder + "/f").body == b"short"


@case("a part of a file is 206 and says which")
def _(t):
    box, folder = place(t)
    box.write(folder + "/f", b"0123456789")
    for ask, body, told in (("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=7-", b"789", "bytes 7-9/10"),
                            ("bytes=-2", b"89", "bytes 8-9/10")):
        answer = box.read(folder + "/f", headers={"Range": ask})
        assert (answer.status, answer.body, answer.headers["content-range"]) == (206, body, told), (ask, answer.headers)


@case("a part behind the end is 416")
def _(t):
    box, folder = place(t)
    box.write(folder + "/f", b"0123456789")
    assert box.read(folder + "/f", headers={"Range": "bytes=10-"}).status == 416


@case("an unchanged file is 304 for who has it")
def _(t):
    box, folder = place(t)
    box.write(folder + "/f", b"x")
    date = box.read(folder + "/f").headers["last-modified"]
    again = box.read(folder + "/f", headers={"If-Modified-Since": date})
    assert again.status == 304 and again.body == b"", again


@case("a client that takes gzip gets the same content in it")
def _(t):
    box, folder = place(t)
    data = b"the same line over and over\n" * 1000
    box.write(folder + "/f.txt", data)
    answer = box.read(folder + "/f.txt", headers={"Accept-Encoding": "gzip"})
    assert answer.headers.get("content-encoding") == "gzip" and gzip.decompress(answer.body) == data, answer.headers
    assert len(answer.body) < len(data) // 4


@case("a file is told with its name and a type")
def _(t):
    box, folder = place(t)
    box.write(folder + "/page.html", b"<p>x</p>")
    headers = box.read(folder + "/page.html").headers
    assert "page.html" in headers["content-disposition"] and headers["content-type"].startswith("text/html"), headers


@case("what does not exist is 404 and a directory 400")
def _(t):
    box, folder = place(t)
    rest_error(box.read(folder + "/no"), 404, folder + "/no")
    box.write(folder + "/d/f", b"x")
    rest_error(box.read(folder + "/d"), 400, "directory")


@case("a form writes to the path of the query, under whatever name the part has")
def _(t):
    box, folder = place(t)
    headers, body = multipart(("file", "/home/user/other", b"form"))
    answer = box.request("POST", "/files", body, headers, query={"path": folder + "/formed"})
    assert answer.status == 200 and answer.json()[0]["path"] == folder + "/formed", answer
    assert box.read(folder + "/formed").body == b"form"


@case("a form without a path writes each part to the path in its name, making the parents")
def _(t):
    box, folder = place(t)
    headers, body = multipart(("file", folder + "/x/a", b"1"), ("file", folder[len("/home/user/"):] + "/y/b", b"2"))
    answer = box.request("POST", "/files", body, headers)
    assert [e["path"] for e in answer.json()] == [folder + "/x/a", folder + "/y/b"], answer
    assert box.read(folder + "/x/a").body == b"1" and box.read(folder + "/y/b").body == b"2"


@case("parts of another name are passed over")
def _(t):
    box, folder = place(t)
    headers, body = multipart(("note", folder + "/not", b"1"), ("file", folder + "/yes", b"2"))
    answer = box.request("POST", "/files", body, headers)
    assert [e["path"] for e in answer.json()] == [folder + "/yes"], answer
    assert box.read(folder + "/not").status == 404


@case("one form cannot write a file twice")
def _(t):
    box, folder = place(t)
    headers, body = multipart(("file", folder + "/a", b"1"), ("file", folder + "/a", b"2"))
    rest_error(box.request("POST", "/files", body, headers), 400)


@case("a form that is cut off writes nothing it does not have whole")
def _(t):
    box, folder = place(t)
    headers, body = multipart(("file", folder + "/cut", b"x" * 1000))
    rest_error(box.request("POST", "/files", body[:500], headers), 400)


@case("bytes need a path")
def _(t):
    rest_error(t.shared.get().request("POST", "/files", b"x", {"Content-Type": "application/octet-stream"}), 400, "path")


@case("a body in gzip is unpacked, one in another coding refused")
def _(t):
    box, folder = place(t)
    box.write(folder + "/f", gzip.compress(b"unpacked"), headers={"Content-Encoding": "gzip"})
    assert box.read(folder + "/f").body == b"unpacked"
    kind = {"Content-Type": "application/octet-stream", "Content-Encoding": "br"}
    rest_error(box.request("POST", "/files", b"x", kind, query={"path": folder + "/g"}), 400)


@case("gzip that is none is 400")
def _(t):
    box, folder = place(t)
    kind = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}
    rest_error(box.request("POST", "/files", b"no gzip", kind, query={"path": folder + "/f"}), 400)


@case("a body of another type is 400")
def _(t):
    box, folder = place(t)
    rest_error(box.request("POST", "/files", b"x", {"Content-Type": "text/plain"}, query={"path": folder + "/f"}), 400)


@case("writing to a directory is 400")
def _(t):
    box, folder = place(t)
    box.write(folder + "/d/f", b"x")
    kind = {"Content-Type": "application/octet-stream"}
    rest_error(box.request("POST", "/files", b"x", kind, query={"path": folder + "/d"}), 400, "directory")


@case("a path may be relative to the home directory and have every sign in it")
def _(t):
    box, folder = place(t)
    name = folder.rsplit("/", 1)[1] + "/a b+c%20&ü"
    box.write(name, b"odd")
    assert box.read("/home/user/" + name).body == b"odd"


@case("a space in the query may be a plus")
def _(t):
    box, folder = place(t)
    box.write(folder + "/a b", b"spaced")
    assert box.request("GET", f"/files?path={folder}/a+b").body == b"spaced"


@case("notes on a file come back with it, and go with the next upload")
def _(t):
    box, folder = place(t)
    (told,) = box.write(folder + "/f", b"x", headers={"X-Metadata-Colour": "blue"})
    assert told["metadata"] == {"colour": "blue"}, told
    stat = box.rpc("filesystem.Filesystem/Stat", {"path": folder + "/f"}).json()["entry"]
    assert stat["metadata"] == {"colour": "blue"}, stat
    (told,) = box.write(folder + "/f", b"y")
    assert not told.get("metadata"), told


@case("files are put together in their order, and the pieces are gone")
def _(t):
    box, folder = place(t)
    for name, data in (("1", b"one "), ("2", b"two "), ("3", b"three")):
        box.write(f"{folder}/{name}", data)
    answer = box.request("POST", "/files/compose",
                         {"source_paths": [f"{folder}/{n}" for n in "123"], "destination": folder + "/all"})
    assert answer.status == 200 and answer.json()["path"] == folder + "/all", answer
    assert box.read(folder + "/all").body == b"one two three" and box.read(folder + "/1").status == 404


# -- signed addresses --

@case("a signature opens one file for reading, without a token")
def _(t):
    box, folder = place(t)
    path = folder + "/signed"
    box.write(path, b"signed")
    good = signature(box, path, "read")
    assert box.read(path, token="", query={"signature": good}).body == b"signed"
    rest_error(box.read(path + "2", token="", query={"signature": good}), 401, "invalid signature")
    rest_error(box.read(path, token="", query={"signature": signature(box, path, "write")}), 401, "invalid signature")


@case("a signature opens one file for writing")
def _(t):
    box, folder = place(t)
    path = folder + "/signed"
    box.write(path, b"new", token="", query={"signature": signature(box, path, "write")})
    assert box.read(path).body == b"new"


@case("a signature with a user is for that user")
def _(t):
    box, folder = place(t)
    path = folder + "/signed"
    box.write(path, b"x")
    good = signature(box, path, "read", "user")
    assert box.read(path, token="", query={"username": "user", "signature": good}).status == 200
    rest_error(box.read(path, token="", query={"signature": good}), 401, "invalid signature")


@case("a signature ends when it says")
def _(t):
    box, folder = place(t)
    path = folder + "/signed"
    box.write(path, b"x")
    for expires, status in ((int(time.time()) + 60, 200), (int(time.time()) - 5, 401)):
        answer = box.read(path, token="", query={"signature": signature(box, path, "read", "", expires),
                                                 "signature_expiration": str(expires)})
        assert answer.status == status, (expires, answer)
    assert "already expired" in answer.json()["message"], answer


@case("no token and no signature is 401 in words that say which")
def _(t):
    box, folder = place(t)
    box.write(folder + "/f", b"x")
    rest_error(box.read(folder + "/f", token=""), 401, "missing signature")


@case("a wrong token is not made good by a signature")
def _(t):
    box, folder = place(t)
    box.write(folder + "/f", b"x")
    good = signature(box, folder + "/f", "read")
    rest_error(box.read(folder + "/f", token="wrong", query={"signature": good}), 401, "does not match")


@case("a user that does not exist is 401 for files")
def _(t):
    rest_error(t.shared.get().read("/tmp/x", query={"username": "nobody-here"}), 401)


@case("the Linux user of a call is told by Basic and is no secret")
def _(t):
    box = t.shared.get()
    answer = box.rpc("filesystem.Filesystem/Stat", {"path": ""}, headers={"Authorization": "Basic " + b64("user:")})
    assert answer.status == 200 and answer.json()["entry"]["path"] == "/home/user", answer
