"""Arrays in a temporary file that is mapped into memory, whose memory is given back while nothing reads them.

OpenVINO packs a graph's weights for the processor, and keeps the graph's own copy for as long as the compiled
graph, although it reads that only when it compiles. What it frees when it has compiled, and the tensors of
the file, are given back, too.
"""

import contextlib
import ctypes
import mmap
import os
import tempfile

import numpy as np

_ALIGNMENT = 64  # bytes: OpenVINO copies constants that are aligned less


class MappedArrays:
    """Copies of float32 arrays, one after another in a temporary file without a name.

    Args:
        shapes: The shapes of the arrays that may be added.

    Raises:
        OSError: The disk is full, or this system cannot release the memory of a mapped file.
    """

    def __init__(self, shapes: list[tuple[int, ...]]):
        if not hasattr(mmap, "MADV_DONTNEED") or not hasattr(os, "posix_fallocate"):
            raise OSError("memory of a mapped file cannot be given back")
        size = sum(-(-4 * int(np.prod(shape)) // _ALIGNMENT) * _ALIGNMENT for shape in shapes)
        with tempfile.TemporaryFile() as file:
            # Without it, a full disk would end the process when the memory is written to.
            os.posix_fallocate(file.fileno(), 0, size)
            self._map = mmap.mmap(file.fileno(), size)
        self._end = 0

    def add(self, array: np.ndarray) -> np.ndarray:
        """Returns a copy of an array, any shape, float32."""
        copy = np.frombuffer(self._map, np.float32, array.size, self._end).reshape(array.shape)
        copy[...] = array
        self._end += -(-copy.nbytes // _ALIGNMENT) * _ALIGNMENT
        return copy

    def release(self) -> None:
        """Gives the memory of all arrays back to the system. What is read again comes from the file."""
        self._map.madvise(mmap.MADV_DONTNEED)


def release_freed_memory() -> None:
    """Gives memory that was freed back to the system. Of the C libraries, glibc keeps much of it."""
    with contextlib.suppress(AttributeError, TypeError):  # of other systems
        ctypes.CDLL(None).malloc_trim(0)
