"""The page's parts by themselves: calibration, orders of classes, batches and words."""

import ast
import base64
import dataclasses
import io
import pathlib
import re
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from resnext.classifier import Output
from resnext.config import Preprocessing
from resnext.errors import ImageError, RepositoryError
from resnext.page import archives, cam, charts
from resnext.page.i18n import CHINESE, translate, translate_error
from resnext.page.models import Classification, Models
from resnext.page.tabs import batch
from resnext.preprocessing import open_image

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "mode, box, layer",
    [
        ("center", (20, 10, 60, 80), (64, 64)),
        ("squash", (10, 10, 80, 80), (64, 64)),
        ("border", (10, 0, 80, 100), (64, 60)),
    ],
)
def test_the_frame_is_what_the_network_saw_of_the_photograph(tiny_config, mode, box, layer):
    config = dataclasses.replace(tiny_config, preprocessing=Preprocessing(64, 0.8, crop_mode=mode))
    model = types.SimpleNamespace(
        classifier=types.SimpleNamespace(config=config, class_activation_map=lambda answer, label: np.eye(2)),
        labels=config.label_names,
    )
    classification = Classification(
        Output(*[np.zeros(3)] * 3), np.zeros((64, 64, 3), np.uint8), Image.new("RGB", (160, 120)), 0.1, 0.2
    )
    page = cam.explanation_html(model, classification, 0, "en")
    assert [float(number) for number in re.findall(r"(?:left|top|width|height):([\d.]+)%", page)] == list(box)
    drawn = page.split('class="frame"')[1].split("base64,")[1].split('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(drawn))).size == layer


def test_similar_classes_are_neighbours_and_the_worst_class_comes_first():
    matrix = np.diag([9, 9, 9, 9])
    matrix[0, 2] = matrix[2, 0] = matrix[1, 3] = matrix[3, 1] = 4
    matrix[3, 0] = 1
    order = list(charts.class_order(matrix, "similar classes together"))
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(3)) == 1
    assert charts.class_order(matrix, "most confused first")[0] == 3


@pytest.mark.parametrize("classes", [2, 5, 100, 1000])
def test_the_heatmap_is_drawn_for_few_and_many_classes(classes):
    matrix = np.eye(classes, dtype=int) * 50
    for order in charts.ORDERS:
        assert charts.confusion_figure(matrix, [f"class {index}" for index in range(classes)], order).data[
            0
        ].z.shape == (classes, classes)


def test_a_zip_is_read_without_folders_and_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil.jpg", b"content")
        archive.writestr("bomb.jpg", bytes(10_000_000))
    (evil, content), (bomb, large) = archives.files_in([str(tmp_path / "all.zip")])
    assert (evil, content.read(evil)) == ("evil.jpg", b"content")
    with pytest.raises(ImageError, match="bomb.jpg is larger than"):
        large.read(bomb)
    assert not (tmp_path.parent / "evil.jpg").exists()


def test_a_zip_that_unpacks_to_too_much_or_lists_too_much_is_refused_unread(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(3):
            archive.writestr(f"{index}.jpg", bytes(1000))
    monkeypatch.setattr(archives, "MAX_UNPACKED", 2500)
    *_, (name, fault) = found = archives.files_in([str(tmp_path / "all.zip")])
    assert len(found) == 3
    assert name == "2.jpg"
    assert "all.zip unpacks to more than" in str(fault)
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 100)
    ((name, fault),) = archives.files_in([str(tmp_path / "all.zip")])
    assert name == "all.zip"
    assert "contains far more than 200 files" in str(fault)


def test_a_photograph_with_a_zip_behind_it_is_a_photograph(tmp_path):
    with zipfile.ZipFile(tmp_path / "behind.zip", "w") as archive:
        archive.writestr("inside.jpg", b"content")
    photograph = tmp_path / "photograph.jpg"
    photograph.write_bytes(b"\xff\xd8\xff" + bytes(100) + (tmp_path / "behind.zip").read_bytes())
    assert zipfile.is_zipfile(photograph)
    assert archives.files_in([str(photograph)]) == [("photograph.jpg", str(photograph))]


def test_a_spreadsheet_computes_nothing_of_the_table():
    assert batch.to_csv([batch.Row("=1+1.jpg", "rose", 0.5)]).splitlines()[1].startswith("'=1+1.jpg,")


def test_a_batch_ends_at_its_limit_and_says_so(tmp_path):
    found = archives.files_in([f"{index}.jpg" for index in range(archives.MAX_FILES + 5)])
    assert len(found) == archives.MAX_FILES + 1
    assert "Only the first 200 files" in str(found[-1][1])


def test_every_chinese_sentence_has_the_placeholders_of_the_english_one():
    for english, chinese in CHINESE.items():
        values = {word.partition("}")[0]: "1" for word in english.split("{")[1:]}
        assert translate("en", english, **values)
        assert translate("zh", english, **values)
        assert {word.partition("}")[0] for word in chinese.split("{")[1:]} <= set(values)


def test_every_word_of_the_page_has_a_translation_and_none_is_unused():
    translated, constants = set(), set()
    for file in (ROOT / "resnext" / "page").rglob("*.py"):
        if file.name == "i18n.py":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                constants.add(node.value)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("translate", "translate_lazy"):
                translated |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    assert len(translated) > 50
    assert translated - set(CHINESE) == set()
    assert set(CHINESE) - constants == set()


def test_a_fault_is_told_in_chinese_with_its_names_and_as_it_is_where_there_is_no_chinese():
    error = open_error(b"no image")
    assert translate_error("zh", error) == "The image 无法作为图像读取：不是已知的图像格式。"
    assert translate_error("en", error) == error
    with pytest.raises(RepositoryError) as refusal:
        Models([None]).open("some{one}/net")
    assert translate_error("zh", str(refusal.value)) == "本页不提供 some{one}/net：请从列表中选择。"
    assert translate_error("zh", "Something else.") == "Something else."


def open_error(content: bytes) -> str:
    with pytest.raises(ImageError) as refusal:
        open_image(content)
    return str(refusal.value)
