import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import sys
import types

import keras
import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from resnext.classifier import Classifier
from resnext.config import Preprocessing
from resnext.errors import DataError
from resnext.preprocessing import open_image, preprocess
from resnext.pretrained import from_pretrained
from resnext.results import ImagePrediction, read_evaluation, read_history
from resnext.weights import read_tensors
from tests.helpers.hub_server import TOKEN, HubServer, environment
from tests.helpers.paths import ROOT
from tests.helpers.photographs import CLASSES, paint
from tests.helpers.training import RECIPE, run_training
from tests.training.helpers import evaluate_quietly, thumbnails
from training.cli import _command_line, _finish
from training.data import find_images
from training.evaluate import evaluate, first_predictions, measure
from training.fit import fit
from training.mistakes import MAX_MISTAKES, choose_mistakes
from training.recipe import RECIPES
from training.run_folder import RunFolder


def shows(picture, file, preprocessing):
    """Whether a picture is what the network sees of an image file, but for size and JPEG's losses."""
    seen = Image.fromarray(preprocess(open_image(file, preprocessing.resize_to), preprocessing))
    with Image.open(picture) as image:
        difference = np.asarray(image, float) - np.asarray(seen.resize(image.size))
    return np.abs(difference).mean() < 8


def mistakes(cells):
    """Predictions: so many mistakes of each cell (true, predicted), and one that is right."""
    rows = [ImagePrediction("right", "a", "a", 0.99)]
    for (true, predicted), probabilities in cells.items():
        rows += [ImagePrediction("x", true, predicted, value) for value in probabilities]
    return rows


@pytest.mark.slow
def test_a_two_epoch_training_makes_a_whole_model_repository(trained):
    output, text = trained
    assert {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()} == {
        "README.md",
        "config.json",
        "evaluation.json",
        "history.csv",
        "model.safetensors",
        "recipe.json",
        "figures/batch.png",
        "figures/curves.png",
        "figures/heatmap.png",
        "figures/reliability.png",
        "figures/samples.png",
        ".run/lock",
        ".run/state.json",
        ".run/training_images.safetensors",
        *thumbnails(output).values(),
    }
    assert "No GPU found" in text or "GPU" in text
    assert "epoch 2/2" in text
    assert "left" in text
    assert len([line for line in text.splitlines() if line.startswith("test/")]) == 10, (
        "the first ten predictions"
    )
    assert [row["epoch"] for row in read_history(output)] == [1, 2]
    for figure in (output / "figures").iterdir():
        with Image.open(figure) as image:
            assert min(image.size) > 300


def test_recipe_json_records_settings_but_no_private_folders(trained, photographs):
    output, _ = trained
    record = json.loads((output / "recipe.json").read_bytes())
    assert record["commands"] == [
        "python -m training fit colors --output colors --from-scratch --epochs 2 --image-size 41 "
        "--batch-size 8"
    ]
    assert record["recipe"] == dataclasses.asdict(
        dataclasses.replace(RECIPES["scratch"], epochs=2, image_size=41, train_size=32, batch_size=8)
    ) | {"mean": list(RECIPES["scratch"].mean), "std": list(RECIPES["scratch"].std)}
    assert record["dataset"]["fingerprint"] == find_images(photographs).fingerprint()
    assert record["dataset"]["images"] == {"train": 36, "val": 12, "test": 12}
    assert record["versions"]["keras"] == keras.__version__
    for file in ("recipe.json", "README.md", "evaluation.json", "config.json"):
        assert str(photographs.parent) not in (output / file).read_text()


@pytest.mark.slow
def test_the_card_states_the_measured_accuracy_and_shows_both_figures(trained):
    output, _ = trained
    card = ModelCard.load(output / "README.md")
    evaluation = read_evaluation(output)
    assert card.data.library_name == "timm"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.eval_results[0].metric_value == round(evaluation.top1, 4)
    assert f"Top-1 accuracy {evaluation.top1:.2%}" in card.text
    assert "figures/heatmap.png" in card.text
    assert "figures/curves.png" in card.text
    assert "timm.create_model" in card.text
    assert "python -m training fit" in card.text


def test_evaluation_json_agrees_with_the_classifier(trained, photographs):
    output, _ = trained
    result = json.loads((output / "evaluation.json").read_bytes())
    classifier = Classifier.from_pretrained(output, precision="float32")
    assert result["samples"] == len(result["predictions"]) == 12
    for row in result["predictions"]:
        best = classifier(photographs / row["file"], top_k=1)[0]
        assert row["file"].split("/")[1] == row["true"]
        assert best.label == row["predicted"]
        assert best.probability == pytest.approx(row["probability"], abs=1e-6)
    right = sum(row["true"] == row["predicted"] for row in result["predictions"])
    assert result["top1"] == right / 12
    assert np.trace(result["confusion_matrix"]) == right


def test_measure_agrees_with_a_count_by_hand():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]))
    result = measure(logits, np.array([0, 1, 1, 2]), ("a", "b", "c"), ["1", "2", "3", "4"])
    assert np.array_equal(result.confusion_matrix, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    assert result.top1 == 0.75
    assert result.top5 == 1
    assert result.loss == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.4]).mean())
    assert result.per_class[0]._asdict() == {
        "label": "a",
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "support": 1,
    }
    assert result.predictions[1] == ("2", "b", "a", pytest.approx(0.6), None)
    assert len(first_predictions(result)) == 5
    assert first_predictions(result)[2].endswith("wrong")


def test_every_confused_pair_has_one_thumbnail_before_any_has_two(monkeypatch):
    rows = mistakes({("a", "b"): [0.6, 0.9, 0.8, 0.7], ("b", "a"): [0.3, 0.35], ("c", "a"): [0.2]})
    chosen = {}
    for most in range(1, 8):
        monkeypatch.setattr("training.mistakes.MAX_MISTAKES", most)
        chosen[most] = [rows[place].probability for place in choose_mistakes(rows)]
    assert chosen == {
        1: [0.9],
        2: [0.9, 0.35],
        3: [0.9, 0.35, 0.2],
        4: [0.9, 0.8, 0.35, 0.2],
        5: [0.9, 0.8, 0.3, 0.35, 0.2],
        6: [0.9, 0.8, 0.7, 0.3, 0.35, 0.2],
        7: [0.6, 0.9, 0.8, 0.7, 0.3, 0.35, 0.2],
    }


def test_at_most_200_mistakes_have_pictures():
    rows = mistakes({("a", "b"): np.linspace(0.3, 0.9, 500).tolist(), ("b", "a"): [0.2] * 3})
    chosen = choose_mistakes(rows)
    assert len(chosen) == len(set(chosen)) == MAX_MISTAKES == 200
    assert sum(rows[place].true == "b" for place in chosen) == 3


@pytest.mark.parametrize("image_size, side", [(64, 64), (128, 96)])
def test_pictures_of_mistakes_are_what_the_network_saw(
    image_size, side, tiny_repository, tiny_config, tmp_path
):
    prep = Preprocessing(image_size)
    dataclasses.replace(tiny_config, preprocessing=prep).write(tiny_repository / "config.json")
    data = tmp_path / "data"
    for name in tiny_config.label_names:
        (data / "test" / name).mkdir(parents=True)
        for index in range(3):
            # A wide photograph on its side: colors differ from end to end, and the ends are cropped.
            ramp = np.roll([0, 60, 120], index) + np.linspace(0, 120, 400)[:, None, None]
            image, exif = Image.fromarray(np.broadcast_to(ramp, (400, 150, 3)).astype(np.uint8)), Image.Exif()
            exif[0x0112] = 6
            image.save(data / "test" / name / f"{index}.jpg", exif=exif)
    result = evaluate_quietly(data, tiny_repository, tiny_repository)
    named = thumbnails(tiny_repository)
    assert set(named) == {row.file for row in result.predictions if row.true != row.predicted}
    assert list(named.values()) == [f"mistakes/{number:04}.jpg" for number in range(1, len(named) + 1)]
    assert named
    for file, name in named.items():
        with Image.open(tiny_repository / name) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (side, side)
            assert not picture.getexif()
        assert (tiny_repository / name).stat().st_size < 6000
        assert shows(tiny_repository / name, data / file, prep)


def test_a_second_evaluation_removes_earlier_thumbnails(tiny_repository, tmp_path, monkeypatch):
    from resnext.card import write_card

    colors = dict(zip(("ant", "bee", "cat"), CLASSES.values()))
    many = paint(tmp_path / "many", colors, train=0, val=0, test=4)
    few = paint(tmp_path / "few", colors, train=0, val=0, test=1, seed=1)
    evaluate_quietly(many, tiny_repository, tiny_repository)
    folder = tiny_repository / "mistakes"
    assert len(list(folder.iterdir())) == len(thumbnails(tiny_repository)) >= 4
    write_card(tiny_repository)
    assert "misclassified images are in `mistakes/`" in (tiny_repository / "README.md").read_text()
    (folder / "notes.txt").write_text("A person's own.")
    evaluate_quietly(few, tiny_repository, tiny_repository)
    after = thumbnails(tiny_repository)
    assert {f"mistakes/{path.name}" for path in folder.iterdir()} == {*after.values(), "mistakes/notes.txt"}
    assert len(after) <= 3
    (folder / "notes.txt").unlink()
    monkeypatch.setattr("training.evaluate.choose_mistakes", lambda predictions: [])
    evaluate_quietly(few, tiny_repository, tiny_repository)
    assert thumbnails(tiny_repository) == {}
    assert not folder.exists()
    write_card(tiny_repository)
    assert "mistakes/" not in (tiny_repository / "README.md").read_text()


def test_an_interrupted_evaluation_names_no_wrong_or_missing_thumbnail(
    tiny_repository, tiny_config, tmp_path, monkeypatch
):
    class Killed(BaseException):
        pass

    def until_killed(change, steps, last):
        def step(*arguments, **options):
            if next(steps) == last:
                raise Killed
            return change(*arguments, **options)

        return step

    monkeypatch.setattr("resnext.plots.save_figure", lambda figure, path: None)
    classes = dict(zip(tiny_config.label_names, CLASSES.values()))
    turned = dict(
        zip(tiny_config.label_names, reversed(CLASSES.values()))
    )  # files of the same names, of other colors
    old = paint(tmp_path / "old", classes, train=0, val=0, test=2)
    new = paint(tmp_path / "new", turned, train=0, val=0, test=2)
    evaluate_quietly(old, tiny_repository, tiny_repository)
    first = (tiny_repository / "evaluation.json").read_bytes()
    for last in itertools.count():
        output, steps = tmp_path / f"killed after {last}", itertools.count()
        shutil.copytree(tiny_repository, output)
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            for owner, name in ((os, "replace"), (pathlib.Path, "unlink"), (Image.Image, "save")):
                patch.setattr(owner, name, until_killed(getattr(owner, name), steps, last))
            evaluate_quietly(new, tiny_repository, output)
        source = old if (output / "evaluation.json").read_bytes() == first else new
        for file, name in thumbnails(output).items():
            assert shows(output / name, source / file, tiny_config.preprocessing), (last, file)
        if next(steps) <= last:  # it was not killed
            break
    assert last > 2 * len(thumbnails(output)) > 0
    assert source == new


def test_the_bundled_model_s_pictures_are_credited_and_all_there():
    flowers = ROOT / "resnext" / "flowers"
    named, credits = thumbnails(flowers), (flowers / "examples" / "CREDITS.md").read_text()
    assert len(named) == 44
    assert {f"mistakes/{path.name}" for path in (flowers / "mistakes").iterdir()} == set(named.values())
    for file, name in named.items():
        assert f"- {name.split('/')[1]}: Flickr photo {file.split('/')[-1].split('_')[0]}, " in credits


@pytest.mark.slow
def test_a_model_from_the_hub_is_evaluated_on_its_own_test_split(photographs, base, tmp_path):
    images, output = find_images(photographs / "train", seed=7), tmp_path / "out"
    recipe = dataclasses.replace(RECIPE, epochs=1, seed=7)
    fit(images, output, recipe, pretrained=base, report=lambda line: None)
    with HubServer() as hub:
        variables = os.environ | environment(hub.url, tmp_path / "home", TOKEN)
        assert run_training("push", output, "tester/seven", env=variables).returncode == 0
        result = run_training(
            "evaluate",
            photographs / "train",
            "--model",
            "tester/seven",
            "--output",
            tmp_path / "tested",
            env=variables,
        )
    assert result.returncode == 0, result.stderr
    tested = {
        row["file"]
        for row in json.loads((tmp_path / "tested" / "evaluation.json").read_bytes())["predictions"]
    }
    assert tested == {file.relative_to(images.root).as_posix() for file in images.splits["test"].files}
    assert tested != {
        file.relative_to(images.root).as_posix()
        for file in find_images(photographs / "train").splits["test"].files
    }


@pytest.mark.parametrize(
    "content",
    [
        "epoch,loss\n1,2\n",
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n1,a,1,1,1,1,1\n1\n",
    ],
)
def test_an_invalid_history_is_named_before_images_are_classified(content, tiny_repository, photographs):
    (tiny_repository / "history.csv").write_text(content)
    with pytest.raises(DataError, match="history.csv is not a valid training history"):
        evaluate_quietly(photographs, tiny_repository, tiny_repository)
    assert not (tiny_repository / "evaluation.json").exists()


def test_a_model_with_too_many_classes_is_not_evaluated(photographs, tmp_path):
    with pytest.raises(DataError, match="has 4,001 classes, but a confusion matrix is limited to 4,000"):
        evaluate(
            find_images(photographs),
            types.SimpleNamespace(config=types.SimpleNamespace(label_names=("x",) * 4001)),
            tmp_path,
        )


def test_the_recorded_command_names_no_folder_in_either_form(monkeypatch):
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "x",
            "fit",
            "/home/me/photos",
            "--output=/home/me/secret/out",
            "--epochs=3",
            "--pretrained",
            "/home/me/base",
        ],
    )
    folders = (pathlib.Path(f"/home/me/{name}") for name in ("photos", "secret/out", "base"))
    assert (
        _command_line(list(folders))
        == "python -m training fit photos --output=out --epochs=3 --pretrained base"
    )


@pytest.mark.slow
def test_a_finished_run_is_not_overwritten(trained, photographs):
    output, _ = trained
    before = (output / "model.safetensors").read_bytes()
    result = run_training("fit", photographs, "--output", output)
    assert result.returncode == 1
    assert "choose another --output" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 or "Traceback" not in result.stderr
    assert (output / "model.safetensors").read_bytes() == before


def test_results_are_not_written_among_the_images(photographs, base):
    for command in (("evaluate", photographs, "--model"), ("quantize", "--calibration", photographs)):
        for output in (photographs, photographs / "train" / "blue"):
            result = run_training(*command, base.folder, "--output", output)
            assert result.returncode == 1
            assert result.stderr.endswith(
                f"{output} is inside of the images in {photographs}: choose another --output.\n"
            )


def test_a_run_without_test_images_says_that_it_is_not_tested(tuned, photographs, tmp_path, capsys):
    data = find_images(photographs)
    del data.splits["test"]
    run = RunFolder(shutil.copytree(tuned, tmp_path / "out"))
    _finish(run, data, None, pictures=False)
    assert capsys.readouterr().out == "Not tested: there are no test images.\n"
    assert run.state == "tested"


def test_a_test_class_that_the_model_does_not_know_is_named(trained, tmp_path):
    data = find_images(
        paint(tmp_path / "data", {"blue": (0, 0, 255), "mauve": (200, 100, 200)}, train=0, val=0, test=2)
    )
    with pytest.raises(DataError, match="mauve"):
        evaluate(data, Classifier.from_pretrained(trained[0]), tmp_path)


def test_from_pretrained_keeps_the_network_and_changes_the_classifier(trained):
    output, _ = trained
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    features = from_pretrained(output, num_classes=0)(pixels)
    tensors = read_tensors(output / "model.safetensors")
    logits = features.numpy() @ tensors["fc.weight"].T.astype("float32") + tensors["fc.bias"]
    assert np.allclose(from_pretrained(output)(pixels), logits, atol=1e-4)
    assert from_pretrained(output, num_classes=7)(pixels).shape == (2, 7)


@pytest.mark.slow
def test_fit_starts_from_pretrained_weights(tuned, photographs, tmp_path):
    output = tuned
    options = ("--epochs", 1, "--image-size", 41, "--batch-size", 8, "--learning-rate", 0, "--no-pictures")
    result = run_training("fit", photographs, "--output", tmp_path / "same", "--pretrained", output, *options)
    assert result.returncode == 0, result.stderr
    before, after = (read_tensors(folder / "model.safetensors") for folder in (output, tmp_path / "same"))
    assert all(np.array_equal(before[key], after[key]) for key in before if "running" not in key)
    record = json.loads((tmp_path / "same" / "recipe.json").read_bytes())
    assert record["pretrained"] == {"name": "tiny", "revision": None}
    assert len(record["commands"]) == 2
    assert "--pretrained tiny" in record["commands"][1]
    assert str(tmp_path) not in record["commands"][1]

    two = paint(tmp_path / "two", {"blue": CLASSES["blue"], "mauve": (200, 100, 200)})
    other = run_training("fit", two, "--output", tmp_path / "other", "--pretrained", output, *options)
    assert other.returncode == 0, other.stderr
    after = read_tensors(tmp_path / "other" / "model.safetensors")
    assert after["fc.weight"].shape[0] == 2
    assert np.array_equal(before["layer4.0.conv2.weight"], after["layer4.0.conv2.weight"])


def test_summary_sets_resnext_50_beside_resnet_50():
    result = run_training("summary", "resnext50_32x4d")
    assert result.returncode == 0
    last = result.stdout.splitlines()[-1].split()
    assert last == ["total", "25,557,032", "4.089", "G", "25,028,904", "4.230", "G"]
    assert "[1x1, 128 | 3x3, 128, C=32 | 1x1, 256] x 3" in result.stdout


def test_summary_of_layers_names_every_module():
    result = run_training("summary", "resnext50_32x4d", "--layers")
    assert "layer4.2.conv3" in result.stdout
    assert result.stdout.splitlines()[-1].split()[0] == "fc"


@pytest.mark.parametrize("command", ["fit", "evaluate", "push", "summary", "space"])
def test_every_command_has_help(command):
    result = run_training(command, "--help")
    assert result.returncode == 0
    assert "Usage: python -m training" in result.stdout


@pytest.mark.slow
def test_an_error_after_tensorflow_is_loaded_is_one_line(photographs, tmp_path):
    result = run_training("fit", photographs, "--output", tmp_path / "out", "--model", "resnext5_32x4d")
    assert (result.returncode, result.stdout) == (1, "")
    assert (
        result.stderr
        == "python -m training: Unknown architecture 'resnext5_32x4d': did you mean 'resnext50_32x4d'?\n"
    )


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (("fit", "nowhere", "--output", "x"), 1, "nowhere is not a folder"),
        (("fit", ".", "--output", "x", "--recipe", ""), 2, "'' is neither probe, finetune, scratch"),
        (("fit", ".", "--output", "x", "--model", ""), 1, "Unknown architecture ''"),
        (("fit", ".", "--output", "x", "--pretrained", ""), 1, "'' is neither a folder nor a Hub repository"),
        (
            ("fit", ".", "--output", "x", "--recipe", "secret"),
            2,
            "'secret' is neither probe, finetune, scratch, pretrain, tutorial nor a file",
        ),
        (
            ("fit", ".", "--output", "x", "--recipe", "finetune", "--from-scratch"),
            2,
            "finetune needs a network to start from: leave --from-scratch and --model out",
        ),
        (("fit", ".", "--output", "x", "--recipe", "probe", "--model", "resnet50"), 2, "--pretrained"),
        (
            ("fit", ".", "--output", "x", "--from-scratch", "--pretrained", "base"),
            2,
            "a network that starts from random weights is not pretrained",
        ),
        (("fit", ".", "--output", "x", "--layer-decay", 2), 2, "'--layer-decay'"),
        (("fit", ".", "--output", "x", "--precision", "float8"), 2, "'float8' is not one of 'auto'"),
        (("fit", ".", "--output", "x", "--seed", -1), 2, "'--seed'"),
        (("fit", ".", "--output", "x", "--batch-size", "many"), 2, "neither a number nor auto"),
        (("fit", "."), 2, "--output"),
        (("evaluate", ".", "--model", "no/where"), 1, "--output"),
        (("push", "nowhere", "me/it"), 1, "has no config.json"),
        (("summary", "resnext5_32x4d"), 1, "did you mean 'resnext50_32x4d'"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_wrong_usage_gets_one_clear_line(arguments, status, words):
    result = run_training(*arguments)
    assert result.returncode == status
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr
    assert status == 2 or len(result.stderr.splitlines()) == 1
