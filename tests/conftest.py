"""The environment of all tests, a small model repository, and the browser."""

import functools
import gc
import os
import pathlib
import ssl
import tempfile

# Before anything imports huggingface_hub, TensorFlow or Gradio.
os.environ |= {
    "HF_HOME": tempfile.mkdtemp(prefix="hf-home-"),
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",  # as training sets it
    # JAX compiles each operation for one call.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
}
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the processor: with a thread for each core, they would wait for each other.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, (str(pathlib.Path(__file__).parent / "helpers" / "startup"), os.environ.get("PYTHONPATH")))
)

import pytest

from resnext.architecture import Architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.weights import save_tensors
from tests.helpers.repositories import random_tensors
from tests.helpers.startup import sitecustomize  # noqa: F401  (for this process, too)

# Each client of the Hub and of a page loads all certificate authorities, which takes 20 ms.
ssl.create_default_context = functools.cache(ssl.create_default_context)


@pytest.fixture(scope="session")
def tiny_config():
    """A network of four residual units for images of 64 x 64 pixels and three classes."""
    architecture = Architecture(layers=(1, 1, 1, 1), channels=(8, 16, 16, 32), cardinality=4, base_width=16)
    return ModelConfig("resnext50_32x4d", architecture, ("ant", "bee", "cat"), Preprocessing(64))


@pytest.fixture(scope="session")
def make_tiny_repository(tiny_config):
    """Writes a model repository with random weights, always the same: config.json and model.safetensors."""

    def make(folder):
        tiny_config.write(folder / "config.json")
        tensors = random_tensors(tiny_config.architecture, tiny_config.num_classes)
        save_tensors(tensors, folder / "model.safetensors")
        return folder

    return make


@pytest.fixture
def tiny_repository(tmp_path, make_tiny_repository):
    """A model repository with random weights, which the test may change."""
    return make_tiny_repository(tmp_path / "tiny")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium.

    Of a module, not of the session: while Playwright runs, its thread cannot start another event loop, which
    tests of other modules do.
    """
    # Imported here so that tests that use no browser also run where Playwright is not installed.
    from playwright.sync_api import expect, sync_playwright

    from tests.helpers.browsers import launch_chromium
    from tests.helpers.pages import PATIENCE

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser):
    """The context of an English visitor, whose pages share a cache: the second page loads sooner."""
    context = browser.new_context()
    yield context
    context.close()


def pytest_collection_modifyitems(items):
    """Marks every test that uses the browser."""
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker("browser")


def pytest_sessionfinish():
    """Collects garbage once. Pytest then does so five times: seconds, for all that TensorFlow holds."""
    gc.collect()
    gc.freeze()
