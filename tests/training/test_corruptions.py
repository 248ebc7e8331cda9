"""Worse photographs: each way does what it says, and the results reach evaluation.json, card and figure."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from resnext.card import write_card
from resnext.classifier import Classifier
from resnext.results import read_evaluation
from tests.training.helpers import quiet
from training.corruptions import CORRUPTIONS
from training.data import find_images
from training.evaluate import evaluate

WAYS = {corruption.name: corruption for corruption in CORRUPTIONS}


@pytest.fixture(scope="module")
def photograph():
    """A photograph of 256 x 320 pixels with edges and colors."""
    rows, columns = np.mgrid[0:256, 0:320]
    pixels = np.stack([rows % 256, columns * 255 // 319, (rows // 16 + columns // 16) % 2 * 255], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def corrupted(photograph, name: str, place: int) -> np.ndarray:
    corruption = WAYS[name]
    image = corruption.corrupt(photograph, corruption.levels[place], np.random.default_rng(0))
    return np.asarray(image, float)


@pytest.mark.parametrize("name", sorted(set(WAYS) - {"small size"}))
def test_a_higher_level_changes_a_photograph_more(name, photograph):
    before = np.asarray(photograph, float)
    changes = [np.abs(corrupted(photograph, name, place) - before).mean() for place in range(4)]
    assert 0 < changes[0] < changes[1] < changes[2] < changes[3]


def test_levels_are_what_their_units_say(photograph):
    before = np.asarray(photograph, float)
    assert corrupted(photograph, "small size", 1).shape == (64, 80, 3)
    np.testing.assert_allclose(corrupted(photograph, "dark", 1), 0.4 * before, atol=1)
    gray = Image.new("RGB", (200, 200), (128, 128, 128))
    noisy = corrupted(gray, "noise", 1)
    assert noisy.std() == pytest.approx(0.08 * 255, rel=0.02)
    contrast = corrupted(photograph, "low contrast", 1)
    assert contrast.std() == pytest.approx(0.4 * before.std(), rel=0.05)


def test_the_accuracies_are_in_the_evaluation_the_card_and_a_figure(tuned, photographs, tmp_path):
    output = shutil.copytree(tuned, tmp_path / "tuned")
    classifier = Classifier.from_pretrained(output, precision="float32")
    lines = []
    evaluate(find_images(photographs), classifier, output, corruptions=True, report=lines.append)
    evaluation = read_evaluation(output)
    assert len(evaluation.corruptions) == 1 + sum(len(way.levels) for way in CORRUPTIONS)
    assert evaluation.corruptions[0].name == "none"
    assert evaluation.corruptions[0].top1 == evaluation.top1
    assert (output / "figures" / "corruptions.png").is_file()
    assert any(line.startswith("JPEG compression (quality)  50: ") for line in lines)
    write_card(output)
    card = (output / "README.md").read_text()
    assert "| JPEG compression (quality) | 50: " in card
    assert "![Top-1 accuracy on worse images](figures/corruptions.png)" in card
    # They stay while weights and images are the same.
    evaluate(find_images(photographs), classifier, output, report=quiet)
    assert read_evaluation(output).corruptions == evaluation.corruptions
    assert (output / "figures" / "corruptions.png").is_file()
    dataclasses.replace(evaluation, weights_sha256="0" * 64).write(output)
    evaluate(find_images(photographs), classifier, output, report=lines.append)
    assert (
        "The earlier results of --corruptions are of other weights or images, so they are dropped." in lines
    )
    assert read_evaluation(output).corruptions == ()
    assert not (output / "figures" / "corruptions.png").exists()
