"""Teaching: what is kept of pictures, the limits, and that no picture is tested by what it taught."""

import gc
import io
import json
import pathlib
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from resnext import teach
from resnext.classifier import Classifier
from resnext.errors import ImageError, TeachingError
from resnext.repository import BUNDLED, find_repository, load_config
from resnext.results import read_evaluation
from resnext.teach import Lessons, default_network, encode, write_model, zip_folder, zip_pictures

COLORS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 40, 210)}


def painting(color, seed: int, size=(96, 80)) -> bytes:
    """A noisy picture of one color, as a PNG file."""
    noise = np.random.default_rng(seed).integers(-30, 30, (size[1], size[0], 3))
    buffer = io.BytesIO()
    Image.fromarray((np.array(color) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sources(color, count: int, first: int = 0):
    return [lambda seed=seed: painting(COLORS[color], seed) for seed in range(first, first + count)]


@pytest.fixture
def lessons():
    return Lessons()


def taught(lessons, counts: dict[str, int]):
    lesson = lessons.begin(default_network())
    for name, count in counts.items():
        assert set(lesson.add_pictures(lesson.add_class(name).number, sources(name, count))) <= {None}
    return lesson


@pytest.fixture(scope="module")
def colors():
    """A lesson of three colors, which tests must not change."""
    return taught(Lessons(), {"red": 5, "green": 5, "blue": 4})


def test_the_default_network_sees_what_recipe_probe_sees():
    from training.recipe import RECIPES

    preprocessing, recipe = default_network().preprocessing, RECIPES["probe"]
    assert (preprocessing.image_size, preprocessing.crop_pct) == (recipe.image_size, recipe.crop_pct)
    assert RECIPES["probe"].probe_passes == teach._MAX_PASSES_OF_PROBE


def test_a_few_pictures_are_enough_for_colors(colors):
    evaluation = colors.solve().evaluation
    assert (evaluation.top1, evaluation.samples, evaluation.method) == (1, 14, "leave-one-out")
    assert colors.solve().misfits == ()
    result = colors.classify(painting(COLORS["green"], 99))
    assert result.labels[result.probabilities.argmax()] == "green"
    assert result.unknown in (True, False)


def test_a_picture_in_the_wrong_class_is_a_misfit(lessons):
    lesson = taught(lessons, {"red": 5, "green": 5})
    lesson.add_pictures(lesson.class_named("red").number, sources("green", 1, 50))
    misfits = lesson.solve().misfits
    assert [(misfit.label, misfit.likelier) for misfit in misfits] == [("red", "green")]
    assert misfits[0].probability < 0.5
    lesson.remove_picture(misfits[0].picture.number)
    assert lesson.solve().misfits == ()


def test_nothing_is_solved_before_two_classes_have_a_picture(lessons):
    lesson = taught(lessons, {"red": 2})
    lesson.add_class("green")
    assert lesson.solve() is None
    assert lesson.classify(painting((0, 0, 0), 0)) is None
    assert lesson.detector() is None


def test_the_only_picture_of_a_class_is_not_tested(lessons):
    solution = taught(lessons, {"red": 3, "green": 3, "blue": 1}).solve()
    assert solution.untested == ("blue",)
    assert solution.evaluation.samples == 6
    assert solution.labels == ("blue", "green", "red")
    assert taught(lessons, {"red": 1, "green": 1}).solve().evaluation is None


def test_many_pictures_are_left_out_in_groups_of_all_classes():
    classes = [types.SimpleNamespace(pictures=range(count)) for count in (70, 50, 1)]
    groups = teach._groups(classes)
    assert groups[-1] == -1
    assert groups.max() + 1 == 8
    for group in range(8):
        assert {0, 1} == {int(index >= 70) for index in np.flatnonzero(groups == group)}
    alone = teach._groups([types.SimpleNamespace(pictures=range(30))] * 2)
    assert sorted(alone) == list(range(60))


def test_from_fifty_pictures_on_the_classifier_is_calibrated(monkeypatch, lessons):
    assert taught(lessons, {"red": 3, "green": 3}).solve().temperature == 1
    monkeypatch.setattr(teach, "MIN_CALIBRATION_IMAGES", 6)
    solution = taught(lessons, {"red": 3, "green": 3}).solve()
    assert solution.temperature != 1
    assert solution.evaluation.uncalibrated


@pytest.mark.parametrize(
    "name", ["", "  ", "a/b", "a\\b", "..", ".hidden", 'a"b', "x" * 61, "a\0b", "a\u202eb"]
)
def test_a_name_that_is_not_a_folders_is_refused(name, lessons):
    lesson = lessons.begin(default_network())
    with pytest.raises(TeachingError, match="choose another name"):
        lesson.add_class(name)


def test_names_are_unique_whatever_their_case_and_unicode_form(lessons):
    lesson = lessons.begin(default_network())
    number = lesson.add_class("  Café   noir ").number
    assert lesson.find(number).name == "Café noir"
    with pytest.raises(TeachingError, match="There is a class"):
        lesson.add_class("cafe\u0301 NOIR")
    lesson.rename_class(number, "café noir")
    assert lesson.add_unnamed_class("Class {number}").name == "Class 1"
    assert lesson.add_unnamed_class("Class {number}").name == "Class 2"


def test_each_limit_has_its_sentence(monkeypatch, lessons):
    monkeypatch.setattr(teach, "MAX_CLASSES", 2)
    monkeypatch.setattr(teach, "MAX_PICTURES", 3)
    lesson = taught(lessons, {"red": 3, "green": 1})
    with pytest.raises(TeachingError, match="There are 2 classes already"):
        lesson.add_class("blue")
    red, green = (lesson.class_named(name).number for name in ("red", "green"))
    assert lesson.add_pictures(red, sources("red", 1, 9)) == [
        "red has 3 pictures already: remove some first."
    ]
    monkeypatch.setattr(teach, "MAX_BYTES", lesson.size)
    assert "Your pictures take" in lesson.add_pictures(green, sources("green", 1, 9))[0]
    monkeypatch.setattr(teach, "MAX_BYTES", 2**26)
    lessons.max_bytes = lessons.size
    assert "as many pictures of visitors as it can" in lesson.add_pictures(green, sources("green", 1, 9))[0]
    assert [len(one.pictures) for one in lesson.classes] == [3, 1]


def test_a_forgotten_lesson_frees_its_memory(lessons):
    lesson = taught(lessons, {"red": 2, "green": 1})
    assert lessons.size == lesson.size > 0
    lesson.remove_class(lesson.class_named("green").number)
    picture = lesson.classes[0].pictures[0]
    lesson.remove_picture(picture.number)
    assert lessons.size == lesson.classes[0].pictures[0].size
    del lesson, picture
    gc.collect()
    assert lessons.size == 0


def test_a_copy_and_a_bad_file_are_not_added(lessons, tmp_path):
    lesson = lessons.begin(default_network())
    number = lesson.add_class("red").number
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")

    def refuse():
        raise ImageError("x is encrypted: pack it again without a password.")

    picture = sources("red", 1)[0]
    results = lesson.add_pictures(number, [picture, picture, lambda: str(bad), refuse])
    assert results[:2] == [None, ""]
    assert results[2].startswith(f"{bad} cannot be read as an image")
    assert results[3].startswith("x is encrypted")
    assert lesson.count == 1


def test_a_picture_is_kept_small_upright_and_without_metadata():
    image = Image.new("RGB", (4000, 1500), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "a camera"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    kept = Image.open(io.BytesIO(encode(buffer.getvalue())))
    assert kept.size == (320, 853)
    assert not kept.getexif()
    assert Image.open(io.BytesIO(encode(painting((9, 9, 9), 0, (50, 40))))).size == (50, 40)


def test_another_network_looks_at_all_pictures_again(lessons):
    lesson = taught(lessons, {"red": 2, "green": 2})
    before = lesson.classes[0].pictures[0]
    flowers = Classifier.from_pretrained()
    lesson.use(teach.Network("flowers", flowers))
    after = lesson.classes[0].pictures[0]
    assert after.content == before.content
    assert not np.allclose(after.features, before.features)
    assert lesson.solve().weight.shape == (2, 1024)


def test_the_model_repository_gives_the_answers_of_the_lesson(colors, tmp_path):
    folder = tmp_path / "colors"
    write_model(colors, folder)
    classifier = Classifier.from_pretrained(folder)
    assert classifier.notice == ""
    assert classifier.detector is not None
    picture = painting(COLORS["blue"], 77)
    result = colors.classify(picture)
    predictions = classifier(picture)
    assert predictions.unknown == result.unknown
    expected = dict(zip(result.labels, result.probabilities))
    for label, probability in predictions:
        assert probability == pytest.approx(expected[label], abs=1e-3)


def test_what_is_taken_home_says_that_it_was_not_tested_on_other_images(colors, tmp_path):
    folder = tmp_path / "colors"
    write_model(colors, folder)
    evaluation = read_evaluation(folder)
    assert evaluation.method == "leave-one-out"
    assert not evaluation.is_stale(folder)
    assert evaluation.predictions[0].file == "blue/0001.jpg"
    card = (folder / "README.md").read_text("utf-8")
    assert "by leave-one-out: each of the 14 training images" in card
    assert "model-index" not in card
    assert (folder / "figures" / "heatmap.png").is_file()
    recipe = json.loads((folder / "recipe.json").read_text("utf-8"))
    assert recipe["class_images"] == {"train": [4, 5, 5]}
    assert recipe["pretrained"]["name"] == "tiny-imagenet (bundled)"


def test_fit_takes_the_recipe_and_the_pictures(colors, tmp_path):
    from training.data import check_trainable, find_images
    from training.recipe import find_recipe

    write_model(colors, tmp_path / "colors")
    recipe = find_recipe(str(tmp_path / "colors" / "recipe.json"))
    assert (recipe.epochs, recipe.image_size, recipe.crop_pct) == (0, 160, 0.875)
    zip_pictures(colors, tmp_path / "pictures.zip")
    zipfile.ZipFile(tmp_path / "pictures.zip").extractall(tmp_path)
    data = find_images(tmp_path / "pictures")
    check_trainable(data)
    assert sorted(data.label_names) == ["blue", "green", "red"]
    assert len(data.merged()) == 14


def test_a_packed_model_is_one_folder(colors, tmp_path):
    write_model(colors, tmp_path / "in" / "colors")
    zip_folder(tmp_path / "in" / "colors", tmp_path / "colors.zip")
    names = zipfile.ZipFile(tmp_path / "colors.zip").namelist()
    assert {pathlib.PurePosixPath(name).parts[0] for name in names} == {"colors"}
    assert "colors/model.safetensors" in names


def test_nothing_is_written_before_two_classes_have_a_picture(lessons, tmp_path):
    with pytest.raises(TeachingError, match="Two classes need a picture first"):
        write_model(taught(lessons, {"red": 2}), tmp_path / "red")
    assert not (tmp_path / "red").exists()


def test_the_backbone_keeps_its_weights(colors, tmp_path):
    from resnext.repository import load_tensors

    write_model(colors, tmp_path)
    ours, theirs = (find_repository(folder) for folder in (tmp_path, BUNDLED["tiny-imagenet"]))
    ours, theirs = (load_tensors(one, load_config(one)) for one in (ours, theirs))
    different = [key for key in ours if not np.array_equal(ours[key], theirs[key])]
    assert sorted(different) == ["fc.bias", "fc.weight"]
