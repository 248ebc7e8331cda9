"""The tab of the model card, without a server."""

from resnext.page.models import Models
from resnext.page.tabs.card import CardTab


def test_a_folder_has_lines_for_two_libraries_and_says_where_to_run_them(models):
    hub, resnext, timm, where, card = CardTab(models).show(models.open(None), "en")
    assert not hub.visible
    assert "from_pretrained" in resnext.value
    assert "local-dir:flowers" in timm.value
    assert "is in a folder of this server" in where
    assert '<h2 id="card-a-model">A model</h2>' in card


def test_the_bundled_model_is_run_in_the_folder_of_the_project():
    models = Models([None])
    _, resnext, _, where, _ = CardTab(models).show(models.open(None), "en")
    assert "comes with the project" in where
    assert resnext.value == 'import resnext; resnext.from_pretrained("flowers")'
