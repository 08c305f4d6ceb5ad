"""What every check works on: the tracked files, read once."""
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CXX = (".cpp", ".hpp", ".h", ".c")


@dataclass(frozen=True)
class Problem:
    """A finding. A warning is printed and fails nothing."""
    path: str
    line: int
    text: str
    warning: bool = False

    def __str__(self):
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {'warning: ' if self.warning else ''}{self.text}"


class Tree:
    """The files git knows or would add; generated and ignored ones are not part of the project."""

    def __init__(self, root=ROOT):
        self.root = root
        listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                 cwd=root, capture_output=True, check=True).stdout
        names = sorted({n for n in listing.decode().split("\0") if n})
        self.files = [n for n in names if (root / n).is_file() and not (root / n).is_symlink()]
        self._texts = {}

    def text(self, name):
        """The content of a file; bytes that are no UTF-8 are replaced."""
        if name not in self._texts:
            self._texts[name] = (self.root / name).read_text(errors="replace")
        return self._texts[name]

    def lines(self, name):
        """(number, line) pairs, from 1."""
        return enumerate(self.text(name).splitlines(), 1)

    def cxx(self):
        """Our C++ sources and headers."""
        return [n for n in self.files if n.endswith(CXX)]

    def scripts(self):
        """Our Python and shell scripts, by ending or by first line."""
        found = []
        for name in self.files:
            if name.endswith((".py", ".sh")):
                found.append(name)
            elif "." not in Path(name).name and self.text(name)[:2] == "#!":
                found.append(name)
        return found


def without_comments(text):
    """C++ text with comments and string literals blanked out; line numbers and columns stay."""
    out, i, size = list(text), 0, len(text)

    def blank(start, end):
        for k in range(start, min(end, size)):
            if out[k] != "\n":
                out[k] = " "

    while i < size:
        two = text[i:i + 2]
        if two == "//":
            end = text.find("\n", i)
            end = size if end < 0 else end
            blank(i, end)
            i = end
        elif two == "/*":
            end = text.find("*/", i + 2)
            end = size if end < 0 else end + 2
            blank(i, end)
            i = end
        elif text.startswith('R"', i):
            delimiter = text[i + 2:text.find("(", i)]
            end = text.find(")" + delimiter + '"', i)
            end = size if end < 0 else end + len(delimiter) + 2
            blank(i + 2, end - 1)
            i = end
        elif text[i] == '"' or (text[i] == "'" and not (i and text[i - 1].isalnum())):
            end = i + 1
            while end < size and text[end] not in (text[i], "\n"):
                end += 2 if text[end] == "\\" else 1
            blank(i + 1, end)
            i = end + 1
        else:
            i += 1
    return "".join(out)
