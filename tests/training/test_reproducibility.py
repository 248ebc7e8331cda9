import dataclasses
import hashlib

import pytest

from resnext.results import read_history
from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE
from training.data import find_images
from training.fit import fit
from training.run_folder import Checkpoint

pytestmark = pytest.mark.slow

# Everything that draws random numbers: initial weights, order, augmentation, stochastic depth.
RANDOM = dataclasses.replace(RECIPE, epochs=2, train_size=28, image_size=32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return find_images(paint(tmp_path_factory.mktemp("data")))


def digest(folder):
    """What a run has made: its weights, and its history without the seconds."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in read_history(folder)]
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), rows


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    return digest(fit(data, tmp_path_factory.mktemp("runs") / "run", RANDOM, report=lambda line: None))


def test_the_same_seed_gives_the_same_run_bit_for_bit(data, undisturbed, tmp_path):
    assert digest(fit(data, tmp_path / "again", RANDOM, report=lambda line: None)) == undisturbed


def test_another_seed_gives_another_run(data, undisturbed, tmp_path):
    other = dataclasses.replace(RANDOM, seed=1)
    assert digest(fit(data, tmp_path / "other", other, report=lambda line: None)) != undisturbed


def test_a_resumed_run_is_the_undisturbed_run(data, undisturbed, tmp_path, monkeypatch):
    save = Checkpoint.save

    def save_and_stop(checkpoint, model, epoch):
        save(checkpoint, model, epoch)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "run", RANDOM, report=lambda line: None)
    monkeypatch.setattr(Checkpoint, "save", save)
    assert digest(fit(data, tmp_path / "run", RANDOM, resume=True, report=lambda line: None)) == undisturbed
