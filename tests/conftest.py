"""The environment of all tests, and small model repositories to try things on."""

import os
import shutil
import tempfile

# Before anything imports huggingface_hub, TensorFlow or Gradio.
os.environ |= {
    "HF_HOME": tempfile.mkdtemp(prefix="hf-home-"),
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",  # as training has it
}

import pytest
from playwright.sync_api import sync_playwright

from resnext.architecture import Architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.weights import save_tensors
from tests.helpers.repositories import random_tensors


@pytest.fixture
def tiny_config():
    """A net of four units on 64 x 64 pixels with three classes."""
    architecture = Architecture(layers=(1, 1, 1, 1), channels=(8, 16, 16, 32), cardinality=4, base_width=16)
    return ModelConfig("resnext50_32x4d", architecture, ("ant", "bee", "cat"), Preprocessing(64))


@pytest.fixture
def tiny_repository(tmp_path, tiny_config):
    """A model repository of random weights: config.json and model.safetensors."""
    folder = tmp_path / "tiny"
    tiny_config.write(folder / "config.json")
    save_tensors(
        random_tensors(tiny_config.architecture, tiny_config.num_classes), folder / "model.safetensors"
    )
    return folder


# Of Chromium; the last two are a camera without a camera.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.fail("These tests need Chromium: run `apt-get update && apt-get install -y chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()
