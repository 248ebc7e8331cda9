"""Names of models: as people paste them, and those of bundled models."""

import os
import pathlib
import re
import shutil
import tempfile

import pytest

from resnext.classifier import Classifier
from resnext.errors import RepositoryError, ResNeXtError
from resnext.repository import (
    BUNDLED,
    Repository,
    copy_files,
    find_repository,
    load_config,
    load_tensors,
    plain_name,
)
from tests.helpers.users import other_user

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "pasted, name",
    [
        ("timm/resnext50_32x4d.a1h_in1k", "timm/resnext50_32x4d.a1h_in1k"),
        (" OWNER/NAME \n", "OWNER/NAME"),
        ("hf-hub:OWNER/NAME", "OWNER/NAME"),
        ("hf_hub:OWNER/NAME@v1", "OWNER/NAME@v1"),
        ("local-dir:my-model", "my-model"),
        ("https://huggingface.co/OWNER/NAME", "OWNER/NAME"),
        ("http://www.huggingface.co/OWNER/NAME/", "OWNER/NAME"),
        ("https://hf.co/OWNER/NAME?library=timm", "OWNER/NAME"),
        (f"https://huggingface.co/OWNER/NAME/tree/{COMMIT}", f"OWNER/NAME@{COMMIT}"),
        ("https://huggingface.co/OWNER/NAME/blob/main/config.json", "OWNER/NAME@main"),
        ("https://huggingface.co/OWNER/NAME/discussions/1", "OWNER/NAME"),
        ("huggingface.co/OWNER/NAME", "OWNER/NAME"),
        ("HTTPS://HuggingFace.co/OWNER/NAME", "OWNER/NAME"),
        ("https://huggingface.co/OWNER/NAME.git", "OWNER/NAME"),
        ("git@hf.co:OWNER/NAME", "OWNER/NAME"),
        ("hf://OWNER/NAME", "OWNER/NAME"),
        ("<https://huggingface.co/OWNER/NAME>", "OWNER/NAME"),
        ("\u201cOWNER/NAME\u201d", "OWNER/NAME"),
        ("`OWNER/NAME@v1`", "OWNER/NAME@v1"),
        ("OWNER/NAME\u200b", "OWNER/NAME"),
        ("https://huggingface.co/OWNER/NAME/tree/refs%2Fpr%2F1", "OWNER/NAME@refs/pr/1"),
        # Other addresses stay as they are, and are refused.
        ("https://huggingface.co/OWNER", "https://huggingface.co/OWNER"),
        ("https://huggingface.co/datasets/OWNER/NAME", "https://huggingface.co/datasets/OWNER/NAME"),
        ("https://huggingface.co/spaces/OWNER/NAME", "https://huggingface.co/spaces/OWNER/NAME"),
        ("https://example.com/OWNER/NAME", "https://example.com/OWNER/NAME"),
        ("/a/folder", "/a/folder"),
    ],
)
def test_a_pasted_name_is_understood(pasted, name):
    assert plain_name(pasted) == name


def test_a_folder_is_opened_as_timm_names_it(tiny_repository):
    assert find_repository(f"local-dir:{tiny_repository}").folder == tiny_repository


@pytest.mark.parametrize(
    "name",
    [
        "https://example.com/OWNER/NAME",
        "https://huggingface.co/datasets/OWNER/NAME",
        "OWNER/NA--ME",
        "OWNER/NA..ME",
        "OWNER/NAME.git",
        "OWNER/NAME-",
        "OWNER./NAME",
    ],
)
def test_a_name_that_no_repository_has_is_refused_in_one_sentence(name):
    with pytest.raises(RepositoryError, match="is neither a folder nor a Hub repository such as OWNER/NAME"):
        find_repository(name)


@pytest.mark.parametrize("name", ["tiny-imagenet", "tiny-imagenet (bundled)"])
def test_a_bundled_model_is_found_by_its_name(name):
    repository = find_repository(name)
    assert repository == Repository("tiny-imagenet (bundled)", BUNDLED["tiny-imagenet"])
    with pytest.raises(RepositoryError, match="The bundled model tiny-imagenet has no revisions"):
        find_repository(name, "main")


def test_a_folder_with_the_name_of_a_bundled_model_is_that_folder(
    tmp_path, make_tiny_repository, monkeypatch
):
    make_tiny_repository(tmp_path / "flowers")
    monkeypatch.chdir(tmp_path)
    assert find_repository("flowers").folder == pathlib.Path("flowers")
    assert find_repository(None).folder == BUNDLED["flowers"]
    assert find_repository("flowers (bundled)").folder == BUNDLED["flowers"]


def test_a_bundled_model_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(BUNDLED, "tiny-imagenet", tmp_path)
    with pytest.raises(RepositoryError, match="tiny-imagenet has no config.json: install the package again"):
        find_repository("tiny-imagenet")


def test_a_link_to_a_file_elsewhere_is_not_copied(tiny_repository, tmp_path):
    (tmp_path / "notes.txt").write_text("private")
    (tiny_repository / "examples").mkdir()
    (tiny_repository / "examples" / "a.txt").symlink_to(tmp_path / "notes.txt")
    with pytest.raises(RepositoryError, match="a.txt is outside of .*: put a copy of the file in the place"):
        copy_files(tiny_repository, tmp_path / "copy")
    (tiny_repository / "examples" / "a.txt").unlink()
    (tiny_repository / "examples" / "b.txt").symlink_to(tiny_repository / "config.json")
    copy_files(tiny_repository, tmp_path / "copy")
    assert (tmp_path / "copy" / "examples" / "b.txt").is_file()


def test_weights_of_another_name_are_opened_as_timm_opens_them(tiny_repository):
    (tiny_repository / "model.safetensors").rename(tiny_repository / "swa.safetensors")
    (tiny_repository / "ood.safetensors").write_bytes(b"")  # not the network
    repository = find_repository(tiny_repository)
    assert load_tensors(repository, load_config(repository))["fc.bias"].shape == (3,)


@pytest.mark.parametrize(
    "files, words",
    [
        (["pytorch_model.bin"], "only as a pickle, pytorch_model.bin, which is not opened: convert it"),
        (["a-1-of-2.safetensors", "a-2-of-2.safetensors"], "in 2 files, such as a-1-of-2.*: merge them"),
        ([], "is not a model repository: it has no model.safetensors.*`resnext fit`"),
        (
            ["openvino_int8.bin", "openvino_int8.xml"],
            "is not a model repository: it has no model.safetensors",
        ),
        (["ood.safetensors"], "is not a model repository: it has no model.safetensors"),
        (["ood.safetensors", "pytorch_model.bin"], "only as a pickle, pytorch_model.bin"),
    ],
)
def test_a_folder_without_one_file_of_weights_says_what_to_do(files, words, tiny_repository):
    (tiny_repository / "model.safetensors").unlink()
    for name in files:
        (tiny_repository / name).write_bytes(b"")
    with pytest.raises(RepositoryError, match=words):
        find_repository(tiny_repository)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize(
    "closed, words",
    [
        ("", "The folder {model} cannot be read: check its permissions."),
        ("config.json", "{model}/config.json cannot be read (Permission denied): check its permissions"),
        ("model.safetensors", "{model}/model.safetensors cannot be read (Permission denied): check its"),
    ],
)
def test_a_folder_or_file_of_another_user_is_named(closed, words, tiny_repository):
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        model = pathlib.Path(top) / "net"
        shutil.copytree(tiny_repository, model)
        os.chmod(model, 0o755)
        os.chmod(model / closed, 0)
        with other_user(), pytest.raises(ResNeXtError, match=re.escape(words.format(model=model))):
            Classifier.from_pretrained(model)
