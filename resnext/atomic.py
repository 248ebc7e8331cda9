"""Writes files that are never incomplete: each is written beside its place, and then renamed into it."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

_PREFIX = ".writing-"
UNFINISHED = f"{_PREFIX}*"  # the pattern of files that a killed process has left


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to, which is renamed to `path` at the end, or removed on an error.

    Args:
        path: The file to write. Its folder is made if it does not exist. The path that is yielded has the
            same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    beside = pathlib.Path(name)
    try:
        yield beside
        beside.chmod(0o644)
        _flush(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes text (as UTF-8) or bytes to a file that is either complete or not there."""
    with replacing(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def _flush(path: pathlib.Path) -> None:
    """Makes the system write a file to the disk, so that a power failure after the rename cannot empty it."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
