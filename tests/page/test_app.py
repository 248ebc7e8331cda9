"""The page's endpoint answers as the Classifier does, and the page is whole whatever the repository lacks or hides."""

import ast
import copy
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import zipfile

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, exceptions, handle_file
from PIL import Image

import resnext.repository
from resnext.classifier import Classifier
from resnext.page import cam, charts, header, records
from resnext.page.layout import build_page
from resnext.page.models import Model, Models, open_models
from resnext.page.tabs.card import card_tab
from resnext.page.tabs.evaluation import test_tab as build_test_tab
from resnext.page.tabs.history import training_tab
from resnext.repository import Repository
from tests.helpers.pages import served
from tests.helpers.paths import ROOT
from tests.helpers.photographs import save_image
from tests.helpers.repositories import FLOWERS, HOSTILE, evaluation, make_repository


def page_text(folder: pathlib.Path, warning: str = "") -> str:
    """All that the page sends to a browser when it opens, and when the tabs of the repository are opened, as JSON."""
    config = build_page(Models([str(folder)]), warning).get_config_file()
    return json.dumps([config, *tabs(folder)], default=str)


def tabs(folder: pathlib.Path) -> list[list]:
    """What the tabs of a repository show when they are opened."""
    models, parts = Models([str(folder)]), []
    with gr.Blocks():
        for show, _ in (training_tab(models, gr.State()), build_test_tab(models, gr.State()), card_tab()):
            parts.append(
                [
                    value.value if isinstance(value, gr.components.Component) else value
                    for value in show(models.open(None), "en")
                ]
            )
    return parts


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return make_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def classifier(repository):
    return Classifier.from_pretrained(repository)


@pytest.fixture(scope="module")
def client(repository):
    with served(repository) as address:
        yield Client(address, verbose=False)


@pytest.fixture
def image(tmp_path):
    return save_image(tmp_path / "photograph.png", seed=7)


def test_the_endpoint_answers_as_the_classifier_does(client, classifier, image):
    answer = client.predict(handle_file(image), 3, api_name="/classify")
    expected = classifier(image, top_k=3)
    assert set(answer) == {"label", "confidences"}
    assert answer["label"] == expected[0].label
    assert [one["label"] for one in answer["confidences"]] == [one.label for one in expected]
    assert [one["confidence"] for one in answer["confidences"]] == pytest.approx(
        [one.probability for one in expected], rel=1e-5
    )


def test_the_endpoint_names_five_classes_if_not_told_otherwise(client, image):
    assert len(client.predict(handle_file(image), api_name="/classify")["confidences"]) == 5


def test_the_endpoints_document_their_types_and_there_are_no_others(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    parameters = {
        name: [one["parameter_name"] for one in endpoint["parameters"]]
        for name, endpoint in endpoints.items()
    }
    assert parameters == {
        "/classify": ["image", "top_k"],
        "/explain": ["image", "label", "model"],
        "/classify_batch": ["files", "model"],
        "/model_info": ["model"],
    }
    assert endpoints["/classify"]["parameters"][1]["parameter_default"] == 5
    assert endpoints["/explain"]["parameters"][2]["parameter_has_default"]
    assert [one["python_type"]["type"] for one in endpoints["/classify_batch"]["parameters"]] == [
        "list[filepath]",
        "str",
    ]
    for endpoint in endpoints.values():
        assert len(endpoint["returns"]) == 1
        assert all(one["parameter_has_default"] for one in endpoint["parameters"][1:])


def test_a_class_is_explained_over_the_crop_that_the_network_saw(client, classifier, image):
    model = Model(classifier, "flowers")
    look = model.look(str(image))
    positive = [index for index in range(5) if classifier.class_activation_map(look.output, index).max() > 0]
    for label in (None, FLOWERS[positive[-1]]):
        answer = client.predict(handle_file(image), label, api_name="/explain")
        expected = cam.overlay(
            model, look, FLOWERS.index(label) if label else int(look.output.probabilities.argmax())
        )
        with Image.open(answer) as overlay:
            assert overlay.size == (64, 64)
            assert np.array_equal(np.asarray(overlay.convert("RGB")), np.asarray(expected))
    with pytest.raises(exceptions.AppError, match="cactus is no class of .*: it knows daisy"):
        client.predict(handle_file(image), "cactus", api_name="/explain")


def test_a_batch_answers_for_each_file_as_the_classifier_does(client, classifier, image, tmp_path):
    (tmp_path / "notes.jpg").write_text("no image")
    good, bad = client.predict(
        [handle_file(image), handle_file(tmp_path / "notes.jpg")], api_name="/classify_batch"
    )
    (expected,) = classifier(image, top_k=1)
    assert good == {
        "file": image.name,
        "label": expected.label,
        "probability": pytest.approx(expected.probability, rel=1e-5),
    }
    assert set(bad) == {"file", "error"}
    assert bad["error"].startswith("notes.jpg cannot be read")


def test_a_program_learns_what_the_model_is(client, repository):
    info = client.predict(api_name="/model_info")
    assert info["model"] == repository.name
    assert info["classes"] == list(FLOWERS)
    assert (info["architecture"], info["cardinality"], info["image_size"]) == ("resnext26_small", 8, 64)
    assert info["precision"] in ("float32", "bfloat16", "float16")
    with pytest.raises(exceptions.AppError, match="gpt2 is not offered on this page"):
        client.predict("gpt2", api_name="/model_info")


def test_a_sideways_photograph_is_classified_upright(client, classifier, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    with Image.open(save_image(tmp_path / "upright.png", seed=3)) as upright:
        upright.save(tmp_path / "sideways.png", exif=exif)
    answer = client.predict(handle_file(tmp_path / "sideways.png"), 5, api_name="/classify")
    expected = classifier(tmp_path / "sideways.png")
    assert answer["confidences"][0]["confidence"] == pytest.approx(expected[0].probability, rel=1e-5)


@pytest.mark.parametrize("name", ["notes.jpg", "notes.txt", "notes.svg", "notes.eps"])
def test_a_file_that_is_no_image_is_named_without_its_place_and_the_next_upload_works(
    client, image, tmp_path, name
):
    (tmp_path / name).write_text("%!PS-Adobe-3.0 EPSF-3.0\nno image <b>at all</b>")
    with pytest.raises(exceptions.AppError) as refusal:
        client.predict(handle_file(tmp_path / name), 5, api_name="/classify")
    assert f"{name} cannot be read as an image: it is not an image of a known format." in str(refusal.value)
    assert "/" not in str(refusal.value)
    assert client.predict(handle_file(image), 5, api_name="/classify")["label"] in FLOWERS


def test_an_image_of_too_many_pixels_is_refused(client, tmp_path):
    Image.new("1", (12_000, 10_000)).save(tmp_path / "huge.png")
    with pytest.raises(
        exceptions.AppError, match="huge.png has 12000 x 10000 pixels, more than the 100,000,000 allowed"
    ):
        client.predict(handle_file(tmp_path / "huge.png"), 5, api_name="/classify")


@pytest.mark.parametrize("endpoint", ["classify", "classify_batch", "explain"])
@pytest.mark.parametrize("marked", [True, False])  # Gradio itself looks only at what is marked as a file
def test_an_image_of_the_server_that_nobody_uploaded_is_refused(client, repository, endpoint, marked):
    stolen = {"path": str(repository / "examples" / "example0.jpg")} | (
        {"meta": {"_type": "gradio.FileData"}} if marked else {}
    )
    data = {"classify": [stolen, 5], "classify_batch": [[stolen], ""], "explain": [stolen, None, None]}[
        endpoint
    ]
    answer = raw_call(client, endpoint, data)
    assert answer.startswith("event: error")
    assert "confidence" not in answer
    assert "probability" not in answer
    if not marked:
        assert "example0.jpg was not uploaded" in answer


def test_a_program_without_gradio_s_client_gives_image_and_number_alone(client, image):
    with image.open("rb") as file:
        (path,) = httpx.post(f"{client.src}gradio_api/upload", files={"files": file}).json()
    answer = raw_call(client, "classify", [{"path": path, "meta": {"_type": "gradio.FileData"}}, 2])
    assert answer.startswith("event: complete")
    assert answer.count('"confidence":') == 2


def raw_call(client: Client, endpoint: str, data: list) -> str:
    address = f"{client.src}gradio_api/call/{endpoint}"
    event = httpx.post(address, json={"data": data}).json()["event_id"]
    return httpx.get(f"{address}/{event}").text


def test_of_two_classes_with_one_name_the_likelier_counts(tmp_path, image):
    folder = make_repository(tmp_path, ["twin"] * 3, complete=False)
    with served(folder) as address:
        answer = Client(address, verbose=False).predict(handle_file(image), 3, api_name="/classify")
    likeliest = Classifier.from_pretrained(folder)(image)[0].probability
    assert [one["confidence"] for one in answer["confidences"]] == pytest.approx([likeliest], rel=1e-5)


def test_what_a_repository_says_reaches_the_page_as_text(tmp_path):
    text = page_text(make_repository(tmp_path, HOSTILE), warning="<script>window.hacked = 6</script>")
    config, *tabs = json.loads(text)
    blocks = [block["props"].get("value") for block in config["components"] if block["type"] == "html"]
    blocks += [
        value for values in tabs for value in values if isinstance(value, str) and value.startswith("<")
    ]
    assert len(blocks) > 6
    for block in filter(None, blocks):
        assert not any(tag in block for tag in ("<img src=x", "<script", "<b>", '<a href="javascript'))
    assert "&lt;script&gt;window.hacked = 6" in text


def test_a_repository_without_history_and_evaluation_says_so(tmp_path):
    text = page_text(make_repository(tmp_path, complete=False))
    for name in ("history.csv", "recipe.json", "evaluation.json"):
        assert f"This repository has no {name}" in text


@pytest.mark.parametrize("name", ["history.csv", "recipe.json", "evaluation.json"])
@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"classes": 3}', "epoch,loss\n1,2", "\x00", "[" * 100_000, b"\xff\xfe"]
)
def test_a_broken_file_costs_only_what_it_would_have_shown(classifier, tmp_path, name, content):
    for file in classifier.repository.folder.glob("*.*"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    text = json.dumps(tabs(tmp_path), default=str)
    assert text.count("cannot be read (") == 1
    assert f"The {name} of this repository cannot be read (" in text


def test_half_a_character_in_a_file_does_not_break_the_page():
    broken = evaluation(["\ud800"])
    with pytest.raises(ValueError, match="surrogates"):
        records.parse_evaluation(json.dumps(broken))


def test_curves_have_a_gap_where_training_diverged():
    history = records.parse_history(
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n1,nan,0.5,inf,0.5,0.1\n2,1,0.5,1,0.5,0.1\n"
    )
    training, validation = charts.curve(history, "loss", best_epoch=2).data[:2]
    assert training.y == validation.y == (None, 1.0)


def test_the_heatmap_knows_count_and_rate_of_every_cell_and_keeps_classes_of_one_name_apart():
    heatmap = charts.heatmap(np.array([[3, 1], [0, 0]]), ["crane", "crane"], show="counts").data[0]
    assert heatmap.customdata.tolist() == [[3, 1], [0, 0]]
    assert heatmap.z.tolist() == [[0.75, 0.25], [0, 0]]
    assert len(set(heatmap.x)) == 2


def test_a_wrong_model_starts_the_bundled_one_with_a_warning(repository, monkeypatch, tmp_path):
    monkeypatch.setattr(resnext.repository, "BUNDLED_FOLDER", repository)
    models, warning = open_models(str(tmp_path))
    assert models.open(None).folder == repository
    assert "is no model repository" in warning
    assert "bundled" in warning
    assert str(tmp_path.parent) not in warning


def test_a_stale_copy_is_shown_with_a_notice_and_a_link(classifier):
    stale = copy.copy(classifier)
    stale.repository = Repository(
        "someone/flowers", classifier.repository.folder, revision="a" * 40, stale=True
    )
    model = Model(stale, "someone/flowers")
    assert "The Hub cannot be reached" in header.notice(model)
    assert "aaaaaaa" in header.notice(model)
    assert "/someone/flowers/tree/" + "a" * 40 in header.masthead(model)


def test_the_page_never_imports_tensorflow(repository):
    program = (
        "import sys, app\n"
        "from resnext.page.layout import build_page\n"
        "from resnext.page.models import open_models\n"
        "build_page(open_models(sys.argv[1])[0])\n"
        "print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", program, str(repository)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in modules.stdout.split()}
    assert "openvino" in loaded
    assert not loaded & {"tensorflow", "keras", "torch", "matplotlib"}


def test_wrong_usage_ends_with_status_2(tmp_path):
    result = subprocess.run(
        [sys.executable, "app.py", "--port", "many"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_taken_port_ends_with_status_1_and_one_line(repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        arguments = [
            sys.executable,
            "app.py",
            "--model",
            str(repository),
            "--port",
            str(taken.getsockname()[1]),
        ]
        result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_readme_s_programs_get_what_the_readme_says(client, image, tmp_path):
    text = (ROOT / "README.md").read_text("utf-8")
    program = next(block for block in text.split("```") if "gradio_client" in block).removeprefix("python\n")
    shutil.copy(image, tmp_path / "photo.jpg")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(image, "other.png")
        archive.writestr("notes.txt", "no image")
    program = program.replace("http://127.0.0.1:7860", client.src).replace(
        'handle_file("', f'handle_file("{tmp_path}/'
    )
    answers, names = [], {}
    for statement in ast.parse(program).body:  # as at a prompt: an expression's value is shown
        if isinstance(statement, ast.Expr):
            answers.append(eval(ast.unparse(statement), names))
        else:
            exec(ast.unparse(statement), names)
    classified, batch, explained, info = answers
    assert set(classified) == {"label", "confidences"}
    assert len(classified["confidences"]) == 5
    assert [sorted(row) for row in batch] == [["file", "label", "probability"]] * 2 + [["error", "file"]]
    assert batch[2]["error"].startswith("notes.txt cannot be read")
    assert pathlib.Path(explained).stat().st_size
    assert {"model", "architecture", "cardinality"} < set(info)
