import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save

from resnext.errors import DataError
from tests.training.helpers import evaluate_quietly, write_network
from tests.training.test_data import COMPOSED, DECOMPOSED, paint, paint_splits
from training.data import find_images
from training.provenance import choose_test_images, save_training_images


def record(folder, data, training_images=True):
    """Writes what `fit` records of the data set that it trains on."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps({"dataset": {"fingerprint": data.fingerprint()}}))
    if training_images:
        save_training_images(folder, data)
    return folder


def choose(data, model):
    """The test images that are chosen, how many are known, and the lines that are reported."""
    lines = []
    chosen, overlap = choose_test_images(data, model, lines.append)
    return chosen.splits["test"], overlap, lines


@pytest.fixture
def single(tmp_path):
    """A folder of classes."""
    for label in ("ant", "bee"):
        paint(tmp_path / "data" / label, 60)
    return tmp_path / "data"


@pytest.fixture
def splits(tmp_path):
    return paint_splits(tmp_path / "data", counts=(20, 4, 5))


@pytest.fixture
def elsewhere(tmp_path):
    """Another folder of classes, with other images."""
    for label in ("ant", "bee"):
        paint(tmp_path / "elsewhere" / label, 30, first=1000)
    return tmp_path / "elsewhere"


def test_the_folder_of_the_training_is_tested_on_its_test_split(single, tmp_path):
    data = find_images(single, seed=3)
    model = record(tmp_path / "model", data)
    test, overlap, lines = choose(find_images(single, seed=3), model)
    assert test.files == data.splits["test"].files
    assert (overlap, lines) == (0, [])


def test_copies_of_training_images_in_the_test_folder_are_counted(splits, tmp_path):
    for index in range(2):
        shutil.copy(splits / "train" / "ant" / f"{index:03}.png", splits / "test" / "ant" / f"a{index}.png")
    shutil.copy(splits / "valid" / "bee" / "000.png", splits / "test" / "bee" / "b.png")
    data = find_images(splits)
    test, overlap, lines = choose(data, record(tmp_path / "model", data))
    assert (len(test), overlap, lines) == (13, 3, [])


def test_another_folder_of_classes_is_tested_as_a_whole(single, elsewhere, tmp_path):
    model = record(tmp_path / "model", find_images(single))
    test, overlap, lines = choose(find_images(elsewhere), model)
    assert len(test) == 60
    assert overlap == 0
    assert lines == [
        f"{elsewhere} is not the data set that the model was trained on: testing on all of it (60 images)."
    ]


def test_of_another_folder_with_splits_the_test_folder_is_tested(single, tmp_path):
    model = record(tmp_path / "model", find_images(single))
    other = paint_splits(tmp_path / "other")
    test, overlap, lines = choose(find_images(other), model)
    assert {file.parts[-3] for file in test.files} == {"test"}
    assert (len(test), overlap) == (6, 0)
    assert lines == [
        f"{other} is not the data set that the model was trained on: testing on its test folder (6 images)."
    ]


def test_another_folder_with_splits_but_without_test_has_no_test_images(single, tmp_path):
    model = record(tmp_path / "model", find_images(single))
    data = find_images(paint_splits(tmp_path / "other", ("train", "val")))
    assert choose_test_images(data, model, pytest.fail) == (data, None)


def test_images_added_to_the_training_s_folder_are_tested_too(single, tmp_path):
    before = find_images(single)
    model = record(tmp_path / "model", before)
    for label in ("ant", "bee"):
        paint(single / label, 20, first=60)
    test, overlap, lines = choose(find_images(single), model)
    trained = len(before.splits["train"]) + len(before.splits["val"])
    assert set(before.splits["test"].files) < set(test.files)
    assert len(test) == 160 - trained
    assert overlap == 0
    assert lines == [
        f"{single} is not the data set that the model was trained on: testing on all of it, without "
        f"{trained} images used to train the model or to choose its weights ({160 - trained} images)."
    ]


def test_training_images_in_another_test_folder_are_left_out(single, tmp_path):
    data = find_images(single)
    model = record(tmp_path / "model", data)
    other = paint_splits(tmp_path / "other")
    shutil.copy(data.splits["train"].files[0], other / "test" / "ant" / "known.png")
    test, overlap, lines = choose(find_images(other), model)
    assert (len(test), overlap) == (6, 0)
    assert (
        "its test folder, without 1 image used to train the model or to choose its weights (6 im" in lines[0]
    )


def test_a_folder_of_training_images_alone_is_refused(single, tmp_path):
    data = find_images(single)
    model = record(tmp_path / "model", data)
    for split in ("train", "val"):
        for file in data.splits[split].files:
            (tmp_path / "known" / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "known" / file.parent.name)
    with pytest.raises(DataError) as error:
        choose(find_images(tmp_path / "known"), model)
    assert str(error.value) == (
        f"{tmp_path / 'known'} has nothing to test on, because all of it was used to train the model or to "
        "choose its weights: give other images."
    )


@pytest.mark.parametrize(
    "recipe", [None, b"{", b"{}", b'{"dataset": {"fingerprint": null}}', b'{"dataset": 3}']
)
def test_without_a_recorded_data_set_nothing_is_claimed(single, tmp_path, recipe):
    model = tmp_path / "model"
    model.mkdir()
    if recipe:
        (model / "recipe.json").write_bytes(recipe)
    test, overlap, lines = choose(find_images(single), model)
    assert (len(test), overlap) == (120, None)
    assert lines == ["It is not recorded what the model was trained on: testing on all of it (120 images)."]
    test, overlap, lines = choose(find_images(paint_splits(tmp_path / "splits")), model)
    assert (len(test), overlap, lines) == (6, None, [])


def test_without_recorded_training_images_it_is_not_known_which_are_seen(single, elsewhere, tmp_path):
    model = record(tmp_path / "model", find_images(single), training_images=False)
    test, overlap, _ = choose(find_images(elsewhere), model)
    assert (len(test), overlap) == (60, None)


NUMBERS, PAIRS = np.zeros(3, np.uint64), np.zeros((3, 2), np.uint64)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 200,
        save({"train": NUMBERS, "val": NUMBERS})[:-8],
        save({}),
        save({"train": NUMBERS}),
        save({"train": NUMBERS.astype(np.float32), "val": NUMBERS.astype(np.float32)}),
        save({"train": NUMBERS, "val": PAIRS}),
    ],
    ids=["empty", "noise", "truncated", "no tensors", "no val", "wrong dtype", "wrong shape"],
)
def test_corrupt_training_images_are_said_and_nothing_is_claimed(single, elsewhere, tmp_path, content):
    model = record(tmp_path / "model", find_images(single))
    path = next(model.rglob("training_images.safetensors"))
    path.write_bytes(content)
    test, overlap, lines = choose(find_images(elsewhere), model)
    assert (len(test), overlap) == (60, None)
    assert lines[0] == f"{path} is corrupt: images that were used to train the model cannot be recognized."


def test_sixty_new_images_of_one_class_are_all_tested(tmp_path):
    network = write_network(tmp_path / "network", ("ant", "bee", "cat"))
    paint(tmp_path / "new" / "bee", 60)
    result = evaluate_quietly(tmp_path / "new", network.folder, tmp_path / "results")
    assert result.samples == 60
    assert [row.support for row in result.per_class] == [0, 60, 0]
    assert result.confusion_matrix[1].sum() == 60
    assert {row.true for row in result.predictions} == {"bee"}


def test_classes_that_are_a_subset_of_the_model_s_are_tested(tmp_path):
    network = write_network(tmp_path / "network", ("ant", "bee", "cat", "dog"))
    for label in ("dog", "bee"):
        paint(tmp_path / "new" / label, 10)
    (tmp_path / "new" / "wasp").mkdir()  # an empty folder is not a class that the model lacks
    result = evaluate_quietly(tmp_path / "new", network.folder, tmp_path / "results")
    assert [row.support for row in result.per_class] == [0, 10, 0, 10]


def test_a_class_of_a_model_may_have_the_decomposed_form_of_a_name(tmp_path):
    network = write_network(tmp_path / "network", ("ant", DECOMPOSED))
    paint(tmp_path / "new" / COMPOSED, 3)
    result = evaluate_quietly(tmp_path / "new", network.folder, tmp_path / "results")
    assert [row.support for row in result.per_class] == [0, 3]
    paint(tmp_path / "new" / "Ant", 3)
    with pytest.raises(
        DataError, match="a class 'Ant' that the model does not have: its classes are 'ant', "
    ):
        evaluate_quietly(tmp_path / "new", network.folder, tmp_path / "results")
