"""The page's endpoints for programs return what the classifier returns, and refuse what they have to."""

import ast
import base64
import json
import pathlib
import shutil
import zipfile

import httpx
import numpy as np
import pytest
from gradio_client import Client, exceptions, handle_file
from PIL import Image

from resnext.classifier import Classifier
from resnext.page import cam, programs
from resnext.page.models import Model
from tests.helpers.pages import served
from tests.helpers.paths import ROOT
from tests.helpers.photographs import save_image
from tests.helpers.repositories import FLOWERS, make_repository


@pytest.fixture(scope="module")
def client(repository):
    with served(repository) as address:
        yield Client(address, verbose=False)


@pytest.fixture
def image(tmp_path):
    return save_image(tmp_path / "photograph.png", seed=7)


def raw_call(client: Client, endpoint: str, data: list) -> str:
    address = f"{client.src}gradio_api/call/{endpoint}"
    # Python's own JSON, which has NaN.
    content, headers = json.dumps({"data": data}), {"Content-Type": "application/json"}
    event = httpx.post(address, content=content, headers=headers).json()["event_id"]
    return httpx.get(f"{address}/{event}").text


def test_classify_returns_what_the_classifier_returns(client, classifier, image):
    answer = client.predict(handle_file(image), 3, api_name="/classify")
    expected = classifier(image, top_k=3)
    assert set(answer) == {"label", "confidences"}
    assert answer["label"] == expected[0].label
    assert [one["label"] for one in answer["confidences"]] == [one.label for one in expected]
    assert [one["confidence"] for one in answer["confidences"]] == pytest.approx(
        [one.probability for one in expected], rel=1e-5
    )


def test_classify_returns_five_classes_by_default(client, image):
    assert len(client.predict(handle_file(image), api_name="/classify")["confidences"]) == 5


def test_the_four_endpoints_document_their_types(client):
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


def test_explain_draws_the_map_over_the_input_of_the_network(client, classifier, image):
    model = Model(classifier, "flowers")
    classification = model.classify(str(image))
    positive = [
        index for index in range(5) if classifier.class_activation_map(classification.output, index).max() > 0
    ]
    for label in (None, FLOWERS[positive[-1]]):
        answer = client.predict(handle_file(image), label, api_name="/explain")
        expected = cam.evidence_overlay(
            model,
            classification,
            FLOWERS.index(label) if label else int(classification.output.probabilities.argmax()),
        )
        with Image.open(answer) as overlay:
            assert overlay.size == (64, 64)
            assert np.array_equal(np.asarray(overlay.convert("RGB")), np.asarray(expected))
    with pytest.raises(exceptions.AppError, match="cactus is not a class of .*: choose one of daisy"):
        client.predict(handle_file(image), "cactus", api_name="/explain")


def test_classify_batch_returns_a_class_or_an_error_for_each_file(client, classifier, image, tmp_path):
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


def test_model_info_describes_the_model(client, repository):
    info = client.predict(api_name="/model_info")
    assert info["model"] == repository.name
    assert info["classes"] == list(FLOWERS)
    assert (info["architecture"], info["cardinality"], info["image_size"]) == ("resnext26_small", 8, 64)
    assert info["precision"] in ("float32", "bfloat16", "float16")
    with pytest.raises(exceptions.AppError, match="gpt2 is not offered on this page"):
        client.predict("gpt2", api_name="/model_info")


def test_a_rotated_photograph_is_classified_upright(client, classifier, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    with Image.open(save_image(tmp_path / "upright.png", seed=3)) as upright:
        upright.save(tmp_path / "sideways.png", exif=exif)
    answer = client.predict(handle_file(tmp_path / "sideways.png"), 5, api_name="/classify")
    expected = classifier(tmp_path / "sideways.png")
    assert answer["confidences"][0]["confidence"] == pytest.approx(expected[0].probability, rel=1e-5)


@pytest.mark.parametrize("name", ["notes.jpg", "notes.txt", "notes.svg", "notes.eps"])
def test_a_file_that_is_not_an_image_is_refused_without_its_path(client, image, tmp_path, name):
    (tmp_path / name).write_text("%!PS-Adobe-3.0 EPSF-3.0\nno image <b>at all</b>")
    with pytest.raises(exceptions.AppError) as refusal:
        client.predict(handle_file(tmp_path / name), 5, api_name="/classify")
    fault = "is a PostScript drawing, which is not supported: convert it to JPEG or PNG."
    assert f"{name} {fault}" in str(refusal.value)
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
def test_a_file_of_the_server_that_was_not_uploaded_is_refused(client, repository, endpoint, marked):
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


def test_classify_works_without_the_client_of_gradio(client, image):
    with image.open("rb") as file:
        (path,) = httpx.post(f"{client.src}gradio_api/upload", files={"files": file}).json()
    answer = raw_call(client, "classify", [{"path": path, "meta": {"_type": "gradio.FileData"}}, 2])
    assert answer.startswith("event: complete")
    assert answer.count('"confidence":') == 2


@pytest.fixture(scope="module")
def data_url(tmp_path_factory):
    content = save_image(tmp_path_factory.mktemp("images") / "photograph.png", seed=7).read_bytes()
    return "data:image/png;base64," + base64.b64encode(content).decode()


@pytest.mark.parametrize(
    "form",
    [
        lambda url: url,
        lambda url: {"url": url},
        lambda url: {"path": None, "url": url},
        lambda url: {"path": url, "meta": {"_type": "gradio.FileData"}},
    ],
)
def test_an_image_inside_the_json_is_classified_like_a_file(client, classifier, image, data_url, form):
    label = classifier(image)[0].label
    answer = raw_call(client, "classify", [form(data_url)])
    assert answer.startswith("event: complete")
    assert f'"label": "{label}"' in answer
    assert answer.count('"confidence":') == 5, "top_k has its default"
    assert raw_call(client, "explain", [form(data_url)]).startswith("event: complete")
    assert f'"label": "{label}"' in raw_call(client, "classify_batch", [[form(data_url)]])


@pytest.mark.parametrize(
    "endpoint, values, sentence",
    [
        ("classify", [], "There is no image"),
        ("classify", [7], "/classify cannot use these values"),
        ("classify", [None, "many"], "/classify cannot use these values"),
        ("classify", [None, float("nan")], "/classify cannot use these values"),
        ("classify", [None, float("inf")], "Value inf is greater than maximum value 10."),
        ("classify", [None, 99], "Value 99 is greater than maximum value 10."),
        ("classify", ["iVBORw0KGgo"], "/classify cannot use these values"),
        ("classify", ["data:image/png,abc"], "has to begin like data:image/png;base64,"),
        ("classify", ["data:image/png;base64,a"], "is not valid base64"),
        ("classify", ["data:image/png;base64,AAAA"], "image.png cannot be read as an image"),
        ("classify", ["data:;base64,AAAA"], "image.bin cannot be read as an image"),
        ("explain", [], "There is no image"),
        ("classify_batch", [], "files has to be a list of files."),
        ("classify_batch", [[], 7], "The name of a model has to be text."),
        ("classify_batch", [["data:image/png;base64,a"]], "is not valid base64"),
        ("model_info", [["flowers"]], "The name of a model has to be text."),
    ],
)
def test_values_that_cannot_be_used_get_a_sentence(client, capfd, endpoint, values, sentence):
    answer = raw_call(client, endpoint, values)
    assert answer.startswith("event: error")
    assert sentence in answer
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("path", ["gradio_api/call/nothing", "gradio_api/run/nothing"])
def test_an_endpoint_that_does_not_exist_is_named(client, path):
    answer = httpx.post(f"{client.src}{path}", json={"data": []})
    assert answer.status_code == 404
    expected = f"The page has no endpoint /{path}: /gradio_api/info has their names."
    assert answer.json() == {"detail": expected}


@pytest.mark.parametrize("path", ["call/model_info", "call/v2/model_info"])
def test_an_event_that_does_not_exist_is_named(client, capfd, path):
    event = httpx.post(f"{client.src}gradio_api/call/model_info", json={"data": []}).json()["event_id"]
    address = f"{client.src}gradio_api/{path}"
    assert httpx.get(f"{address}/{event}", timeout=60).text.startswith("event: complete")
    for unknown in (event, "unknown"):
        answer = httpx.get(f"{address}/{unknown}")
        assert answer.status_code == 404
        assert f"There is no event {unknown}, or its result has been fetched" in answer.json()["detail"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_session_that_does_not_exist_is_told_so(client, capfd):
    answer = httpx.get(f"{client.src}gradio_api/queue/data", params={"session_hash": "unknown"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    message = json.loads(answer.text.removeprefix("data: "))
    assert message["msg"] == "unexpected_error"
    assert message["session_not_found"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_data_url_of_more_than_64_mb_is_refused(client, monkeypatch, data_url):
    monkeypatch.setattr(programs, "MAX_BYTES", 10)
    assert "larger than 64 MB" in raw_call(client, "classify", [data_url + 1000 * "A"])


def test_an_endpoint_that_takes_nothing_gets_nothing():
    assert programs._completed([], []) == []


def test_values_that_are_left_out_have_their_defaults(client):
    assert '"architecture": "resnext26_small"' in raw_call(client, "model_info", [])
    assert raw_call(client, "classify_batch", [[]]).endswith("data: [[]]\n\n")


def test_the_page_itself_is_sent_compressed_and_events_are_not(client, data_url):
    page = httpx.get(client.src)
    assert page.headers["content-encoding"] == "gzip"
    assert len(page.text) > 3 * int(page.headers["content-length"])
    address = f"{client.src}gradio_api/call/classify"
    event = httpx.post(address, json={"data": [data_url]}).json()["event_id"]
    answer = httpx.get(f"{address}/{event}")
    assert "content-encoding" not in answer.headers
    assert answer.text.startswith("event: complete")


def test_of_two_classes_with_one_name_the_more_likely_counts(tmp_path, image):
    folder = make_repository(tmp_path, ["twin"] * 3, complete=False)
    with served(folder) as address:
        answer = Client(address, verbose=False).predict(handle_file(image), 3, api_name="/classify")
    likeliest = Classifier.from_pretrained(folder)(image)[0].probability
    assert [one["confidence"] for one in answer["confidences"]] == pytest.approx([likeliest], rel=1e-5)


def test_the_program_in_the_readme_works(client, image, tmp_path):
    files = [ROOT / "README.md", ROOT / "resnext" / "page" / "README.md"]
    text = "".join(file.read_text("utf-8") for file in files if file.exists())
    program = next(block for block in text.split("```") if "gradio_client" in block).removeprefix("python\n")
    shutil.copy(image, tmp_path / "photo.jpg")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(image, "other.png")
        archive.writestr("notes.txt", "no image")
    program = program.replace("http://127.0.0.1:7860", client.src).replace(
        'handle_file("', f'handle_file("{tmp_path}/'
    )
    answers = []
    names = {}
    # As at a prompt, which shows the value of an expression.
    for statement in ast.parse(program).body:
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
