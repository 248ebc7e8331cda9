"""The models that a page offers: which are opened, kept, closed and refused."""

import json
import shutil
import threading

import pytest

from resnext.errors import RepositoryError, ResNeXtError
from resnext.int8 import weights_digest
from resnext.page import models as models_module
from resnext.page.header import facts, notice
from resnext.page.models import INT8, Models, is_hub_id
from tests.helpers.repositories import make_repository

FLOWERS = "flowers (bundled)"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return [
        str(make_repository(tmp_path_factory.mktemp("models") / name)) for name in ("one", "two", "three")
    ]


def test_a_folder_is_offered_by_its_name_without_its_path(folders, tmp_path):
    twin = make_repository(tmp_path / "one", complete=False)
    assert list(Models([*folders, str(twin), None, None, "someone/net@v2"]).sources) == [
        "one",
        "two",
        "three",
        "one (2)",
        FLOWERS,
        "someone/net@v2",
    ]


def test_the_least_recently_used_model_is_closed(folders):
    models = Models(folders, most=2)
    one, two = models.open("one"), models.open("two")
    assert models.open("one") is one
    models.open("three")
    assert models.open("one") is one
    assert models.open("two") is not two


def test_a_model_is_opened_once_for_simultaneous_visitors(folders, monkeypatch):
    opened = []
    real = models_module.repository.find_repository
    monkeypatch.setattr(
        models_module.repository, "find_repository", lambda source, **_: opened.append(source) or real(source)
    )
    models = Models(folders)
    threads = [threading.Thread(target=models.open, args=("two",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [folders[1]]


@pytest.mark.parametrize("name", ["someone/net", "/etc", "../one", "one/../two", "", "C:/net"])
def test_a_visitor_can_only_open_models_that_the_page_offers(folders, name):
    models = Models(folders)
    if not name:
        assert models.open(name) is models.open(None)
        return
    with pytest.raises(RepositoryError, match="is not offered on this page"):
        models.open(name)


def test_a_visitor_who_may_open_any_repository_cannot_open_a_folder(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_repository(tmp_path / "owner" / "name", complete=False)
    assert is_hub_id("someone/net")
    assert is_hub_id("someone/net@refs/pr/1")
    assert not is_hub_id("owner/name")
    models = Models(folders, allow_any=True)
    for name in ("owner/name", str(tmp_path / "owner" / "name"), "./owner/name", "~/x"):
        with pytest.raises(RepositoryError, match="is not offered on this page"):
            models.open(name)


def test_a_model_that_cannot_be_opened_does_not_close_others(folders, tmp_path):
    models = Models([folders[0], str(tmp_path / "gone")])
    one = models.open(None)
    for _ in range(2):
        with pytest.raises(ResNeXtError, match="neither a folder nor a Hub repository"):
            models.open("gone")
    assert models.open(None) is one


def test_examples_are_copied_out_of_the_repository_once(folders):
    model = Models(folders).open(None)
    copies = model.examples()
    assert [copy.name for copy in copies] == ["example0.jpg", "example1.jpg", "example2.jpg"]
    assert copies[0].read_bytes() == (model.folder / "examples" / copies[0].name).read_bytes()
    assert copies[0].parent != model.folder
    assert model.examples() is copies


def test_a_model_with_an_int8_graph_is_offered_in_both_forms(folders):
    models = Models([folders[0], None, "someone/net"])
    assert models.names() == ["one", FLOWERS, FLOWERS + INT8, "someone/net"]
    plain, small = models.open(FLOWERS), models.open(FLOWERS + INT8)
    assert (small.classifier.precision, small.name, notice(small)) == ("int8", "flowers (bundled), int8", "")
    assert plain.classifier.precision != "int8"
    assert plain.folder == small.folder
    assert facts(small)["precision"] == "int8"
    assert facts(plain)["precision"] == plain.classifier.precision
    assert models.names(small) == models.names()


def test_an_int8_graph_found_when_a_model_opens_is_offered_then(folders, tmp_path, monkeypatch):
    hub = shutil.copytree(folders[0], tmp_path / "hub")
    (hub / "openvino_int8.xml").write_text("<net/>")
    (hub / "quantization.json").write_text(json.dumps({"weights_sha256": weights_digest(hub)}))
    real = models_module.repository.find_repository
    monkeypatch.setattr(models_module.repository, "find_repository", lambda source, **_: real(hub))
    models = Models([None, "someone/net"], allow_any=True)
    assert "someone/net, int8" not in models.names()
    models.open("someone/net")
    assert models.names() == [FLOWERS, FLOWERS + INT8, "someone/net", "someone/net, int8"]
    typed = models.open("someone/other, int8")
    assert models.names(typed)[-2:] == ["someone/other", "someone/other, int8"]
    assert notice(typed).startswith("hub has an invalid int8 graph")
    assert notice(typed, "zh") == "hub 的 int8 计算图无法使用：以 float32 分类。"


def test_int8_of_a_model_without_it_runs_in_float32_with_a_notice(folders):
    model = Models(folders).open("two, int8")
    assert model.classifier.precision == "float32"
    assert notice(model) == "two has no int8 graph: classifying in float32; make one with `resnext quantize`."
    assert notice(model, "zh") == "two 没有 int8 计算图：以 float32 分类。"
    with pytest.raises(RepositoryError, match="four, int8 is not offered on this page"):
        Models(folders).open("four, int8")
