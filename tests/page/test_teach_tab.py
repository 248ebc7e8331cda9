"""The tab that learns: what each action does, what is shown, and that visitors are apart."""

import io
import pathlib
import types
import zipfile

import gradio as gr
import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from resnext.classifier import Classifier
from resnext.page import login
from resnext.page.layout import build_page
from resnext.page.models import Models
from resnext.page.tabs import teach
from resnext.page.tabs.teach import TeachTab, confusion_table
from tests.helpers.hub_client import connect
from tests.helpers.hub_server import TOKEN, HubServer, Repo
from tests.helpers.pages import served_models
from tests.helpers.teaching import Visitor

BACKBONE = "tiny-imagenet (bundled)"
COLORS = {"red": (200, 30, 30), "green": (30, 180, 40)}


def painting(color: str, seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(-30, 30, (60, 80, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.array(COLORS[color]) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def tab():
    return TeachTab(Models([None]))


@pytest.fixture
def act(tab, ask):
    """Does an action in a lesson; returns the lesson, the view, the results and the rest."""

    def act(lesson, language="en-US", **action):
        return tab.act(lesson, BACKBONE, types.SimpleNamespace(_data=action), ask(language))

    return act


@pytest.fixture
def upload(tmp_path_factory):
    """Puts a file where uploads are, and returns its path."""

    def upload(content: bytes, name: str = "picture.png") -> str:
        folder = tmp_path_factory.mktemp("upload", numbered=True)
        target = folder_of_uploads() / f"{folder.name}-{name}"
        target.write_bytes(content)
        return str(target)

    return upload


def folder_of_uploads() -> pathlib.Path:
    folder = pathlib.Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def colors(act, upload):
    """A lesson of two colors, three pictures each."""
    lesson = None
    for number, color in enumerate(COLORS, 1):
        lesson, *_ = act(lesson, do="rename", name=color, **{"class": number})
        files = [upload(painting(color, seed)) for seed in range(3)]
        lesson, *_ = act(lesson, do="add", files=files, **{"class": number})
    return lesson


def test_a_lesson_begins_with_two_classes_in_the_visitors_language(act):
    _, view, results, ready, hint = act(None, do="show")
    assert [one["name"] for one in view["classes"]] == ["Class 1", "Class 2"]
    assert results == ""
    assert (ready.visible, hint.visible) == (False, True)
    assert [one["name"] for one in act(None, "zh-CN", do="show")[1]["classes"]] == ["类别 1", "类别 2"]


def test_results_appear_after_a_picture_in_each_class(act, upload):
    lesson, _, _, ready, _ = act(None, do="add", files=[upload(painting("red", 0))], **{"class": 1})
    assert not ready.visible
    lesson, view, results, ready, hint = act(
        lesson, do="add", files=[upload(painting("green", 0))], **{"class": 2}
    )
    assert (ready.visible, hint.visible) == (True, False)
    assert [one["count"] for one in view["classes"]] == [1, 1]
    assert view["classes"][0]["pictures"][0]["source"].startswith("data:image/jpeg;base64,")
    assert "Add a second picture" in results


def test_the_results_say_accuracy_method_and_misfits(act, colors, upload):
    lesson, _, results, *_ = act(colors, do="add", files=[upload(painting("green", 9))], **{"class": 1})
    assert "leave-one-out accuracy" in results
    assert "6 of 7 pictures were classified correctly" in results
    assert "red, looks like green" in results
    number = lesson.solve().misfits[0].picture.number
    assert f"&quot;picture&quot;: {number}" in results
    _, _, results, *_ = act(lesson, "zh", do="remove", picture=number)
    assert "留一法准确率" in results
    assert "不相符" not in results


def test_classes_are_added_renamed_and_removed(act, colors):
    lesson, view, *_ = act(colors, do="class")
    assert [one["name"] for one in view["classes"]] == ["red", "green", "Class 1"]
    lesson, view, *_ = act(lesson, do="rename", name="red", **{"class": view["classes"][2]["number"]})
    assert view["faults"] == ["There is a class red already: choose another name."]
    lesson, view, _, ready, _ = act(lesson, do="remove class", **{"class": 1})
    assert [one["name"] for one in view["classes"]] == ["green", "Class 1"]
    assert not ready.visible
    _, view, *_ = act(lesson, do="start over")
    assert [one["count"] for one in view["classes"]] == [0, 0]


def test_only_the_newest_pictures_are_shown_until_all_are_asked_for(act, colors, monkeypatch):
    monkeypatch.setattr(teach, "_SHOWN", 2)
    view = act(colors, do="show")[1]
    assert [picture["place"] for picture in view["classes"][0]["pictures"]] == [2, 3]
    view = act(colors, do="show", open=[1])[1]
    assert [len(one["pictures"]) for one in view["classes"]] == [3, 2]


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def test_a_zip_of_class_folders_makes_the_classes(act, upload):
    files = {f"photos/{color}/{seed}.png": painting(color, seed) for color in COLORS for seed in range(2)}
    packed = upload(
        archive({**files, "loose.png": painting("red", 7), "photos/red/notes.txt": b"no"}), "a.zip"
    )
    _, view, results, *_ = act(None, do="archive", files=[packed])
    assert [(one["name"], one["count"]) for one in view["classes"]] == [("red", 2), ("green", 2)]
    assert "loose.png is in no class folder: pack a folder for each class." in view["faults"]
    assert any(fault.startswith("notes.txt cannot be read") for fault in view["faults"])
    assert "4 of 4" in results


@pytest.mark.parametrize("content", [b"Rar!\x1a\7\1\0", painting("red", 1)])
def test_class_folders_that_are_not_in_a_zip_are_refused(act, upload, content):
    _, view, *_ = act(None, do="archive", files=[upload(content, "classes.zip")])
    (fault,) = view["faults"]
    assert fault.endswith("classes.zip is not a ZIP file: pack the class folders into one.")


def test_a_zip_on_a_class_belongs_to_it_whatever_its_folders(act, upload):
    packed = upload(archive({"a/1.png": painting("red", 1), "b/2.png": painting("red", 2)}), "a.zip")
    _, view, *_ = act(None, do="add", files=[packed], **{"class": 2})
    assert [one["count"] for one in view["classes"]] == [0, 2]


def test_bad_files_are_named_without_the_servers_folder(act, upload):
    path = upload(b"no image", "notes.txt")
    _, view, *_ = act(None, "zh", do="add", files=[path, path], **{"class": 1})
    (fault,) = view["faults"]
    assert "无法作为图像读取" in fault
    assert "notes.txt" in fault
    assert str(folder_of_uploads()) not in fault


@pytest.mark.parametrize(
    "action",
    [
        {"do": "add", "class": 1, "files": ["/etc/passwd"]},
        {"do": "archive", "files": [17]},
    ],
)
def test_a_program_cannot_add_files_of_the_server(act, action):
    with pytest.raises(gr.Error, match="was not uploaded"):
        act(None, **action)


@pytest.mark.parametrize(
    "action",
    [
        {},
        {"do": "nothing"},
        {"do": "add", "class": "1", "files": None},
        {"do": "rename", "class": {}, "name": None},
        {"do": "remove", "picture": []},
        {"do": "show", "open": 3},
    ],
)
def test_an_odd_action_changes_nothing(act, action):
    _, view, *_ = act(None, **action)
    assert [one["count"] for one in view["classes"]] == [0, 0]


def test_a_name_is_shown_as_text(act, colors):
    name = "&lt;img src=x onerror=hacked&gt;"
    act(colors, do="rename", name="b&b 'x", **{"class": 1})
    table = confusion_table(colors.solve().evaluation, "en")
    assert "b&amp;b &#x27;x" in table
    assert name not in table


def test_a_photograph_is_tried_in_words_and_bars(tab, ask, colors, upload):
    answer, bars = tab.try_photograph(colors, upload(painting("green", 50)), ask())
    assert "green" in answer
    assert bars.visible
    assert bars.value["label"] == "green"
    frame = Image.open(io.BytesIO(painting("red", 51)))
    assert "red" in tab.try_frame(colors, frame, ask())[0]
    assert tab.try_photograph(None, None, ask())[0] == ""
    with pytest.raises(gr.Error, match="cannot be read as an image"):
        tab.try_photograph(colors, upload(b"no image"), ask())


def test_another_network_of_the_page_may_give_the_features(tab, ask, colors):
    choices = tab.show(tab.models.open(None), "en")[2].choices
    assert [name for name, _ in choices] == [BACKBONE, "flowers (bundled)"]
    before = colors.classes[0].pictures[0].features
    tab.change_network(colors, "flowers (bundled)", ask())
    assert not np.allclose(before, colors.classes[0].pictures[0].features)


def test_the_downloaded_model_opens(tab, ask, colors, tmp_path):
    file, commands = tab.download_model(colors, "my colors!", ask())
    assert "resnext app --model my-colors" in commands
    zipfile.ZipFile(file.value["path"]).extractall(tmp_path)
    assert Classifier.from_pretrained(tmp_path / "my-colors").config.label_names == ("green", "red")
    file, _ = tab.download_pictures(colors, "", ask())
    names = zipfile.ZipFile(file.value["path"]).namelist()
    assert names[0] == "pictures/train/green/0001.jpg"
    assert len(names) == 6


def test_a_model_without_two_classes_is_not_downloaded(tab, ask):
    with pytest.raises(gr.Error, match="Two classes need a picture first"):
        tab.download_model(None, "x", ask())


def test_a_visitor_pushes_with_their_own_token(tab, ask, colors, monkeypatch, tmp_path, capfd):
    with HubServer() as hub:
        connect(monkeypatch, hub, tmp_path, "hf_of_the_owner")
        token = gr.OAuthToken(token=TOKEN, scope="contribute-repos", expires_at=2**40)
        answer = tab.push(colors, "my colors", True, ask(), token)
        assert "/tester/my-colors" in answer
        repo = hub.repos["model", "tester/my-colors"]
        assert repo.private
        files = repo.find("main")[2]
        assert {"config.json", "model.safetensors", "README.md", "evaluation.json"} <= set(files)
        assert b"# my-colors" in files["README.md"].content
        again = tab.push(colors, "my colors", True, ask("zh"), token)
        assert "您已有名为 my-colors 的仓库" in again
        stranger = gr.OAuthToken(token="hf_wrong", scope="", expires_at=2**40)
        assert "sign in again" in tab.push(colors, "other", True, ask(), stranger)
    assert "You are not signed in, or no longer." in tab.push(colors, "x", True, ask(), None)
    assert TOKEN not in "".join(capfd.readouterr())


FORBIDDEN = "The Hub does not let this page create repositories for you"
NOT_TAKEN = "The Hub did not take the model: try again later."
UNREACHABLE = "The Hub cannot be reached: try again later."


def test_a_push_that_fails_is_a_sentence_and_leaves_no_repository(
    tab, ask, colors, monkeypatch, tmp_path, capfd
):
    token = gr.OAuthToken(token=TOKEN, scope="contribute-repos", expires_at=2**40)
    page = {"status": 200, "content": b"<html>Log in</html>"}
    faults = [
        ("/whoami", {"status": 403}, FORBIDDEN),
        ("/whoami", page, UNREACHABLE),
        ("/repos/create", {"status": 403}, FORBIDDEN),
        ("/preupload/", page, UNREACHABLE),
        ("/objects/batch", {"status": 503, "retry_after": "9"}, NOT_TAKEN),
        (".git/info/lfs/", {"status": "reset"}, UNREACHABLE),
        ("/commit/", {"status": 400}, NOT_TAKEN),
        ("/commit/", page, UNREACHABLE),
    ]
    with HubServer() as hub:
        connect(monkeypatch, hub, tmp_path, "hf_of_the_owner")
        for path, fault, sentence in faults:
            hub.fail_next(99, path=path, method="" if path == "/whoami" else "POST", **fault)
            assert sentence in tab.push(colors, "colors", True, ask(), token), (path, fault)
            assert not hub.repos
            hub.faults.clear()
        assert "/tester/colors" in tab.push(colors, "colors", True, ask(), token)
        assert set(hub.tokens) <= {"", TOKEN}
    assert TOKEN not in "".join(capfd.readouterr())


@pytest.mark.parametrize("path, arrives", [("/repos/create", False), ("/commit/", True)])
def test_a_push_whose_answer_is_lost_leaves_a_model_or_nothing(
    tab, ask, colors, monkeypatch, tmp_path, path, arrives
):
    token = gr.OAuthToken(token=TOKEN, scope="contribute-repos", expires_at=2**40)
    with HubServer() as hub:
        connect(monkeypatch, hub, tmp_path)
        hub.fail_next(1, "lost", path)
        answer = tab.push(colors, "colors", True, ask(), token)
        assert ("/tester/colors" in answer) == arrives
        assert ("model", "tester/colors") in hub.repos if arrives else not hub.repos


def test_a_repository_of_the_visitor_is_neither_changed_nor_deleted(tab, ask, colors, monkeypatch, tmp_path):
    token = gr.OAuthToken(token=TOKEN, scope="contribute-repos", expires_at=2**40)
    with HubServer() as hub:
        connect(monkeypatch, hub, tmp_path)
        empty = hub.repos["model", "tester/colors"] = Repo("model", "tester/colors")
        assert "have a repository colors already" in tab.push(colors, "colors", True, ask(), token)
        # One that the token cannot see, or that another page makes at this moment.
        hub.fail_next(1, 404, "/api/models/tester/colors", X_Error_Code="RepoNotFound")
        assert "have a repository colors already" in tab.push(colors, "colors", True, ask(), token)
        assert hub.repos == {("model", "tester/colors"): empty}
        assert list(empty.find("main")[2]) == [".gitattributes"]


def test_another_website_cannot_push_with_a_visitors_login(tab, ask, colors, monkeypatch, tmp_path):
    token = gr.OAuthToken(token=TOKEN, scope="contribute-repos", expires_at=2**40)
    with HubServer() as hub:
        connect(monkeypatch, hub, tmp_path)
        for sender in ("cross-site", "same-site", "none"):
            request = ask()
            request.headers["sec-fetch-site"] = sender
            assert "You are not signed in" in tab.push(colors, "colors", False, request, token)
        assert not hub.requests
        request.headers["sec-fetch-site"] = "same-origin"
        assert "/tester/colors" in tab.push(colors, "colors", False, request, token)


def test_the_login_is_offered_on_a_space_only(monkeypatch):
    monkeypatch.setattr(login.importlib.util, "find_spec", lambda name: object())
    variables = {"SYSTEM": "spaces", "SPACE_ID": "tester/page", **dict.fromkeys(login._VARIABLES, "0")}
    for name, value in variables.items():
        assert not login.can_log_in()
        monkeypatch.setenv(name, value)
    assert login.can_log_in()
    monkeypatch.setattr(login.importlib.util, "find_spec", lambda name: None)
    assert not login.can_log_in()


def test_a_page_may_do_without_teaching(repository):
    labels = [
        block.id
        for block in build_page(Models([str(repository)]), teach=False).blocks.values()
        if isinstance(block, gr.Tab)
    ]
    assert "teach" not in labels
    assert "classify" in labels


def test_a_lesson_is_forgotten_an_hour_after_its_last_change(colors):
    blocks = build_page(Models([None])).blocks.values()
    (state,) = [block for block in blocks if isinstance(block, gr.State) and block.time_to_live < 2**31]
    assert state.time_to_live == 3600
    state.delete_callback(None)
    state.delete_callback(colors)
    assert (colors.classes, colors.size) == ([], 0)


@pytest.mark.slow
def test_visitors_do_not_see_each_others_pictures(repository):
    with served_models(Models([str(repository)])) as address:
        one, other = Visitor(address), Visitor(address)
        one.act(**{"do": "rename", "class": 1, "name": "secret"})
        one.add(1, painting("red", 0), painting("red", 1))
        view = other.add(1, painting("green", 0))
        assert [(row["name"], row["count"]) for row in view["classes"]] == [("Class 1", 1), ("Class 2", 0)]
        other.add(2, painting("red", 5))
        one.add(2, painting("green", 3))
        assert set(one.try_photograph(painting("red", 8))) == {"secret", "Class 2"}
        assert set(other.try_photograph(painting("red", 8))) == {"Class 1", "Class 2"}
        other.act(do="start over")
        assert [row["count"] for row in one.act(do="show")["classes"]] == [2, 1]
        for visitor in (one, other):
            visitor.close()
