"""The tab of many photographs, without a server."""

import pathlib

import gradio as gr
import pytest

from resnext.page.tabs import batch
from tests.helpers.photographs import save_image
from tests.helpers.repositories import FLOWERS


def test_a_spreadsheet_computes_no_cell_of_the_csv():
    assert batch.to_csv([batch.Row("=1+1.jpg", "rose", 0.5)]).splitlines()[1].startswith("'=1+1.jpg,")


def test_files_become_a_table_and_a_csv_file(models, tmp_path, ask):
    (tmp_path / "notes.jpg").write_text("no image")
    photograph = save_image(tmp_path / "photograph.jpg")
    tab = batch.BatchTab(models)
    table, download = tab.classify_files([str(photograph), str(tmp_path / "notes.jpg")], "flowers", ask())
    assert "2 files, 1 of them could not be read." in table
    assert "notes.jpg cannot be read as an image" in table
    header, good, bad = pathlib.Path(download.value["path"]).read_text("utf-8").splitlines()
    assert header == "file,label,probability,error,unknown"
    assert good.split(",")[1] in FLOWERS
    assert bad.startswith("notes.jpg,,,")
    assert str(tmp_path) not in table + bad


def test_without_files_there_is_neither_table_nor_csv(models, ask):
    table, download = batch.BatchTab(models).classify_files([], "flowers", ask())
    assert table == ""
    assert not download.visible


def test_a_file_of_none_of_the_classes_is_marked(refusing_models, tmp_path, ask):
    photograph = save_image(tmp_path / "photograph.jpg")
    tab = batch.BatchTab(refusing_models)
    table, download = tab.classify_files([str(photograph)], "flowers", ask())
    assert "(looks like none of the classes)" in table
    assert pathlib.Path(download.value["path"]).read_text("utf-8").splitlines()[1].endswith(",,yes")
    row = batch.classify_file(refusing_models.open("flowers"), "photograph.jpg", str(photograph))
    assert batch._as_dict(row)["unknown"] is True


@pytest.mark.parametrize("files", ["a.jpg", ["a.jpg"], [{"name": "a.jpg"}]])
def test_a_batch_of_a_wrong_type_is_refused(models, files):
    with pytest.raises(gr.Error, match="files has to be a list of files"):
        batch.BatchTab(models).classify_batch(files)
