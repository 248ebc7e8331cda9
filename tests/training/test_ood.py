"""Photographs of none of the classes are recognized, and that is measured, stored and said."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import safetensors
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from resnext.card import write_card
from resnext.classifier import Classifier
from resnext.cli import app
from resnext.errors import DataError, WeightsError
from resnext.ood import ACCEPTED, Detector, _whitening
from resnext.repository import OOD
from resnext.results import read_evaluation
from resnext.weights import read_tensors, write_safetensors
from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE, run_training
from tests.training.helpers import quiet
from training.cli import _unknown_files
from training.data import find_images
from training.evaluate import evaluate
from training.fit import fit
from training.ood import MIN_IMAGES, area_under_roc


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Plain, noisy colors."""
    return paint(tmp_path_factory.mktemp("data") / "colors", train=20, val=20, test=10)


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Pictures of black and white stripes, which are none of the colors, and a file that is not an image."""
    folder = tmp_path_factory.mktemp("stripes")
    for index in range(12):
        image = Image.new("RGB", (120, 120), "white")
        draw = ImageDraw.Draw(image)
        for x in range(0, 120, 12 + index):
            draw.rectangle((x, 0, x + 5, 120), "black")
        image.save(folder / f"{index}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@pytest.fixture(scope="module")
def run(data, base, tmp_path_factory):
    """A run with a detector, and the lines that it reported."""
    lines = []
    recipe = dataclasses.replace(RECIPE, epochs=1, detect_unknown=True)
    output = tmp_path_factory.mktemp("runs") / "run"
    fit(find_images(data), output, recipe, pretrained=base, report=lines.append)
    return output, lines


def test_the_detector_accepts_the_classes_and_refuses_other_things(run, data, stripes):
    output, lines = run
    assert any(line.startswith("Detector of unknown photographs: it accepts 95%") for line in lines)
    assert (output / OOD).stat().st_size < 300_000
    classifier = Classifier.from_pretrained(output)
    known = [classifier(file).unknown for file in sorted(data.glob("val/*/*.jpg"))]
    assert np.mean(known) == pytest.approx(1 - ACCEPTED, abs=0.02)
    assert all(classifier(file).unknown for file in stripes.glob("*.png"))


def test_evaluate_measures_it_and_the_card_states_it(run, data, stripes, tmp_path):
    output = shutil.copytree(run[0], tmp_path / "out")
    classifier = Classifier.from_pretrained(output, precision="float32")
    images, lines = find_images(data), []
    evaluate(images, classifier, output, report=quiet)
    assert read_evaluation(output).detection.auroc is None
    write_card(output)
    assert "It was not tested on photographs of other things." in (output / "README.md").read_text()
    evaluate(images, classifier, output, unknown=sorted(stripes.iterdir()), report=lines.append)
    detection = read_evaluation(output).detection
    assert (detection.images, detection.refused) == (12, 1)
    assert detection.auroc > 0.95
    assert detection.roc[0] == (0, 0)
    assert detection.roc[-1] == (1, 1)
    assert "Left out of the unknown photographs: 1 files that cannot be read." in lines
    assert (output / "figures" / "ood.png").exists()
    write_card(output)
    assert "refuses 100.0% of 12 photographs of other things" in (output / "README.md").read_text()
    evaluate(images, classifier, output, report=quiet)
    assert read_evaluation(output).detection == detection
    assert (output / "figures" / "ood.png").exists()
    with pytest.raises(DataError, match="None of the files given with --unknown can be read"):
        evaluate(images, classifier, output, unknown=[stripes / "broken.jpg"], report=quiet)


def test_the_command_line_says_what_is_unknown(run, data, stripes):
    known = next(data.glob("train/red/*.jpg"))
    arguments = ["classify", str(known), str(stripes / "0.png"), "--model", str(run[0])]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["unknown"] for row in rows] == [False, True]
    assert all(len(row["predictions"]) == 3 for row in rows)
    lines = CliRunner().invoke(app, arguments).stdout.splitlines()
    assert ["looks like none of the classes; " in line for line in lines] == [False, True]


def test_a_repository_without_a_detector_claims_nothing(tuned, stripes):
    classifier = Classifier.from_pretrained(tuned)
    assert classifier.detector is None
    assert classifier(stripes / "0.png").unknown is None
    result = CliRunner().invoke(app, ["classify", str(stripes / "0.png"), "--model", str(tuned), "--json"])
    assert "unknown" not in json.loads(result.stdout)


def made_for(folder):
    """What the detector of a run was made for."""
    with safetensors.safe_open(folder / OOD, "numpy") as file:
        return file.metadata()


@pytest.mark.parametrize(
    "fault", ["other weights", "other backbone", "other shape", "too few rows", "corrupt"]
)
def test_a_detector_that_does_not_fit_is_ignored_and_said(fault, run, stripes, tmp_path):
    output = shutil.copytree(run[0], tmp_path / "out")
    tensors = read_tensors(output / OOD)
    digests = made_for(output)
    if fault in ("other weights", "other backbone"):
        digests["weights_sha256" if fault == "other weights" else "backbone_sha256"] = "0" * 64
    if fault == "other shape":
        tensors["weight"] = tensors["weight"][:, :-1]
    if fault == "too few rows":
        tensors = {key: value[:1] for key, value in tensors.items()}
    write_safetensors(tensors, output / OOD, digests)
    if fault == "corrupt":
        (output / OOD).write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError):
        Detector.read(output)
    classifier = Classifier.from_pretrained(output)
    assert classifier.notice
    assert str(output / OOD) in classifier.notice
    assert classifier(stripes / "0.png").unknown is None


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: None, "is not a folder: give one with photographs of none of the classes."),
        (
            lambda path: path.mkdir(),
            "holds no images: give a folder with photographs of none of the classes.",
        ),
    ],
)
def test_a_folder_of_unknown_photographs_is_checked_first(make, words, tuned, photographs, tmp_path):
    make(tmp_path / "others")
    arguments = ("--model", tuned, "--unknown", tmp_path / "others", "--output", tmp_path / "out")
    result = run_training("evaluate", photographs, *arguments)
    assert result.returncode == 1
    assert f"{tmp_path / 'others'} {words}" in result.stderr
    assert not (tmp_path / "out").exists()


def test_what_unknown_photographs_have_beside_them_is_counted(tmp_path, capsys):
    for name in ("a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert _unknown_files(tmp_path) == [tmp_path / "a.jpg"]
    said = f"left out 1 file that is not an image: {tmp_path / 'notes.txt'}."
    assert capsys.readouterr().out == f"Of the unknown photographs: {said}\n"


def test_few_validation_images_are_said(photographs, base, tmp_path):
    lines = []
    recipe = dataclasses.replace(RECIPE, epochs=1, detect_unknown=True)
    output = fit(find_images(photographs), tmp_path / "out", recipe, pretrained=base, report=lines.append)
    assert not (output / OOD).exists()
    assert any(f"are too few, it takes {MIN_IMAGES}." in line for line in lines)


def test_the_score_is_the_log_odds_less_the_distance_to_the_nearest_class():
    rng = np.random.default_rng(0)
    weight, bias, points = rng.normal(size=(4, 6)), rng.normal(size=4), rng.normal(size=(5, 6))
    means, whitening = rng.normal(size=(3, 6)), rng.normal(size=(6, 6))
    logits = points @ weight.T + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    known = probabilities[:, :3].sum(axis=1)
    log_odds = np.log(known / (1 - known))
    distances = [min(np.square((point - mean) @ whitening).sum() for mean in means) for point in points]
    detector = Detector(weight, bias, means, whitening)
    np.testing.assert_allclose(detector.scores(points), log_odds - distances, rtol=1e-4)


def test_differences_within_classes_are_whitened():
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(20_000, 4)) * [1, 2, 2, 1] + 0.0
    whitened = differences @ _whitening(differences)
    assert np.cov(whitened.T) == pytest.approx(np.eye(4), abs=0.2)  # a tenth is shrunk


def test_the_area_under_the_roc_curve_counts_pairs():
    known, unknown = np.array([3.0, 2.0, 1.0]), np.array([2.0, 0.0])
    pairs = [1 if k > u else 0.5 if k == u else 0 for k in known for u in unknown]
    assert area_under_roc(known, unknown) == pytest.approx(np.mean(pairs))
