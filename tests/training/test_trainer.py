"""What a training step and a validation step compute."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from resnext.pretrained import from_pretrained
from resnext.results import best_epoch, read_history
from resnext.weights import read_tensors
from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE
from tests.training.helpers import train
from training.data import find_images
from training.fit import fit
from training.optimizer import make_optimizer
from training.pipeline import validation_batches
from training.recipe import Recipe


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["categorical", "binary"])
def test_the_validation_loss_is_plain_cross_entropy(tmp_path, labels, base):
    classes = {"blue": (40, 60, 200), "red": (200, 50, 40)}
    data = find_images(paint(tmp_path / "data", classes))
    recipe = dataclasses.replace(RECIPE, labels=labels, label_smoothing=0.3, mixup=0.0, cutmix=0.0)
    output = fit(data, tmp_path / "out", recipe, pretrained=base, report=lambda line: None)
    model = from_pretrained(output)
    batches = validation_batches(
        data.splits["val"],
        2,
        dataclasses.replace(recipe, labels="int", label_smoothing=0.0),
        model.resnext_config.preprocessing,
    ).dataset
    parts = zip(*([part.numpy() for part in batch] for batch in batches))
    images, true, counted = (np.concatenate(part) for part in parts)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
        true[counted > 0], model(images[counted > 0])
    )
    # The stored weights are float16.
    assert float(loss) == pytest.approx(best_epoch(read_history(output))["val_loss"], rel=0.02)


@pytest.fixture(scope="module")
def run(photographs, base, tmp_path_factory):
    """Trains the tiny network with some settings once, and returns its history and weights."""

    @functools.cache
    def train_with(**settings):
        output = tmp_path_factory.mktemp("run") / "out"
        recipe = dataclasses.replace(RECIPE, **settings)
        train(photographs, output, recipe, pretrained=base)
        return read_history(output), read_tensors(output / "model.safetensors")

    return train_with


@pytest.mark.slow
def test_the_averaged_weights_are_validated_and_kept(run):
    _, plain = run(epochs=2, cosine=False, keep_last=True)
    rows, averaged = run(epochs=2, cosine=False, keep_last=True, ema=0.9)
    assert any(not np.array_equal(plain[key], averaged[key]) for key in plain)
    rows_without_average, nearly = run(epochs=2, cosine=False, keep_last=True, ema=1e-6)
    for key, value in plain.items():
        assert np.allclose(value, nearly[key], atol=2e-3), "an average that forgets at once is the weights"
    assert [row["loss"] for row in rows] == [row["loss"] for row in rows_without_average], "same training"


@pytest.mark.slow
def test_the_last_weights_or_the_best_ones_are_kept(run, monkeypatch):
    monkeypatch.setattr("training.fit.best_epoch", lambda rows: rows[0])
    _, first = run(epochs=1, cosine=False)
    _, best = run(epochs=2, cosine=False, keep_last=False)
    _, last = run(epochs=2, cosine=False, keep_last=True)
    assert all(np.array_equal(first[key], best[key]) for key in first)
    assert any(not np.array_equal(last[key], best[key]) for key in last)


@pytest.mark.slow
def test_patience_ends_a_run_and_is_remembered_when_it_resumes(run, tmp_path, photographs, base):
    settings = {"epochs": 30, "learning_rate": 0.0, "warmup_epochs": 0, "patience": 2, "freeze_bn": True}
    rows, _ = run(**settings)
    assert [row["epoch"] for row in rows] == [1, 2, 3]


@pytest.mark.slow
def test_balanced_classes_change_the_training_loss_alone(base, tmp_path):
    data = paint(tmp_path / "data", train=8)
    extra = paint(tmp_path / "more", {"red": (200, 50, 40)}, train=24, val=0, test=0, seed=1)
    for file in (extra / "train" / "red").iterdir():
        file.rename(data / "train" / "red" / f"more-{file.name}")
    rows = []
    for weights in ("equal", "balanced"):
        recipe = dataclasses.replace(
            RECIPE, epochs=1, learning_rate=0.0, class_weights=weights, freeze_bn=True, warmup_epochs=0
        )
        train(data, tmp_path / weights, recipe, pretrained=base)
        rows.append(read_history(tmp_path / weights)[0])
    assert rows[0]["loss"] != rows[1]["loss"]
    for name in ("accuracy", "val_loss", "val_accuracy"):
        assert rows[0][name] == rows[1][name]


def test_gradients_are_clipped_and_accumulated():
    weight = keras.Variable([0.0])
    plain = {"learning_rate": 1.0, "weight_decay": 0.0, "cosine": False}
    optimizer = make_optimizer(Recipe(**plain, clip_norm=0.5), 1, "fc")
    optimizer.apply([np.array([8.0], "float32")], [weight])
    assert weight.numpy() == pytest.approx(-0.5 * 1.9), "Nesterov's first step is 1.9 times the gradient's"
    weight.assign([0.0])
    optimizer = make_optimizer(Recipe(**plain, accumulate=2), 1, "fc")
    optimizer.apply([np.array([1.0], "float32")], [weight])
    assert weight.numpy() == 0
    optimizer.apply([np.array([3.0], "float32")], [weight])
    assert weight.numpy() == pytest.approx(-2 * 1.9)
