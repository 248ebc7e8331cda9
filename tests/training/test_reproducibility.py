import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess

import keras
import pytest

from resnext.results import read_history
from tests.helpers.forks import training_python
from tests.helpers.paths import ROOT
from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE
from tests.training.helpers import TINY, quiet, write_network
from training.data import find_images
from training.fit import fit

pytestmark = pytest.mark.slow

# Everything that draws random numbers: weights of the new classifier, order, augmentation, stochastic depth.
RANDOM = dataclasses.replace(RECIPE, epochs=2, train_size=28, image_size=32, ema=0.9)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return find_images(paint(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A tiny network with stochastic depth to start from."""
    architecture = dataclasses.replace(TINY, drop_path_rate=0.3)
    return write_network(tmp_path_factory.mktemp("start") / "base", architecture=architecture)


def digest(folder):
    """What a run has made: its weights, and its history without the seconds."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in read_history(folder)]
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), rows


@pytest.fixture(scope="module")
def undisturbed(data, start, tmp_path_factory):
    return digest(fit(data, tmp_path_factory.mktemp("runs") / "run", RANDOM, pretrained=start, report=quiet))


# Run in a process of its own, with as many threads as a user has: those of the tests may have one only.
TWICE = """
import json, pathlib, sys
from resnext.repository import find_repository
from training.data import find_images
from training.fit import fit
from training.recipe import Recipe

data, start, recipe, *outputs = sys.argv[1:]
recipe = Recipe.from_json(json.loads(recipe))
for output in outputs:
    fit(find_images(pathlib.Path(data)), pathlib.Path(output), recipe, pretrained=find_repository(start))
"""


def test_the_same_seed_gives_the_same_run_bit_for_bit(data, start, tmp_path):
    outputs = [tmp_path / "one", tmp_path / "other"]
    recipe = json.dumps(dataclasses.asdict(RANDOM))
    environment = {name: value for name, value in os.environ.items() if name != "TF_NUM_INTRAOP_THREADS"}
    command = [*training_python(), "-c", TWICE, data.root, start.folder, recipe, *outputs]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    assert digest(outputs[0]) == digest(outputs[1])


def test_another_seed_gives_another_run(data, start, undisturbed, tmp_path):
    other = dataclasses.replace(RANDOM, seed=1)
    assert digest(fit(data, tmp_path / "other", other, pretrained=start, report=quiet)) != undisturbed


def test_a_run_stopped_within_an_epoch_resumes_to_the_same_end(
    data, start, undisturbed, tmp_path, monkeypatch
):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 6:  # of four steps an epoch
                signals.append(signal.SIGINT)

    # A signal that is held back, as in the tests of interruptions, but none that may end the test's process.
    signals, lines = [], []
    monkeypatch.setattr("training.fit._signals_held", lambda: contextlib.nullcontext(signals))
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "run", RANDOM, pretrained=start, callbacks=[Stop()], report=lines.append)
    assert lines[-2:] == [
        "Stopped in epoch 2, after step 3 of 4.",
        "Continue with the same command and --resume.",
    ]
    signals.clear()
    fit(data, tmp_path / "run", RANDOM, pretrained=start, resume=True, report=lines.append)
    assert "Resuming after 1 of 2 epochs and 3 steps." in lines
    assert digest(tmp_path / "run") == undisturbed
