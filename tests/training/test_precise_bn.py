"""Precise batch norm: statistics of the training images as they are served, kept if validation is better."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnext.errors import ImageError
from resnext.keras_model import build_model
from resnext.preprocessing import load_pixels
from resnext.repository import load_config, load_tensors
from resnext.results import write_history
from resnext.weights import load_into_keras, read_tensors, save_tensors
from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE
from tests.training.helpers import Killed, train
from training import fit as fit_module
from training import precise_bn
from training.data import find_images
from training.precise_bn import compute_statistics, recompute_batch_norm
from training.run_folder import RunFolder

PRECISE = dataclasses.replace(RECIPE, epochs=1, precise_bn=1024)


@pytest.mark.parametrize("batch_size", [64, 5])
def test_the_statistics_are_the_moments_of_all_images(batch_size, base, photographs, monkeypatch):
    monkeypatch.setattr(precise_bn, "_BATCH_SIZE", batch_size)
    config = load_config(base)
    tensors = load_tensors(base, config)
    files = find_images(photographs).splits["train"].files[:15]
    new = compute_statistics(config, tensors, files, 0)
    network = build_model(config.architecture, num_classes=2, preprocessing=config.preprocessing)
    load_into_keras(network, tensors)
    stem = keras.Model(network.input, network.get_layer("bn1").input)
    pixels = np.stack([load_pixels(file, config.preprocessing) for file in files]).astype(np.float32)
    outputs = stem(tf.constant(pixels)).numpy()
    np.testing.assert_allclose(new["bn1.running_mean"], outputs.mean(axis=(0, 1, 2)), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(new["bn1.running_var"], outputs.var(axis=(0, 1, 2)), rtol=2e-3)


def test_nothing_else_changes_and_frozen_stages_keep_theirs(base, photographs):
    config = load_config(base)
    tensors = load_tensors(base, config)
    files = find_images(photographs).splits["train"].files[:8]
    new = compute_statistics(config, tensors, files, 2)
    assert {key for key in tensors if not np.allclose(new[key], tensors[key], rtol=1e-2, atol=1e-3)} == {
        key
        for key in tensors
        if key.startswith(("layer2.", "layer3.", "layer4.")) and key.endswith(("_mean", "_var"))
    }


@pytest.fixture(scope="module")
def trained_run(base, tmp_path_factory):
    """A trained network whose statistics were spoiled, its images, and its weights before."""
    folder = tmp_path_factory.mktemp("run")
    data = paint(folder / "colors")
    output = train(data, folder / "out", dataclasses.replace(RECIPE, epochs=1), pretrained=base)
    return data, output


def spoil(output):
    """Gives a network statistics that do not fit its weights."""
    tensors = read_tensors(output / "model.safetensors")
    for key in tensors:
        if key.endswith("running_mean"):
            tensors[key] = np.asarray(tensors[key] + 3, np.float32)
    save_tensors(tensors, output / "model.safetensors", "float16")


def test_better_statistics_are_kept_and_worse_ones_are_not(trained_run):
    data, output = trained_run
    images, lines = find_images(data), []
    spoil(output)
    before = (output / "model.safetensors").read_bytes()
    recompute_batch_norm(RunFolder(output), images, PRECISE, lines.append)
    better = (output / "model.safetensors").read_bytes()
    assert better != before
    assert lines[0].startswith("Batch norm statistics computed again on 36 training images: validation acc")
    recompute_batch_norm(RunFolder(output), images, PRECISE, lines.append)
    assert lines[1].endswith("so they are not kept.")  # the same ones are not better
    assert (output / "model.safetensors").read_bytes() == better


def test_statistics_that_break_the_network_are_not_kept(trained_run, monkeypatch):
    data, output = trained_run
    before = (output / "model.safetensors").read_bytes()

    def broken(config, tensors, files, freeze_at):
        return {**tensors, "bn1.running_mean": np.full_like(tensors["bn1.running_mean"], np.nan)}

    monkeypatch.setattr(precise_bn, "compute_statistics", broken)
    lines = []
    recompute_batch_norm(RunFolder(output), find_images(data), PRECISE, lines.append)
    assert lines[0].endswith("so they are not kept.")
    assert (output / "model.safetensors").read_bytes() == before


def refuse(*arguments):
    raise AssertionError("these statistics are not of this training")


def test_the_statistics_of_a_kept_probe_stay(trained_run, tmp_path, monkeypatch):
    monkeypatch.setattr(precise_bn, "compute_statistics", refuse)
    row = {"loss": 1, "accuracy": 0.5, "learning_rate": 0, "seconds": 1}
    rows = [{**row, "epoch": epoch, "val_loss": epoch, "val_accuracy": 1 - epoch / 2} for epoch in (0, 1)]
    write_history(rows, tmp_path)
    recompute_batch_norm(RunFolder(tmp_path), find_images(trained_run[0]), PRECISE, print)


@pytest.mark.parametrize(
    "settings", [{"freeze_bn": True}, {"precise_bn": 0}, {"epochs": 0, "probe_passes": 1}]
)
def test_batch_norm_that_was_not_trained_stays(settings, trained_run, monkeypatch):
    data, output = trained_run
    monkeypatch.setattr(fit_module, "recompute_batch_norm", refuse)
    recipe = dataclasses.replace(PRECISE, calibrate=False, **settings)
    fit_module._finish(RunFolder(output), find_images(data), recipe, print)


@pytest.mark.slow
def test_a_kill_after_the_statistics_were_written_is_resumed(photographs, base, tmp_path, monkeypatch):
    save, losses = precise_bn.save_tensors, itertools.count(0, -1)

    def save_and_die(*arguments):
        save(*arguments)
        raise Killed

    monkeypatch.setattr(precise_bn, "_score", lambda *arguments: (1, next(losses)))  # each better than before
    whole = train(photographs, tmp_path / "whole", PRECISE, pretrained=base)
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(precise_bn, "save_tensors", save_and_die)
        with pytest.raises(Killed):
            train(photographs, output, PRECISE, pretrained=base)
    assert RunFolder(output).state == "training"
    train(photographs, output, PRECISE, pretrained=base, resume=True)
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_an_image_that_was_removed_is_named(trained_run):
    data, output = trained_run
    images = find_images(data)
    file = images.splits["train"].files[0]
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(ImageError, match="does not exist"):
        recompute_batch_norm(RunFolder(output), images, PRECISE, print)
    file.write_bytes(content)
