"""A component passes on uploads only, and loads a web address only within limits."""

import pathlib

import anyio
import gradio as gr
import pytest
from gradio.data_classes import FileData, ListFiles
from gradio.route_utils import delete_files_created_by_app
from gradio.utils import get_upload_folder

from resnext.page import uploads


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of uploads, with one file in it and one outside."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads" / "hash").mkdir(parents=True)
    (tmp_path / "uploads" / "hash" / "rose.jpg").write_bytes(b"rose")
    (tmp_path / "<b>secret.jpg").write_bytes(b"secret")
    assert get_upload_folder() == str(tmp_path / "uploads")
    return tmp_path / "uploads"


def test_an_upload_is_taken_undecoded(folder):
    path = str(folder / "hash" / "rose.jpg")
    photograph, files = gr.Image(type="filepath"), gr.File(file_count="multiple", type="filepath")
    uploads.take_uploads(photograph)
    uploads.take_uploads(files)
    assert photograph.preprocess(FileData(path=path)) == path
    assert photograph.preprocess(None) is None
    assert files.preprocess(ListFiles(root=[FileData(path=path)] * 2)) == [path, path]


@pytest.mark.parametrize(
    "form",
    ["{0}/<b>secret.jpg", "{0}/uploads/../<b>secret.jpg", "{0}/uploads/link.jpg", "/etc/passwd", "a\0b", ""],
)
def test_another_file_is_refused_by_its_name_without_its_folder(folder, form):
    (folder / "link.jpg").symlink_to(folder.parent / "<b>secret.jpg")
    with pytest.raises(gr.Error) as error:
        uploads.uploaded(form.format(folder.parent))
    assert error.value.message.endswith("was not uploaded: upload it first.")
    assert not error.value.print_exception
    assert not {"/", "<"} & set(error.value.message)


@pytest.mark.parametrize("path", [None, 3, ["a"], {"path": "a"}])
def test_what_is_not_a_path_is_refused(folder, path):
    with pytest.raises(gr.Error):
        uploads.uploaded(path)


def test_a_private_web_address_in_place_of_a_file_is_refused(folder):
    with gr.Blocks() as page:
        photograph = gr.Image(type="filepath")
    uploads.limit_downloads(page)
    with pytest.raises(gr.Error) as error:
        anyio.run(photograph.async_move_resource_to_block_cache, "http://127.0.0.1/<b>.jpg")
    assert "http://127.0.0.1/&lt;b&gt;.jpg cannot be fetched: no public website" in error.value.message
    path = str(folder / "hash" / "rose.jpg")
    assert (
        pathlib.Path(anyio.run(photograph.async_move_resource_to_block_cache, path)).read_bytes() == b"rose"
    )
    assert anyio.run(photograph.async_move_resource_to_block_cache, None) is None


def test_control_characters_in_a_file_name_are_replaced():
    assert uploads.printable("a\u202eb\x1bc\u200bd 花.jpg") == "a\ufffdb\ufffdc\ufffdd 花.jpg"


def test_a_fetched_file_is_deleted_with_the_uploads(folder, monkeypatch):
    async def fetch_image(url, folder):
        (folder / "fetched.jpg").write_bytes(b"rose")
        return folder / "fetched.jpg"

    monkeypatch.setattr(uploads, "fetch_image", fetch_image)
    with gr.Blocks() as page:
        photograph = gr.Image()
    uploads.limit_downloads(page)
    fetched = pathlib.Path(
        anyio.run(photograph.async_move_resource_to_block_cache, "https://photos.example/rose.jpg")
    )
    delete_files_created_by_app(page, age=3600)
    assert fetched.exists()
    delete_files_created_by_app(page, age=-1)
    assert not fetched.exists()
