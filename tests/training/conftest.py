"""Data sets and networks that the tests of training share, because training them takes seconds."""

import dataclasses

import pytest

from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE, run_training
from tests.training.helpers import train, write_network


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A data set of three classes that differ in color: 12 training, 4 validation and 4 test images each."""
    return paint(tmp_path_factory.mktemp("data") / "colors")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A tiny network with random weights and two other classes, which trains fast."""
    return write_network(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="session")
def trained(photographs, tmp_path_factory):
    """A network trained from scratch for two epochs by the command line, and what the command printed."""
    output = tmp_path_factory.mktemp("trained") / "colors"
    options = ("--epochs", 2, "--image-size", 41, "--batch-size", 8)
    result = run_training("fit", photographs, "--output", output, "--from-scratch", *options)
    assert result.returncode == 0, result.stderr
    return output, result.stdout


@pytest.fixture(scope="session")
def tuned(photographs, base, tmp_path_factory):
    """The tiny network, trained for one epoch."""
    output = tmp_path_factory.mktemp("tuned") / "tiny"
    command = "python -m training fit colors --output tiny --pretrained base"
    recipe = dataclasses.replace(RECIPE, epochs=1)
    return train(photographs, output, recipe, pretrained=base, commands=(command,))


def pytest_collection_modifyitems(items):
    """Marks every test of a network that the command line has trained as slow: the first one waits for it."""
    for item in items:
        if "trained" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
