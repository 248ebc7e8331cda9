"""Output folders of training: interrupted runs, checkpoints, and recipe.json of any origin."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from resnext.errors import RepositoryError
from resnext.keras_model import build_model
from resnext.pretrained import from_pretrained, save_pretrained
from resnext.results import read_history
from tests.helpers.training import RECIPE
from tests.training.helpers import TINY, train
from training.run_folder import Checkpoint, recorded_commands, recorded_seed


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_is_resumed(photographs, base, tmp_path, monkeypatch):
    output = tmp_path / "out"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            train(photographs, output, RECIPE, pretrained=base)
    assert (output / "model.safetensors").exists()
    assert not (output / "checkpoint").exists()
    with pytest.raises(RepositoryError, match="interrupted run: add --resume"):
        train(photographs, output, RECIPE, pretrained=base)
    train(photographs, output, RECIPE, pretrained=base, resume=True)
    assert [row["epoch"] for row in read_history(output)] == [1, 2]


@pytest.mark.slow
def test_resuming_with_another_recipe_is_refused(tuned, base, photographs, tmp_path):
    output = shutil.copytree(tuned, tmp_path / "out")
    with pytest.raises(RepositoryError, match="no interrupted run"):
        train(photographs, output, RECIPE, pretrained=base, resume=True)
    (output / "checkpoint").mkdir()
    (output / "checkpoint" / "state.safetensors").touch()
    with pytest.raises(RepositoryError, match=r"another recipe \(epochs 1, not 2\): resume with the same"):
        train(photographs, output, RECIPE, pretrained=base, resume=True)
    other = dataclasses.replace(RECIPE, model="resnext50_32x4d", epochs=1, crop_pct=0.875)
    with pytest.raises(RepositoryError, match=r"another pretrained network \({.*}, not None\): resume with"):
        train(photographs, output, other, resume=True)


@pytest.mark.slow
def test_a_checkpoint_restores_weights_optimizer_and_epoch_bit_for_bit(tmp_path):
    def compiled():
        model = from_pretrained(tmp_path / "m")
        schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
        model.compile(keras.optimizers.SGD(schedule, momentum=0.9), "mse")
        return model

    save_pretrained(build_model(TINY, label_names=("a", "b")), tmp_path / "m")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    y = np.eye(2, dtype="float32")[[0, 1, 0, 1]]
    model = compiled()
    for _ in range(3):
        model.train_on_batch(x, y)
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    checkpoint.save(model, 7)
    other = compiled()
    assert checkpoint.restore(other) == 7
    assert int(other.optimizer.iterations) == 3
    assert float(other.optimizer.learning_rate) == float(model.optimizer.learning_rate) < 0.1
    for before, after in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(before, after)
    model.train_on_batch(x, y)
    other.train_on_batch(x, y)
    for before, after in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.allclose(before, after, atol=1e-5)


@pytest.mark.hostile
@pytest.mark.parametrize("seed", ["-1", "1e400", '"7"', "[" * 10**5, "4294967296"])
def test_an_invalid_recorded_seed_counts_as_0(seed, tmp_path):
    (tmp_path / "recipe.json").write_text(f'{{"recipe": {{"seed": {seed}}}}}')
    assert recorded_seed(tmp_path) == 0


SHELL_TRICKS = ("; curl x | sh", " $(id)", " `id`", " > x", " 'x", " x &")


@pytest.mark.hostile
@pytest.mark.parametrize(
    "recipe_json",
    [
        "[]",
        "{",
        '{"commands": "python -m training x"}',
        '{"commands": ["```", "python -m training x\\n```"]}',
        '{"commands": [1]}',
        "[" * 10**5,
        *(json.dumps({"commands": [f"python -m training fit x{trick}"]}) for trick in SHELL_TRICKS),
        *(json.dumps({"commands": [f"resnext fit x{trick}"]}) for trick in SHELL_TRICKS),
    ],
)
def test_a_hostile_recipe_json_adds_no_command(recipe_json, tmp_path):
    (tmp_path / "recipe.json").write_text(recipe_json)
    assert recorded_commands(tmp_path) == []


def test_the_last_twenty_commands_of_a_pretrained_network_are_kept(tmp_path):
    commands = [f"python -m training fit 'my photographs' --output {index}" for index in range(30)]
    (tmp_path / "recipe.json").write_text(json.dumps({"commands": commands}))
    assert recorded_commands(tmp_path) == commands[10:]
