"""Every C++ file is as clang-format writes it."""
import os
import re
import shutil
import subprocess

from .tree import Problem

NAME = "clang-format agrees with every C++ file"


def run(tree):
    tool = shutil.which("clang-format")
    if not tool:
        return [Problem(".clang-format", 0, "clang-format is not installed: tools/setup --for test")]
    names = tree.cxx()
    jobs = max(1, min(len(names), os.cpu_count() or 1))
    # Interleaved, so that the rooms with long files are spread over the processes.
    running = [subprocess.Popen([tool, "--dry-run", *names[i::jobs]], cwd=tree.root, text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
               for i in range(jobs)]
    first = {}
    for process in running:
        for match in re.finditer(r"^(.+?):(\d+):\d+: (?:warning|error):", process.communicate()[1], re.MULTILINE):
            first.setdefault(match.group(1), int(match.group(2)))
    return [Problem(name, line, "clang-format would change this: clang-format -i " + name)
            for name, line in sorted(first.items())]
