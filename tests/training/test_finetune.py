"""Fine-tuning: what learns, how fast and from when on; and from where a network comes."""

import dataclasses
import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from resnext.architecture import Architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError, WeightsError
from resnext.keras_model import build_model
from resnext.repository import find_repository
from resnext.results import best_epoch, read_history
from resnext.weights import read_tensors, save_tensors
from tests.helpers.hub_server import TOKEN, HubServer, environment
from tests.helpers.photographs import CLASSES, paint
from tests.helpers.repositories import random_tensors
from tests.helpers.training import RECIPE, run_training
from tests.training.helpers import evaluate_quietly, train
from training.cli import app
from training.data import find_images
from training.fit import fit
from training.optimizer import freeze_stages, make_optimizer
from training.recipe import RECIPES, Recipe, finetuning_epochs
from training.run_folder import Checkpoint

ARCHITECTURE = Architecture(layers=(1, 1, 1, 1), channels=(8, 8, 8, 8), cardinality=2, base_width=32)
# What the command line makes of the recipe for 36 images.
FINETUNE = dataclasses.replace(RECIPES["finetune"], epochs=finetuning_epochs(36))
# One step an epoch over all images, which are always the same: whatever the order, an epoch is the same.
STEADY = dataclasses.replace(
    RECIPE,
    batch_size=36,
    train_size=32,
    image_size=32,
    warmup_epochs=0,
    cosine=False,
    learning_rate=0.05,
    flip=False,
    zoom=0.0,
    rotation=0.0,
    jitter=0.0,
    mixup=0.0,
    cutmix=0.0,
)
NAMES = tuple(CLASSES)
STAGES = ("fc", "layer4", "layer3", "layer2", "layer1", "stem")


def repository_of(folder, label_names=("ant", "bee"), architecture=ARCHITECTURE, **preprocessing):
    ModelConfig(
        "resnext50_32x4d", architecture, label_names, Preprocessing(**{"image_size": 64, **preprocessing})
    ).write(folder / "config.json")
    save_tensors(random_tensors(architecture, len(label_names)), folder / "model.safetensors")
    return find_repository(folder)


def quietly(photographs, output, recipe, **options):
    fit(find_images(photographs), output, recipe, report=lambda line: None, **options)
    return read_tensors(output / "model.safetensors")


def stage_of(key):
    name = key.replace("/", ".").split(".")[0]
    return name if name in STAGES else "stem"


def moved(before, after, statistics=False):
    """The stages whose weights, or whose batch norm statistics, differ."""
    keys = [key for key in after if ("running" in key) == statistics and key in before]
    return {stage_of(key) for key in keys if not np.array_equal(before[key], after[key])}


def layers_named_as_stages():
    x = inputs = keras.Input((4,))
    for name in ("conv1", *(f"layer{stage}.0.conv1" for stage in range(1, 5)), "fc"):
        x = keras.layers.Dense(4, name=name)(x)
    return keras.Model(inputs, x)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("data") / "colors", test=1)


@pytest.fixture
def base(tmp_path):
    """A repository of random weights for two other classes, at 64 pixels."""
    return repository_of(tmp_path / "base")


@pytest.mark.parametrize("classifier", ["fc", "last_linear"])
def test_a_stage_takes_steps_by_its_distance_from_the_classifier(classifier):
    model = build_model(dataclasses.replace(ARCHITECTURE, legacy=classifier == "last_linear"), 2)
    recipe = Recipe(learning_rate=0.1, cosine=False, layer_decay=0.5, weight_decay=0.01)
    optimizer = make_optimizer(recipe, 10, classifier)
    variables = model.trainable_variables
    before = [variable.numpy() for variable in variables]
    gradients = [np.random.default_rng(0).normal(size=value.shape).astype("float32") for value in before]
    optimizer.apply([tf.constant(gradient) for gradient in gradients], variables)
    seen = set()
    for variable, old, gradient in zip(variables, before, gradients):
        stage = stage_of(variable.path.replace(classifier, "fc"))
        rate = 0.1 * 0.5 ** STAGES.index(stage)
        kept = 1 - 0.01 * rate if variable.name == "kernel" else 1
        # Nesterov's first step is 1.9 times the gradient's.
        assert np.allclose(variable.numpy(), old * kept - 1.9 * rate * gradient, atol=1e-6), variable.path
        seen.add(stage)
    assert seen == set(STAGES)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


def test_without_layer_decay_and_unfreezing_there_is_one_optimizer():
    assert isinstance(make_optimizer(RECIPES["scratch"], 10, "fc"), keras.optimizers.SGD)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stages_wait_for_their_epoch_and_then_move_without_a_jump(optimizer):
    model = layers_named_as_stages()
    recipe = Recipe(
        optimizer=optimizer, learning_rate=0.01, cosine=False, unfreeze_epochs=1, weight_decay=0.01
    )
    steps = 2
    stepper = make_optimizer(recipe, steps, "fc")
    variables = model.trainable_variables
    largest = {}
    for step in range(5 * steps + 1):
        before = [variable.numpy() for variable in variables]
        stepper.apply([tf.ones_like(value) for value in before], variables)
        for variable, old in zip(variables, before):
            change, stage = np.abs(variable.numpy() - old).max(), stage_of(variable.path)
            if step < steps * STAGES.index(stage):
                assert change == 0, (variable.path, step)
            elif step == steps * STAGES.index(stage):
                assert change > 0, variable.path
                largest[stage] = max(change, largest.get(stage, 0))
    # The first step of every stage is as large as the classifier's: its optimizer saw no gradient before.
    assert all(change == pytest.approx(largest["fc"], rel=0.1) for change in largest.values()), largest


@pytest.mark.slow
def test_frozen_batch_norm_keeps_statistics_and_weights(photographs, base, tmp_path):
    before = read_tensors(base.folder / "model.safetensors")
    after = quietly(
        photographs, tmp_path / "out", dataclasses.replace(STEADY, epochs=1, freeze_bn=True), pretrained=base
    )
    normed = {key for key in before if ".bn" in key or "bn1" in key or "downsample.1" in key}
    assert any("running_var" in key for key in normed)
    for key in normed:
        assert np.array_equal(before[key].astype("float16"), after[key]), key
    assert not np.allclose(before["layer1.0.conv2.weight"], after["layer1.0.conv2.weight"], atol=1e-3)


@pytest.mark.parametrize("classifier", ["fc", "last_linear"])
def test_stages_are_frozen_from_the_stem(classifier):
    for count in range(6):
        model = build_model(dataclasses.replace(ARCHITECTURE, legacy=classifier == "last_linear"), 2)
        freeze_stages(model, count)
        trained = {stage_of(value.path.replace(classifier, "fc")) for value in model.trainable_variables}
        assert trained == set(STAGES[: len(STAGES) - count]), count


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 5])
def test_frozen_stages_keep_weights_and_statistics(count, photographs, base, tmp_path):
    before = read_tensors(base.folder / "model.safetensors")
    before = {key: value.astype("float16") for key, value in before.items()}
    recipe = dataclasses.replace(STEADY, epochs=2, freeze_at=count, layer_decay=0.7, ema=0.9)
    after = quietly(photographs, tmp_path / "out", recipe, pretrained=base)
    trained = set(STAGES[: len(STAGES) - count])
    assert moved(before, after) == trained
    assert moved(before, after, statistics=True) == trained - {"fc"}


@pytest.mark.slow
def test_fine_tuning_keeps_preprocessing_except_for_size_and_crop(photographs, tmp_path):
    means = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    base = repository_of(
        tmp_path / "base",
        interpolation="bilinear",
        crop_pct=0.95,
        test_image_size=96,
        test_crop_pct=1.0,
        **means,
    )
    after = quietly(
        photographs,
        tmp_path / "out",
        dataclasses.replace(STEADY, epochs=1, image_size=48, train_size=40, crop_pct=0.8),
        pretrained=base,
    )
    config = ModelConfig.read(tmp_path / "out" / "config.json")
    assert config.preprocessing == Preprocessing(48, 0.8, "bilinear", **means)
    assert config.label_names == NAMES
    assert after["fc.weight"].shape == (3, 32)
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_bytes())["recipe"]
    assert recipe["mean"] == [0.5, 0.4, 0.3]


@pytest.mark.slow
def test_an_anti_aliased_network_trains_on_crops_that_it_can_pool(photographs, tmp_path):
    base = repository_of(tmp_path / "base", architecture=dataclasses.replace(ARCHITECTURE, aa_layer="avg"))
    quietly(
        photographs,
        tmp_path / "out",
        dataclasses.replace(STEADY, epochs=1, image_size=64, train_size=50),
        pretrained=base,
    )
    assert json.loads((tmp_path / "out" / "recipe.json").read_bytes())["recipe"]["train_size"] == 32


@pytest.mark.slow
def test_resumed_fine_tuning_ends_like_an_uninterrupted_run(photographs, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(line):
        if line.startswith("epoch 2/4"):
            raise Killed

    def state(name):
        return read_tensors(tmp_path / name / "checkpoint" / "state.safetensors")

    monkeypatch.setattr(Checkpoint, "remove", lambda self: None)
    recipe = dataclasses.replace(
        STEADY, epochs=4, cosine=True, warmup_epochs=1, layer_decay=0.7, unfreeze_epochs=1
    )
    images, base = find_images(photographs), repository_of(tmp_path / "base", crop_pct=1.0)
    fit(images, tmp_path / "whole", recipe, pretrained=base, report=lambda line: None)
    with pytest.raises(Killed):
        fit(images, tmp_path / "killed", recipe, pretrained=base, report=kill)
    before = read_tensors(base.folder / "model.safetensors")
    after = {key.removeprefix("model/"): value for key, value in state("killed").items()}
    assert moved(before, after) == {"fc", "layer4"}
    assert moved(before, after, statistics=True) == set(STAGES) - {"fc"}
    fit(images, tmp_path / "killed", recipe, pretrained=base, resume=True, report=lambda line: None)
    whole, resumed = state("whole"), state("killed")
    assert set(whole) == set(resumed)
    for key, value in whole.items():
        assert np.allclose(value, resumed[key], atol=1e-4), key
    after = {key.removeprefix("model/"): value for key, value in resumed.items()}
    assert moved(before, after) == {"fc", "layer4", "layer3", "layer2"}
    rates = [[row["learning_rate"] for row in read_history(tmp_path / name)] for name in ("whole", "killed")]
    assert rates[0] == rates[1]
    assert len(set(rates[0])) == 4


def test_the_loss_is_scaled_over_all_stages_in_float16():
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = layers_named_as_stages()
        model.compile(
            make_optimizer(Recipe(cosine=False, learning_rate=0.05, layer_decay=0.5), 1, "fc"), "mse"
        )
        before = [variable.numpy() for variable in model.trainable_variables]
        # A step whose gradients overflow is skipped, and halves the scale.
        model.fit(np.ones((4, 4)), np.zeros((4, 4)), epochs=12, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.05)
    for variable, old in zip(model.trainable_variables, before):
        assert np.isfinite(variable.numpy()).all() and not np.array_equal(variable.numpy(), old), (
            variable.path
        )


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"layer_decay": 0.0}, "layer-decay must be above 0 and at most 1, not 0.0"),
        ({"layer_decay": 1.5}, "layer-decay must be"),
        ({"layer_decay": float("nan")}, "layer-decay must be"),
        ({"freeze_at": -1}, "freeze-at must be at least 0 and at most 5, not -1"),
        ({"freeze_at": 6}, "freeze-at must be"),
        ({"unfreeze_epochs": -1.0}, "unfreeze-epochs must be at least 0, not -1"),
        ({"unfreeze_epochs": float("inf")}, "unfreeze-epochs must be"),
    ],
)
def test_a_rate_or_wait_out_of_range_is_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        Recipe(**setting)


@pytest.mark.parametrize(
    "setting", [{"layer_decay": 0.7}, {"unfreeze_epochs": 1.0}, {"freeze_bn": True}, {"freeze_at": 1}]
)
def test_fine_tuning_without_a_network_to_start_from_is_refused(setting, photographs, tmp_path):
    name = next(iter(setting)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"{name} is for fine-tuning.*--pretrained"):
        fit(find_images(photographs), tmp_path / "out", dataclasses.replace(RECIPE, **setting))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ((), FINETUNE),
        (("--recipe", "probe"), RECIPES["probe"]),
        (("--from-scratch",), RECIPES["scratch"]),
        (("--recipe", "scratch"), RECIPES["scratch"]),
        (("--model", "resnext50_32x4d"), dataclasses.replace(RECIPES["scratch"], model="resnext50_32x4d")),
        (
            ("--pretrained", "BASE", "--recipe", "probe"),
            dataclasses.replace(RECIPES["probe"], image_size=64, train_size=50, crop_pct=0.9),
        ),
        (
            ("--pretrained", "BASE", "--image-size", "224", "--epochs", "3"),
            dataclasses.replace(FINETUNE, epochs=3, crop_pct=0.9),
        ),
        (("--pretrained", "BASE"), dataclasses.replace(FINETUNE, image_size=64, train_size=64, crop_pct=0.9)),
        (
            ("--image-size", "160"),
            dataclasses.replace(FINETUNE, image_size=160, train_size=160, crop_pct=0.875),
        ),
        (("--image-size", "280"), dataclasses.replace(FINETUNE, image_size=280, train_size=220)),
        (
            ("--image-size", "64", "--train-size", "48"),
            dataclasses.replace(FINETUNE, image_size=64, train_size=48),
        ),
        (("--pretrained", "BASE", "--image-size", "224", "--crop-pct", "0.8"), FINETUNE),
        (
            ("--image-size", "64", "--crop-pct", "0.9"),
            dataclasses.replace(FINETUNE, image_size=64, train_size=64, crop_pct=0.9),
        ),
        (
            ("--pretrained", "IMAGENET", "--image-size", "224"),
            dataclasses.replace(FINETUNE, learning_rate=0.004, crop_pct=0.875),
        ),
        (
            ("--pretrained", "IMAGENET", "--image-size", "224", "--learning-rate", "0.01"),
            dataclasses.replace(FINETUNE, learning_rate=0.01, crop_pct=0.875),
        ),
        (("--pretrained", "IMAGENET", "--image-size", "160", "--recipe", "probe"), RECIPES["probe"]),
        (("--pretrained", "BASE", "--recipe", "scratch", "--image-size", "144"), RECIPES["scratch"]),
        (
            (
                "--pretrained",
                "BASE",
                "--image-size",
                "224",
                "--freeze-bn",
                "--layer-decay",
                "0.6",
                "--unfreeze-epochs",
                "0.5",
            ),
            dataclasses.replace(FINETUNE, crop_pct=0.9, freeze_bn=True, layer_decay=0.6, unfreeze_epochs=0.5),
        ),
    ],
)
def test_the_command_line_takes_size_and_crop_from_the_network(
    arguments, expected, photographs, tmp_path, monkeypatch
):
    class Chosen(Exception):
        pass

    def choose(images, output, recipe, **options):
        raise Chosen(recipe)

    monkeypatch.setattr("training.fit.fit", choose)
    (tmp_path / "base").mkdir()
    folders = {"BASE": repository_of(tmp_path / "base", crop_pct=0.9).folder}
    if "IMAGENET" in arguments:
        (tmp_path / "imagenet").mkdir()
        folders["IMAGENET"] = repository_of(
            tmp_path / "imagenet", tuple(f"class {index}" for index in range(1000))
        ).folder
    arguments = [
        "fit",
        str(photographs),
        "--output",
        str(tmp_path / "out"),
        *(str(folders.get(argument, argument)) for argument in arguments),
    ]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, Chosen), result.output
    assert result.exception.args[0] == expected


def test_help_names_the_recipes_and_what_fine_tuning_takes():
    text = run_training("fit", "--help", env={**os.environ, "COLUMNS": "200"}).stdout
    for word in (
        "finetune",
        "--freeze-bn",
        "--no-freeze-bn",
        "--freeze-at",
        "--layer-decay",
        "--unfreeze-epochs",
    ):
        assert word in text, word


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            ("--from-scratch", "--layer-decay", "0.7"),
            "layer-decay is for fine-tuning: give a network to start from with --pretrained",
        ),
        (("--layer-decay", "0"), "layer-decay must be above 0 and at most 1, not 0.0"),
    ],
)
@pytest.mark.slow
def test_wrong_usage_of_fine_tuning_gets_one_clear_line(arguments, words, photographs, tmp_path):
    result = run_training("fit", photographs, "--output", tmp_path / "out", *arguments)
    assert result.returncode == 1
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_timm_network_on_the_hub_is_fine_tuned_and_named_in_the_card(photographs, tmp_path):
    """timm's own config.json: no class names, this tiny network's model_args, and 1,000 classes."""
    from huggingface_hub import HfApi, ModelCard

    source = tmp_path / "timm"
    source.mkdir()
    published = {
        "architecture": "resnext50_32x4d",
        "num_classes": 1000,
        "num_features": 32,
        "model_args": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "cardinality": 2, "base_width": 32},
        "pretrained_cfg": {
            "tag": "a1h_in1k",
            "custom_load": False,
            "input_size": [3, 64, 64],
            "test_input_size": [3, 96, 96],
            "fixed_input_size": False,
            "interpolation": "bicubic",
            "crop_pct": 0.95,
            "test_crop_pct": 1.0,
            "crop_mode": "center",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "num_classes": 1000,
            "pool_size": [2, 2],
            "first_conv": "conv1",
            "classifier": "fc",
        },
    }
    (source / "config.json").write_text(json.dumps(published))
    save_tensors(random_tensors(ARCHITECTURE, 1000), source / "model.safetensors")
    with HubServer() as hub:
        api = HfApi(hub.url, TOKEN)
        api.create_repo("tester/resnext50_32x4d.a1h_in1k")
        api.upload_folder(repo_id="tester/resnext50_32x4d.a1h_in1k", folder_path=source)
        name, output = "tester/resnext50_32x4d.a1h_in1k", tmp_path / "out"
        options = ["--pretrained", name, "--epochs", "1", "--batch-size", "18", "--precision", "float32"]
        env = {**os.environ, **environment(hub.url, tmp_path / "home")}
        result = run_training("fit", photographs, "--output", output, *options, env=env)
        commit = hub.repos["model", name].find("main")[1]
    assert result.returncode == 0, result.stderr
    record = json.loads((output / "recipe.json").read_bytes())
    assert record["pretrained"] == {"name": name, "revision": commit}
    config = ModelConfig.read(output / "config.json")
    assert config.label_names == NAMES
    assert config.architecture == ARCHITECTURE
    assert config.preprocessing == Preprocessing(64, 0.95)
    card = ModelCard.load(output / "README.md")
    assert card.data.base_model == name
    assert f"[{name}](https://huggingface.co/{name}/tree/{commit})" in card.text
    assert "| layer-wise learning-rate decay | 0.9 |" in card.text
    assert "| freeze batch norm (statistics and parameters) | False |" in card.text
    assert "| epochs before each further stage is unfrozen | 0.0 |" in card.text


def test_a_probe_leaves_the_network_as_it_is_and_has_a_curve(photographs, base, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=0, probe_passes=50)
    output = train(photographs, tmp_path / "out", recipe, pretrained=base)
    before, after = (read_tensors(folder / "model.safetensors") for folder in (base.folder, output))
    for key in before:
        if not key.startswith("fc."):
            np.testing.assert_array_equal(before[key].astype(np.float16), after[key])
    history = read_history(output)
    assert [row["epoch"] for row in history] == [*range(1, len(history) + 1)]
    assert max(row["val_accuracy"] for row in history) == 1
    evaluation = evaluate_quietly(photographs, output, output)
    assert evaluation.top1 == 1


def test_fine_tuning_starts_from_the_probe_and_never_ends_worse(photographs, base, tmp_path):
    """With a learning rate of 0.5, the only epoch is much worse than the probe."""
    lines = []
    recipe = dataclasses.replace(RECIPE, epochs=1, probe_passes=50, learning_rate=0.5, warmup_epochs=0)
    output = fit(find_images(photographs), tmp_path / "out", recipe, pretrained=base, report=lines.append)
    start, epoch = read_history(output)
    assert start["epoch"] == 0
    assert start["val_accuracy"] == 1 > epoch["val_accuracy"]
    assert best_epoch([start, epoch]) is start
    assert any(line.startswith("No epoch classified as many validation images") for line in lines)
    probe = train(photographs, tmp_path / "probe", dataclasses.replace(recipe, epochs=0), pretrained=base)
    kept, expected = (read_tensors(folder / "model.safetensors") for folder in (output, probe))
    for key in expected:
        np.testing.assert_array_equal(kept[key], expected[key])


def test_identical_images_are_refused_by_the_probe(photographs, base, tmp_path):
    data = shutil.copytree(photographs, tmp_path / "data")
    content = (data / "train" / "red" / "0.jpg").read_bytes()
    for file in data.rglob("*.jpg"):
        file.write_bytes(content)
    recipe = dataclasses.replace(RECIPE, epochs=0, probe_passes=5)
    assert recipe.flip, "the mirror image of an image has other features"
    with pytest.raises(WeightsError, match="the same in all images: start from another network, or look at"):
        train(data, tmp_path / "out", recipe, pretrained=base)


def test_equal_features_are_refused_by_the_probe(photographs, base, tmp_path):
    network = shutil.copytree(base.folder, tmp_path / "dead")
    tensors = read_tensors(network / "model.safetensors")
    zeros = {
        key: np.zeros_like(value) if key.startswith("layer4") else value for key, value in tensors.items()
    }
    save_tensors(zeros, network / "model.safetensors")
    recipe = dataclasses.replace(RECIPE, epochs=0, probe_passes=5)
    with pytest.raises(WeightsError, match="the same in all images: start from another network"):
        train(photographs, tmp_path / "out", recipe, pretrained=find_repository(network))
