"""The include rule: docs/ARCHITECTURE.md's table of rooms against every #include and every link line."""
import re

from .tree import Problem

NAME = "rooms include and link only what docs/ARCHITECTURE.md allows"

TABLE_HEAD = "| folder | holds | rooms | libraries |"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
# What a header of a third party is called in the table: first match wins.
LIBRARY_OF_HEADER = [
    ("caf", r"caf/"), ("zmq", r"zmq(_addon)?\.h(pp)?$"), ("curl", r"curl/"), ("sqlite", r"sqlite3"),
    ("beast", r"boost/"), ("archive", r"archive(_entry)?\.h$"), ("msgpack", r"msgpack"),
    ("json", r"nlohmann/"), ("cli11", r"CLI/"), ("spdlog", r"spdlog/"), ("toml", r"toml\+\+/"),
    ("zstd", r"zstd"), ("openssl", r"openssl/"), ("zlib", r"zlib\.h$"), ("catch", r"catch2/"),
    ("lzma", r"lzma\.h$"), ("bz2", r"bzlib\.h$"), ("isal", r"isa-l"), ("hyperscan", r"hs(_runtime|_compile)?\.h$"),
]
LIBRARY_OF_TARGET = [
    (r"skep_dep_(\w+)$", None), (r"OpenSSL::", "openssl"), (r"ZLIB::", "zlib"), (r"Threads::", ""),
    (r"PkgConfig::(\w+)$", None), (r"(?:dl|rt|m|util|pthread|stdc\+\+fs)$", ""),
]


class Room:
    """One row of the table."""

    def __init__(self, folder, rooms, libraries):
        self.folder = folder
        self.everything = "all" in rooms.split()
        names = re.findall(r"`([^`]+)`", rooms)
        self.rooms = {n for n in names if n.endswith("/")}
        self.links = {n for n in names if n.startswith("skep_")}
        self.headers = set(names) - self.rooms - self.links
        alone = re.findall(r"`(\w+)` in `([^`]+)` alone", libraries)
        self.only_in = {}
        for library, header in alone:
            self.only_in.setdefault(library, set()).add(folder + header)
        plain = re.sub(r"`\w+` in `[^`]+` alone", "", libraries)
        self.libraries = set(re.findall(r"`([^`]+)`", plain))

    def may_use(self, library, path):
        return self.everything or library in self.libraries or path in self.only_in.get(library, ())

    def may_include(self, room, header):
        return (self.everything or room == self.folder or room in self.rooms or header in self.headers)


def read_table(tree):
    """{folder: Room} of the table in docs/ARCHITECTURE.md."""
    text = tree.text("docs/ARCHITECTURE.md")
    if TABLE_HEAD not in text:
        return {}
    rooms = {}
    for line in text[text.index(TABLE_HEAD):].splitlines()[2:]:
        if not line.startswith("|"):
            break
        cells = [c.strip() for c in line.strip("|").split("|")]
        folder = re.match(r"`([^`]+/)`", cells[0])
        if folder and len(cells) == 4:
            rooms[folder.group(1)] = Room(folder.group(1), cells[2], cells[3])
    return rooms


def room_of(path, rooms):
    """The row a path belongs to: the longest folder that contains it."""
    return max((f for f in rooms if path.startswith(f)), key=len, default=None)


def library_of_header(header):
    return next((name for name, pattern in LIBRARY_OF_HEADER if re.match(pattern, header)), None)


def check_includes(tree, rooms):
    for path in tree.cxx():
        own = room_of(path, rooms)
        if own is None:
            if "/" in path:
                yield Problem(path, 0, "this folder is not in the table of rooms")
            continue
        room = rooms[own]
        for number, line in tree.lines(path):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match.group(2)
            library = library_of_header(header)
            if library:
                if not room.may_use(library, path):
                    yield Problem(path, number, f"{own} may not include {library} (<{header}>)")
                continue
            target = room_of(header, rooms)
            if match.group(1) == '"' and target and not room.may_include(target, header):
                yield Problem(path, number, f"{own} may not include {target} (\"{header}\")")
            if match.group(1) == '"' and not target and "/" not in header and not own.startswith("tests/"):
                yield Problem(path, number, f'includes go from the top of the tree: "{header}"')


def link_lines(tree):
    """(cmake file, line, target, linked name, declaring?) for every link line of the rooms."""
    call = re.compile(r"\b(skep_library|skep_program|target_link_libraries)\s*\(\s*(\S+)([^)]*)\)", re.DOTALL)
    for path in tree.files:
        if not path.endswith("CMakeLists.txt") or path.startswith("tests/"):
            continue
        text = re.sub(r"#[^\n]*", "", tree.text(path))
        for match in call.finditer(text):
            kind, target, rest = match.groups()
            line = text.count("\n", 0, match.start()) + 1
            if kind == "target_link_libraries":
                names = rest.split()
            else:
                names = rest.split("LINKS", 1)[1].split() if "LINKS" in rest else []
            yield path, line, kind, target, [n for n in names if n not in ("PUBLIC", "PRIVATE", "INTERFACE", "SOURCES")]


def check_links(tree, rooms):
    lines = list(link_lines(tree))
    home = {target: path for path, _, kind, target, _ in lines if kind == "skep_library"}
    for path, number, _, target, names in lines:
        # A library below its room's CMakeLists (broker/client) counts where its own file lies.
        own = room_of(home.get(target, path), rooms)
        if own is None or rooms[own].everything:
            continue
        room = rooms[own]
        subrooms = {f for f in rooms if f.startswith(own)}
        for name in names:
            if name in home:
                other = room_of(home[name], rooms)
                allowed = other in room.rooms or other in subrooms or name in room.links
                if not allowed:
                    yield Problem(path, number, f"{target} of {own} may not link {name} of {other}")
                continue
            for pattern, library in LIBRARY_OF_TARGET:
                match = re.match(pattern, name)
                if match:
                    library = match.group(1) if library is None else library
                    used = library and not (room.may_use(library, "") or library in room.only_in
                                            or any(rooms[s].may_use(library, "") for s in subrooms))
                    if used:
                        yield Problem(path, number, f"{target} of {own} may not link {library}")
                    break


def run(tree):
    rooms = read_table(tree)
    if not rooms:
        return [Problem("docs/ARCHITECTURE.md", 0, f"no table of rooms ('{TABLE_HEAD}')")]
    missing = [Problem("docs/ARCHITECTURE.md", 0, f"the table names a folder that is not there: {f}")
               for f in rooms if f.count("/") == 1 and not any(p.startswith(f) for p in tree.files)]
    return missing + list(check_includes(tree, rooms)) + list(check_links(tree, rooms))
