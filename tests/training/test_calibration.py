"""The temperature: it is the optimum, it is stored in the classifier, and no prediction changes its class."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from resnext.linear_probe import softmax
from resnext.metrics import MIN_CALIBRATION_IMAGES, fit_temperature
from resnext.recipe_file import recorded_temperature
from resnext.repository import find_repository, load_config
from resnext.weights import read_tensors
from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE
from tests.training.helpers import Killed, die_when, evaluate_quietly, train
from training.calibration import calibrate
from training.data import find_images
from training.evaluate import compute_logits
from training.run_folder import RunFolder


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_of_sampled_labels_is_found(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    probabilities = softmax(logits / temperature)
    labels = (rng.random((20_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=3)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_a_network_without_mistakes_does_not_become_certain():
    labels = np.arange(60) % 3
    logits = 5.0 * np.eye(3)[labels]
    probability = softmax(logits / fit_temperature(logits, labels))[0, 0]
    assert probability == pytest.approx(61 / 62, abs=1e-6)


def test_one_class_only_and_equal_logits_end():
    assert 0 < fit_temperature(np.zeros((50, 3)), np.zeros(50, int)) < np.inf


@pytest.fixture(scope="module")
def runs(base, tmp_path_factory):
    """The same training with and without calibration, on enough validation images."""
    folder = tmp_path_factory.mktemp("runs")
    photographs = paint(folder / "colors", val=MIN_CALIBRATION_IMAGES // 3 + 1)
    outputs = [
        train(
            photographs,
            folder / str(calibrate),
            dataclasses.replace(RECIPE, epochs=1, calibrate=calibrate),
            pretrained=base,
        )
        for calibrate in (False, True)
    ]
    return photographs, *outputs


def test_the_classifier_is_divided_by_the_recorded_temperature(runs):
    _, plain, calibrated = runs
    temperature = recorded_temperature(calibrated)
    assert temperature != 1 == recorded_temperature(plain)
    before, after = (read_tensors(folder / "model.safetensors") for folder in (plain, calibrated))
    for key, value in before.items():
        expected = value.astype(np.float32) / (temperature if key.startswith("fc.") else 1)
        np.testing.assert_allclose(after[key], expected, rtol=1e-6)
    assert (
        json.loads((calibrated / "recipe.json").read_bytes())["calibration"]["images"]
        >= MIN_CALIBRATION_IMAGES
    )


def test_no_prediction_changes_its_class_and_the_loss_is_lower(runs):
    from resnext.classifier import Classifier

    photographs, plain, calibrated = runs
    files = sorted(photographs.glob("*/*/*.jpg"))
    logits = [
        compute_logits(Classifier.from_pretrained(folder, precision="float32"), files)
        for folder in (plain, calibrated)
    ]
    np.testing.assert_array_equal(np.argsort(logits[0]), np.argsort(logits[1]))
    np.testing.assert_allclose(logits[0], logits[1] * recorded_temperature(calibrated), rtol=1e-4, atol=1e-5)


def test_the_evaluation_has_the_calibration_before_and_after(runs):
    photographs, plain, calibrated = runs
    before = evaluate_quietly(photographs, plain, plain)
    after = evaluate_quietly(photographs, calibrated, calibrated)
    assert not before.uncalibrated
    assert [row.images for row in after.uncalibrated] == [row.images for row in before.calibration]
    np.testing.assert_allclose(after.uncalibrated, before.calibration, atol=1e-4)
    assert (calibrated / "figures" / "reliability.png").is_file()


@pytest.mark.parametrize(
    ("file", "after", "is_calibrated"),
    [("model.safetensors", True, False), ("recipe.json", False, False), ("recipe.json", True, True)],
)
def test_a_calibration_that_is_killed_is_recorded_of_its_weights_alone(
    file, after, is_calibrated, runs, tmp_path, monkeypatch
):
    photographs, plain, calibrated = runs
    output = shutil.copytree(plain, tmp_path / "out")
    data = find_images(photographs)
    with monkeypatch.context() as patch:
        die_when(patch, file, after)
        with pytest.raises(Killed):
            calibrate(RunFolder(output), data, print)
    assert recorded_temperature(output) == (recorded_temperature(calibrated) if is_calibrated else 1)
    # What a run that is evaluated or resumed then does: the weights of its checkpoint are written again.
    shutil.copy(plain / "model.safetensors", output)
    assert recorded_temperature(output) == 1
    assert not evaluate_quietly(photographs, output, output).uncalibrated


def test_too_few_validation_images_are_said(photographs, base, tmp_path):
    lines = []
    from training.fit import fit

    output = fit(
        find_images(photographs),
        tmp_path / "out",
        dataclasses.replace(RECIPE, epochs=1),
        pretrained=base,
        report=lines.append,
    )
    assert any("Not calibrated: 12 validation images are too few" in line for line in lines)
    assert recorded_temperature(output) == 1
    assert load_config(find_repository(output)).num_classes == 3
