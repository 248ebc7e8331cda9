"""Memory-mapped arrays: values, a full disk, and the release of freed memory."""

import errno
import os
import platform

import numpy as np
import pytest

from resnext.classifier import Classifier
from resnext.mapped import MappedArrays, release_freed_memory
from resnext.openvino_graph import arrays_for

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="Linux gives such memory back")


def resident() -> int:
    """The memory of this process in bytes, without what it shares with others."""
    with open("/proc/self/smaps_rollup") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("Rss"))


def test_arrays_keep_their_values_without_memory():
    shapes = [(3, 5), (4_000_000,), ()]
    arrays = MappedArrays(shapes)
    values = [np.random.default_rng(0).random(shape, np.float32) for shape in shapes]
    copies = [arrays.add(np.asarray(value, np.float32)) for value in values]
    assert all(copy.ctypes.data % 64 == 0 for copy in copies)
    before = resident()
    arrays.release()
    assert before - resident() > 12_000_000
    for copy, value in zip(copies, values):
        assert np.array_equal(copy, value)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc keeps freed memory")
def test_freed_memory_is_given_back():
    blocks = [b"x" * 100_000 for _ in range(500)]
    kept = blocks.pop()  # above the others: without it, glibc would give them back by itself
    blocks.clear()
    before = resident()
    release_freed_memory()
    assert before - resident() > 20_000_000
    assert len(kept) == 100_000


def test_a_full_disk_leaves_the_weights_in_memory(monkeypatch, tiny_config, tiny_repository):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    expected = Classifier.from_pretrained(tiny_repository, precision="float32")
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert arrays_for(tiny_config) is None
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(classifier.run(pixels).logits, expected.run(pixels).logits)


def test_several_images_at_once_get_the_same_output_as_one(tiny_repository):
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    graph = classifier.throughput_model()
    assert np.allclose(graph({"images": pixels[None]})["logits"][0], classifier.run(pixels).logits, atol=1e-5)
