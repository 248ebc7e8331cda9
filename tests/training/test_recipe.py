"""Recipes: their settings, ranges and files, and the options of the command line that are made from them."""

import dataclasses
import json

import pytest
import typer
from typer.testing import CliRunner

from resnext.errors import ConfigError
from resnext.page.i18n import translate_setting
from tests.helpers.paths import ROOT
from training.options import default_in_recipes, recipe_options
from training.recipe import RECIPES, Recipe, find_recipe, option_name

FIELDS = {field.name: field for field in dataclasses.fields(Recipe)}


@pytest.fixture(scope="module")
def command():
    """A command line with the options of a recipe, which prints what it got."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @recipe_options
    def show(**settings):
        print(json.dumps({key: value for key, value in settings.items() if value is not None}))

    return lambda *arguments: CliRunner(env={"COLUMNS": "300"}).invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_has_an_option_with_its_default_in_each_recipe(name, command):
    text = " ".join(command("--help").output.replace("│", " ").split())
    assert f"--{option_name(name)}" in text
    assert default_in_recipes(name) in text
    assert translate_setting("zh", name) != name, "the page has a Chinese name for it"


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (("--no-flip", "--cosine"), {"flip": False, "cosine": True}),
        (("--mean", 0.1, 0.2, 0.3), {"mean": [0.1, 0.2, 0.3]}),
        (("--ema", 0.99, "--accumulate", 4), {"ema": 0.99, "accumulate": 4}),
        (("--class-weights", "balanced"), {"class_weights": "balanced"}),
    ],
)
def test_options_have_the_types_of_their_settings(arguments, values, command):
    assert json.loads(command(*arguments).output) == values


@pytest.mark.parametrize(
    "arguments", [("--zoom", 2), ("--epochs", -1), ("--image-size", 16), ("--optimizer", "lion"), ("--flop",)]
)
def test_wrong_options_are_wrong_usage(arguments, command):
    assert command(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": -1}, "epochs must be at least 0 and at most 1000000, not -1"),
        ({"epochs": 10**25}, "epochs must be at least 0 and at most 1000000, not 10{25}"),
        ({"mixup": 1e300}, "mixup must be at least 0 and at most 100, not 1e"),
        ({"epochs": 0}, "epochs and probe-passes are both 0: there is nothing to train"),
        ({"epochs": 2.5}, "epochs must be a whole number, not 2.5"),
        ({"epochs": True}, "epochs must be a whole number, not True"),
        ({"epochs": "many"}, "epochs must be a whole number, not 'many'"),
        ({"learning_rate": float("nan")}, "learning-rate must be a finite number, not nan"),
        ({"learning_rate": None}, "learning-rate must be a number, not None"),
        ({"flip": 1}, "flip must be true or false, not 1"),
        ({"model": 7}, "model must be a text, not 7"),
        ({"mean": (0.5, 0.5)}, r"mean must be three numbers, not \(0.5, 0.5\)"),
        ({"std": (0.5, 0.5, 0.0)}, "std must be above 0, not 0.0"),
        ({"crop_pct": 1.5}, "crop-pct must be above 0 and at most 1, not 1.5"),
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adamw, not 'lion'"),
        ({"labels": "int"}, "Label smoothing needs categorical or binary labels, not int"),
        ({"labels": "int", "label_smoothing": 0.0}, "MixUp and CutMix blend labels"),
    ],
)
def test_an_invalid_setting_is_named_with_its_range(values, words):
    with pytest.raises(ConfigError, match=words):
        Recipe(**values)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_read_from_its_own_file(name, tmp_path):
    for content in (dataclasses.asdict(RECIPES[name]), {"recipe": dataclasses.asdict(RECIPES[name])}):
        (tmp_path / "recipe.json").write_text(json.dumps(content))
        assert find_recipe(str(tmp_path / "recipe.json")) == RECIPES[name]


def test_the_recipe_of_an_older_version_has_defaults_for_new_settings(tmp_path):
    record = json.loads((ROOT / "resnext" / "flowers" / "recipe.json").read_bytes())
    for name in ("ema", "probe_passes", "detect_unknown", "calibrate"):
        del record["recipe"][name]
    (tmp_path / "recipe.json").write_text(json.dumps(record))
    recipe = find_recipe(str(tmp_path / "recipe.json"))
    assert (recipe.epochs, recipe.ema, recipe.probe_passes) == (17, 0.0, 0)
    assert recipe.detect_unknown
    assert recipe.calibrate


@pytest.mark.hostile
@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "null", '{"epocs": 1}', '{"recipe": 1}', '{"epochs": [1]}', "[" * 10**5, b"\xff"],
)
def test_an_invalid_recipe_file_is_one_line_that_names_it(content, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=r"recipe\.json is not a valid recipe") as error:
        find_recipe(str(path))
    assert len(str(error.value).splitlines()) == 1


def test_an_unknown_recipe_is_named_beside_the_known_ones():
    with pytest.raises(
        ConfigError,
        match="Unknown recipe 'secret': give probe, finetune, scratch, pretrain, tutorial, or the",
    ):
        find_recipe("secret")
