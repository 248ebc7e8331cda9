"""Runs app.py of the working folder with nothing but the packages of its requirements.txt."""

import importlib.metadata
import pathlib
import re
import runpy
import sys


def needed(lines: list[str]) -> set[str]:
    """The distributions of requirements and, in turn, of what these require without extras."""
    found: set[str] = set()
    waiting = list(lines)
    while waiting:
        requirement, _, marker = waiting.pop().partition(";")
        name = re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement.strip())[0]).lower()
        if name in found or "extra" in marker:
            continue
        found.add(name)
        try:
            waiting += importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another version of Python or another system
    return found


class Others:
    """Hides every installed package that is not needed."""

    def __init__(self, lines: list[str]):
        allowed = needed(lines)
        self.hidden = {
            module
            for module, names in importlib.metadata.packages_distributions().items()
            if not {re.sub(r"[-_.]+", "-", name).lower() for name in names} & allowed
        }

    def find_spec(self, name, path=None, target=None):
        """Raises the error of a missing module."""
        if name.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Others(pathlib.Path("requirements.txt").read_text("utf-8").splitlines()))
    sys.path[0] = ""
    sys.argv = ["app.py", *sys.argv[1:]]
    runpy.run_path("app.py", run_name="__main__")
