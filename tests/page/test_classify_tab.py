"""The tab that classifies one photograph, without a server."""

import types

import gradio as gr
import pytest
from PIL import Image

from resnext.page.tabs import classify
from resnext.page.tabs.classify import ClassifyTab
from tests.helpers.photographs import save_image
from tests.helpers.repositories import FLOWERS


@pytest.fixture(scope="module")
def tab(models):
    return ClassifyTab(models)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return str(save_image(tmp_path_factory.mktemp("uploads") / "photograph.png", seed=7))


def test_the_most_likely_classes_are_returned(tab, classifier, image, ask):
    expected = {prediction.label: prediction.probability for prediction in classifier(image, top_k=3)}
    confidences = tab.classify(image, 3, "flowers", ask())
    assert list(confidences) == list(expected)
    assert confidences == pytest.approx(expected, rel=1e-4)
    assert tab.classify(None, 3, "flowers", ask()) == {}


def test_a_bad_image_is_named_without_its_folder_in_the_visitors_language(tab, tmp_path, ask):
    (tmp_path / "notes.jpg").write_text("no image")
    for language, message in (
        ("en-US", "notes.jpg cannot be read as an image: it is not an image of a known format."),
        ("zh-CN", "notes.jpg 无法作为图像读取：不是已知的图像格式。"),
    ):
        with pytest.raises(gr.Error) as error:
            tab.classify(str(tmp_path / "notes.jpg"), 5, "flowers", ask(language))
        assert error.value.message == message


def test_a_prediction_is_described_with_its_explanation(tab, classifier, image, ask):
    answer, times, label, explanation, opacity = tab.describe(image, 3, "flowers", ask())
    best = classifier(image, top_k=1)[0].label
    assert best in answer
    assert 'role="status"' in answer
    assert "total" in times
    assert label.choices[0] == (best, FLOWERS.index(best))
    assert (len(label.choices), label.value, label.visible) == (3, FLOWERS.index(best), True)
    assert f"evidence for {best}" in explanation
    assert opacity.visible


def test_a_photograph_of_none_of_the_classes_is_said_to_be_so(refusing_models, image, ask):
    tab = ClassifyTab(refusing_models)
    answer = tab.describe(image, 3, "flowers", ask())[0]
    assert "This does not look like any of the 5 classes." in answer
    assert 'class="answer unknown"' in answer
    assert "不属于 5 个类别" in tab.describe(image, 3, "flowers", ask("zh-CN"))[0]
    assert len(tab.classify(image, 3, "flowers", ask())) == 3  # the classes stay


def test_without_a_photograph_nothing_is_described(tab, ask):
    answer, times, label, explanation, opacity = tab.describe(None, 3, "flowers", ask())
    assert (answer, times, explanation) == ("", "", "")
    assert not label.visible
    assert not opacity.visible


def test_another_class_is_explained_when_its_bar_is_clicked(tab, image, ask):
    index = tab.choose_bar(image, 5, "flowers", types.SimpleNamespace(value="roses"))
    assert index == FLOWERS.index("roses")
    assert tab.choose_bar(image, 5, "flowers", types.SimpleNamespace(value="cactus")) is None
    assert "支持 roses 的证据" in tab.explain_class(image, index, "flowers", ask("zh-CN"))
    assert tab.explain_class(image, None, "flowers", ask()) == ""


def test_an_example_is_chosen_by_its_index(tab, models):
    chosen = tab.choose_example("flowers", types.SimpleNamespace(index=1))
    assert chosen == str(models.open("flowers").examples()[1])


def test_an_explanation_is_the_size_of_the_input_of_the_network(tab, image):
    overlay = tab.explain(image, "roses")
    assert isinstance(overlay, Image.Image)
    assert overlay.size == (64, 64)
    with pytest.raises(gr.Error, match="cactus is not a class of flowers: choose one of daisy"):
        tab.explain(image, "cactus")
    with pytest.raises(gr.Error, match="no image to explain"):
        tab.explain(None)


@pytest.mark.parametrize(
    "probability, text",
    [
        (0.97, "roses, 97 percent."),
        (0.6, "Probably roses, 60 percent."),
        (0.2, "Not sure: the best guess is roses, 20 percent. The network knows only its 5 classes."),
    ],
)
def test_the_sentence_says_how_certain_the_network_is(probability, text):
    assert classify.in_words("roses", probability, 5) == text
