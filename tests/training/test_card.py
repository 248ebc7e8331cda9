"""The model card: what it states, what it keeps of a person's own words, and names that look like markup."""

import contextlib
import dataclasses
import html
import importlib.util
import json
import math
import re
import shutil

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from resnext.card import _duration, write_card
from resnext.classifier import Classifier
from resnext.errors import RepositoryError, ResNeXtError
from resnext.repository import BUNDLED
from resnext.results import CorruptionScore, read_evaluation
from tests.helpers.hub_server import HubServer, in_this_process
from tests.helpers.photographs import save_image
from tests.helpers.training import run_training


def test_the_bundled_card_is_what_this_version_writes(tmp_path):
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    before = (folder / "README.md").read_text("utf-8")
    write_card(folder)
    assert (folder / "README.md").read_text("utf-8") == before


@pytest.fixture
def flowers(tmp_path):
    """A copy of the bundled repository."""
    return shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")


def test_the_card_says_what_the_network_is_for_and_what_it_was_trained_on(flowers):
    text = (flowers / "README.md").read_text("utf-8")
    for words in (
        "## Intended use",
        "Not for images of anything else",
        "Class balance: from 355 training images (daisy) to 547 (dandelion), 1.5 times as many.",
        "| daisy | 355 | 63 | 110 |",
        "| daisy | 0.936 | 0.936 | 0.936 | 110 |",
        "expected calibration error",
        "figures/heatmap.png",
        "figures/curves.png",
        "## Limits",
        "The classes that it recognizes least often: tulips (90% of 122), sunflowers (91% of 103)",
        "with 550 images, the accuracy is known to within 2 points",
        "With [timm]",
        "With OpenVINO alone",
    ):
        assert words in text, words


def test_the_card_shows_the_pictures_that_are_there_and_no_others(flowers):
    written = (flowers / "README.md").read_text("utf-8")
    figures = re.findall(r"^!\[.+\]\(figures/(.+)\)$", written, re.MULTILINE)
    assert sorted(figures) == ["corruptions.png", "curves.png", "heatmap.png", "ood.png", "reliability.png"]
    assert "`mistakes/`" in written
    for name in figures:
        (flowers / "figures" / name).unlink()
        write_card(flowers)
        text = (flowers / "README.md").read_text("utf-8")
        assert [figure for figure in figures if f"(figures/{figure})" in text] == [
            figure for figure in figures if (flowers / "figures" / figure).exists()
        ]
    shutil.rmtree(flowers / "mistakes")
    write_card(flowers)
    text = (flowers / "README.md").read_text("utf-8")
    assert "figures/" not in text
    assert "`mistakes/`" not in text
    assert "Top-1 accuracy on worse copies" in text


def test_limits_name_what_the_test_has_shown(flowers):
    scores = (CorruptionScore("none", "", 0, 0.9), CorruptionScore("blur", "pixels", 4, 0.3))
    result = dataclasses.replace(read_evaluation(flowers), overlap=3, corruptions=scores)
    result.write(flowers)
    write_card(flowers)
    text = (flowers / "README.md").read_text("utf-8")
    assert "3 of the test images were also used for training, so the accuracy is overstated." in text
    assert "30% instead of 90% at blur (pixels 4)" in text.replace("&#40;", "(").replace("&#41;", ")")
    (flowers / "evaluation.json").unlink()
    write_card(flowers)
    assert "Its accuracy has not been measured" in (flowers / "README.md").read_text("utf-8")


def test_a_fine_tuned_network_names_its_base_model(flowers):
    path = flowers / "recipe.json"
    record = json.loads(path.read_bytes())
    record["pretrained"] = {"name": "timm/resnext50_32x4d.a1h_in1k", "revision": "a" * 40}
    path.write_text(json.dumps(record))
    write_card(flowers)
    data = ModelCard.load(flowers / "README.md").data
    assert data.base_model == "timm/resnext50_32x4d.a1h_in1k"
    assert data["base_model_relation"] == "finetune"
    assert data.datasets == ["imagefolder"]
    assert data.model_name == "flowers"


@pytest.mark.parametrize(
    "name, content",
    [
        *(
            (name, text)
            for name in ("recipe.json", "evaluation.json", "quantization.json")
            for text in ("[1]", "{}")
        ),
        ("recipe.json", '{"recipe": 3}'),
        ("quantization.json", "\0"),
        ("history.csv", "a,b\n1,2\n"),
    ],
)
def test_a_broken_file_is_one_sentence(name, content, flowers):
    (flowers / name).write_text(content)
    with pytest.raises(ResNeXtError, match=rf"{name} is not (a )?valid"):
        write_card(flowers)


def test_the_snippets_of_a_pushed_card_run(tiny_repository, tmp_path):
    save_image(tmp_path / "photo.jpg", seed=3)
    with HubServer() as hub, in_this_process(hub.url, tmp_path / "home"):
        assert run_training("push", tiny_repository, "tester/colors").returncode == 0
        card = hub.repos["model", "tester/colors"].find("main")[2]["README.md"].content.decode()
        snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        timm = [snippet for snippet in snippets if "import timm" in snippet]
        ours, *openvino = [snippet for snippet in snippets if snippet not in timm]
        assert (len(timm), len(openvino)) == (1, 2)
        with contextlib.chdir(tmp_path):
            ran = {}
            exec(ours, ran)
            assert ran["predictions"] == Classifier.from_pretrained("tester/colors")("photo.jpg", 5)
            assert ran["model"].output_shape == (None, 10)
            for snippet in openvino:
                exec(snippet, ran)
            compile(timm[0], "timm", "exec")
            if importlib.util.find_spec("timm"):
                exec(timm[0], ran_timm := {})
    expected = Classifier.from_pretrained(tiny_repository, precision="float32")
    with Image.open(tmp_path / "photo.jpg") as image:
        probabilities = {row.label: row.probability for row in expected(image, 3)}
    by_class = [probabilities[name] for name in ("ant", "bee", "cat")]
    assert ran["probabilities"] == pytest.approx(by_class, abs=0.02)
    if importlib.util.find_spec("timm"):
        assert ran_timm["probabilities"].tolist() == pytest.approx(by_class, abs=0.02)


def test_a_card_that_a_person_changed_is_kept(tmp_path):
    for name in ("config.json", "recipe.json", "history.csv", "evaluation.json"):
        shutil.copy(BUNDLED["flowers"] / name, tmp_path)
    (tmp_path / "README.md").write_text("# Mine\n")
    write_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


def test_a_card_that_is_a_link_to_a_file_elsewhere_is_refused(tiny_repository, tmp_path):
    (tmp_path / "notes.txt").write_text("private")
    (tiny_repository / "README.md").symlink_to(tmp_path / "notes.txt")
    with pytest.raises(RepositoryError, match="README.md is outside of .*, because a link leads there"):
        write_card(tiny_repository)


@pytest.mark.parametrize(
    ("overlap", "words"),
    [
        (
            0,
            "test images, which were used neither to train nor to choose the weights (checked by their "
            "content; the images of the network that training started from were not checked).",
        ),
        (3, "test images, 3 of which were also used to train or to choose the weights."),
        (None, "test images.\n"),
    ],
)
def test_the_card_claims_of_the_test_images_what_was_checked(overlap, words, tmp_path):
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    dataclasses.replace(read_evaluation(folder), overlap=overlap).write(folder)
    write_card(folder)
    assert f"on 550 {words}" in (folder / "README.md").read_text("utf-8")


def test_the_card_states_no_results_of_other_weights(tmp_path):
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    dataclasses.replace(read_evaluation(folder), weights_sha256="0" * 64).write(folder)
    write_card(folder)
    assert "## Results" not in (folder / "README.md").read_text("utf-8")


def test_the_card_names_the_weights_that_were_kept(tmp_path):
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    record = json.loads((folder / "recipe.json").read_bytes())
    record["recipe"] |= {"keep_last": True, "ema": 0.99, "accumulate": 1}
    (folder / "recipe.json").write_text(json.dumps(record))
    write_card(folder)
    text = (folder / "README.md").read_text("utf-8")
    assert "The weights (an exponential moving average) are those of epoch 17 of 17, the last one" in text
    assert "| decay of the averaged weights (EMA) | 0.99 |" in text
    assert "accumulated" not in text


def test_a_card_without_a_complete_evaluation_states_no_results(tmp_path):
    for name in ("config.json", "recipe.json", "history.csv"):
        shutil.copy(BUNDLED["flowers"] / name, tmp_path)
    write_card(tmp_path)
    assert "## Results" not in (tmp_path / "README.md").read_text("utf-8")
    evaluation = json.loads((BUNDLED["flowers"] / "evaluation.json").read_bytes())
    del evaluation["loss"]
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    write_card(tmp_path)
    assert "## Results" not in (tmp_path / "README.md").read_text("utf-8")


@pytest.mark.hostile
def test_class_names_in_the_card_cannot_act_as_markup(tmp_path, tiny_config):
    labels = ("<img src=x>", "a|b", "[x](javascript:y)", "$x^2$", "~~s~~", "two\nlines", "\u202egnp\x1b")
    dataclasses.replace(tiny_config, label_names=labels).write(tmp_path / "config.json")
    write_card(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "<img" not in text
    assert "a|b" not in text
    assert "[x]" not in text
    assert not any(character in text for character in "$~\u202e\x1b")
    assert "two lines" in text


@pytest.mark.hostile
def test_the_title_and_addresses_in_the_card_are_plain_text(tmp_path, tiny_config):
    labels = ("www.evil.example", "HTTPS://evil.example/a", "a@evil.example")
    folder = tmp_path / "*net* www.evil.example"
    folder.mkdir()
    dataclasses.replace(tiny_config, label_names=labels).write(folder / "config.json")
    write_card(folder)
    text = (folder / "README.md").read_text()
    title = text.split("\n# ", 1)[1].splitlines()[0]
    assert title == "&#42;net&#42; www<!-- -->.evil.example"
    # GitHub and the Hub look for these, also in escaped text. The code examples below are not searched.
    introduction = text.split("\n# ", 1)[1].split("\n## ", 1)[0].replace("(https://arxiv.org/", "(")
    assert not re.search(r"www\.|https?:|\w@", html.unescape(introduction), re.IGNORECASE)
    assert "evil.example/a" in introduction


@pytest.mark.parametrize("name", ["my_net", "resnext50.v2-a", "Net"])
def test_a_usual_name_is_the_title_as_it_is(name, tmp_path, tiny_config):
    tiny_config.write(tmp_path / name / "config.json")
    write_card(tmp_path / name)
    assert f"\n# {name}\n" in (tmp_path / name / "README.md").read_text()


def test_long_names_are_shortened_and_untested_classes_have_a_dash(tmp_path):
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    config = json.loads((folder / "config.json").read_bytes())
    evaluation = read_evaluation(folder)
    long = "daisy" * 48
    config["label_names"][0] = long
    (folder / "config.json").write_text(json.dumps(config))
    first = evaluation.per_class[0]._replace(label=long, precision=0, recall=0, f1=0, support=0)
    dataclasses.replace(evaluation, per_class=(first, *evaluation.per_class[1:])).write(folder)
    write_card(folder)
    text = (folder / "README.md").read_text("utf-8")
    assert f"| {long[:99]}… | – | – | – | 0 |" in text
    assert long not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(10, "Training took 1 min. "), (1500, "Training took 50 min. "), (5400, "Training took 3.0 hours. ")],
)
def test_the_card_tells_how_long_training_took(seconds, text):
    assert _duration([{"seconds": seconds}] * 2) == text


def test_the_card_is_silent_about_an_unknown_duration():
    assert _duration([{"seconds": math.nan}]) == ""
