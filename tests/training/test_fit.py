"""Training: which weights are kept, labels and losses, precision, and batches that do not fit into memory."""

import dataclasses
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnext.classifier import Classifier
from resnext.config import ModelConfig
from resnext.errors import ConfigError
from resnext.results import best_epoch, read_history
from resnext.weights import read_tensors
from tests.helpers.photographs import CLASSES, paint
from tests.helpers.training import RECIPE
from tests.training.helpers import quiet, train
from training import fit as module
from training import run_folder
from training.data import find_images
from training.evaluate import evaluate
from training.fit import fit
from training.losses import make_accuracy, make_loss
from training.run_folder import RunFolder, make_record


@pytest.mark.slow
def test_only_the_weights_with_the_lowest_validation_loss_are_kept(photographs, base, tmp_path, monkeypatch):
    saved = []
    save_tensors = run_folder.save_tensors

    def counting(*arguments):
        saved.append(len(read_history(tmp_path / "out")))
        save_tensors(*arguments)

    monkeypatch.setattr(run_folder, "save_tensors", counting)
    recipe = dataclasses.replace(RECIPE, epochs=4, learning_rate=0.5)
    train(photographs, tmp_path / "out", recipe, pretrained=base)
    rows = read_history(tmp_path / "out")
    assert saved == [row["epoch"] for row in rows if row is best_epoch(rows[: row["epoch"]])]
    assert saved[-1] == best_epoch(rows)["epoch"]


@pytest.mark.slow
def test_training_from_scratch_learns_colors(photographs, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=8, jitter=0.0, mixup=0.0, cutmix=0.0, learning_rate=0.1)
    train(photographs, tmp_path / "out", recipe)
    classifier = Classifier.from_pretrained(tmp_path / "out", precision="float32")
    result = evaluate(find_images(photographs), classifier, tmp_path / "out", report=quiet)
    assert result.top1 >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["int", "binary"])
def test_int_and_binary_labels_train(labels, base, tmp_path):
    data = paint(tmp_path / "two", {"blue": CLASSES["blue"], "red": CLASSES["red"]})
    recipe = dataclasses.replace(RECIPE, labels=labels, mixup=0.0, cutmix=0.0, label_smoothing=0.0, epochs=1)
    train(data, tmp_path / "out", recipe, pretrained=base)
    assert 0 <= read_history(tmp_path / "out")[0]["val_accuracy"] <= 1
    assert ModelConfig.read(tmp_path / "out" / "config.json").label_names == ("blue", "red")


def test_binary_loss_and_accuracy_are_those_of_two_classes():
    logits = np.random.default_rng(0).normal(0, 3, (16, 2)).astype("float32")
    labels = np.arange(16) % 2
    column = labels[:, None].astype("float32")
    expected = float(make_loss("int")(labels, logits))
    assert float(make_loss("binary")(column, logits)) == pytest.approx(expected, rel=1e-5)
    expected = float(make_accuracy("int")(labels, logits))
    assert float(make_accuracy("binary")(column, logits)) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_and_stores_finite_weights(photographs, base, tmp_path, precision):
    recipe = dataclasses.replace(RECIPE, epochs=1, precision=precision)
    try:
        train(photographs, tmp_path / "out", recipe, pretrained=base)
        assert keras.config.dtype_policy().name == "float32", "the policy of the process is restored"
    finally:
        keras.config.set_dtype_policy("float32")
    tensors = read_tensors(tmp_path / "out" / "model.safetensors")
    assert all(np.isfinite(value).all() for value in tensors.values())


def out_of_memory(*_, **__):
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def test_running_out_of_memory_is_an_error_that_names_the_options(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(module.Training, "run", out_of_memory)
    with pytest.raises(ConfigError, match="Out of memory at batch size 8 .* smaller --batch-size"):
        train(photographs, tmp_path / "a", RECIPE)


def test_automatic_batch_size_is_halved_until_it_is_1(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(module.Training, "run", out_of_memory)
    lines = []
    with pytest.raises(ConfigError, match="Out of memory at batch size 1 "):
        # Paths may be strings, too.
        fit(find_images(str(photographs)), str(tmp_path / "b"), RECIPE, halve_batch=True, report=lines.append)
    expected = [f"Out of memory at batch size {size}" for size in (8, 4, 2)]
    assert [line.split(":")[0] for line in lines[1:]] == expected


def test_halved_and_resumed_batches_scale_the_learning_rate(photographs, tmp_path, monkeypatch):
    tried = []

    def fits_3_but_is_killed_once(training, *_):
        recipe = training.recipe
        tried.append((recipe.batch_size, recipe.learning_rate))
        if recipe.batch_size > 3:
            out_of_memory()
        if tried.count(tried[-1]) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.Training, "run", fits_3_but_is_killed_once)
    recipe = dataclasses.replace(RECIPE, batch_size=25, learning_rate=0.05)
    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train(photographs, output, recipe, halve_batch=True)
    train(photographs, output, recipe, halve_batch=True, resume=True)

    # A run that was killed before memory ran out starts with the whole batch size.
    shutil.rmtree(output)
    record = make_record(find_images(photographs), recipe, None, "", ())
    RunFolder(output).claim(record, resume=False)
    train(photographs, output, recipe, halve_batch=True, resume=True)

    assert [size for size, _ in tried] == [25, 12, 6, 3, 3, 25, 12, 6, 3]
    assert all(rate == 0.05 * size / 25 for size, rate in tried)


@pytest.mark.slow
def test_a_callback_that_stops_the_training_ends_the_run(photographs, base, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    recipe = dataclasses.replace(RECIPE, epochs=3)
    output = train(photographs, tmp_path / "out", recipe, pretrained=base, callbacks=[Stop()])
    assert [row["epoch"] for row in read_history(output)] == [1]
    assert RunFolder(output).state == "trained"


def test_more_accumulated_steps_than_the_run_has_are_refused(photographs, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=2, batch_size=18, accumulate=5)
    with pytest.raises(ConfigError, match="The run has 4 steps, and the weights change after 5: choose"):
        train(photographs, tmp_path / "out", recipe)
    module.resolve(find_images(photographs), dataclasses.replace(recipe, accumulate=4), None)


def test_fewer_images_than_devices_are_refused(photographs, tmp_path, monkeypatch):
    devices = types.SimpleNamespace(num_replicas_in_sync=40)
    monkeypatch.setattr(module, "find_strategy", lambda: devices)
    with pytest.raises(ConfigError, match="36 training images cannot be shared by 40 devices: add images"):
        train(photographs, tmp_path / "out", dataclasses.replace(RECIPE, batch_size=40))


def test_binary_labels_for_three_classes_are_refused(photographs, tmp_path):
    recipe = dataclasses.replace(RECIPE, labels="binary", mixup=0.0, cutmix=0.0)
    with pytest.raises(ConfigError, match="two classes"):
        train(photographs, tmp_path / "out", recipe)
