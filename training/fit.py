"""`fit`: image folders in, a trained model repository out; killed and resumed without loss."""

import contextlib
import dataclasses
import json
import pathlib
import platform
import shlex
import time

import keras
import numpy as np
import safetensors.numpy
import tensorflow as tf

from resnext.architecture import find_architecture
from resnext.atomic import replacing, write_atomically
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError, DataError, RepositoryError
from resnext.keras_model import build_model, dtype_policy
from resnext.repository import Repository
from resnext.shapes import tensor_shapes
from resnext.weights import keras_tensors, load_into_keras, read_tensors, save_tensors

from . import plots
from .data import ImageFolders, make_dataset
from .history import COLUMNS, best_epoch, read_history, write_history
from .optimizer import make_optimizer
from .recipe import Recipe

_MAX_COMMANDS = 20  # of the networks that one began with


def set_up_devices() -> str:
    """Lets GPU memory grow on demand instead of taking all of it, and says in a line what was found."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        return f"No GPU found: training on the CPU with {tf.config.threading.get_intra_op_parallelism_threads() or 'all'} threads."
    names = ", ".join(
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus
    )
    return f"Training on {len(gpus)} GPU{'s' * (len(gpus) > 1)} ({names}); memory grows as it is needed."


def fit(
    data: ImageFolders,
    output: pathlib.Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    halve_batch: bool = False,
    pretrained: Repository | None = None,
    commands: tuple[str, ...] = (),
    report=print,
) -> pathlib.Path:
    """Trains a network and keeps the weights of the best validation loss.

    Args:
        data: with "train" and "val".
        output: the model repository to make. While training it also holds `checkpoint/`.
        recipe: how to train.
        resume: go on after the last finished epoch of an interrupted run in `output`.
        halve_batch: if memory runs out in the first epoch, start again with half the batch size and learning rate.
        pretrained: start from this network's weights instead of random ones; its classifier only if it has the same classes.
            Its architecture, crop_pct, mean and std take the place of the recipe's; its interpolation stays, too.
        commands: the command lines that do this again, for recipe.json.
        report: takes a line of progress.

    Returns:
        `output`, with config.json, model.safetensors, recipe.json and history.csv.

    Raises:
        DataError: there is no training set.
        RepositoryError: `output` holds another run, or there is nothing to resume or it used another recipe.
        ConfigError: the recipe does not fit the data, or its batches do not fit into memory.
    """
    if "train" not in data.splits:
        raise DataError(f"{data.root} has no train folder: make one with a folder of images for each class.")
    if pretrained:
        base = ModelConfig.read(pretrained.folder / "config.json")
        architecture, seen = base.architecture, base.preprocessing
        recipe = dataclasses.replace(
            recipe, model=base.name, mean=seen.mean, std=seen.std, crop_pct=seen.crop_pct
        )
    else:
        for name, unused in (("freeze_bn", False), ("layer_decay", 1), ("unfreeze_epochs", 0)):
            if getattr(recipe, name) != unused:
                name = name.replace("_", "-")
                raise ConfigError(
                    f"{name} is for fine-tuning: name a network to start from by --pretrained, or leave it out."
                )
        architecture, seen = find_architecture(recipe.model), Preprocessing()
    if (
        architecture.aa_layer
    ):  # whose pooling needs of a crop what ModelConfig asks of an image: a multiple of 32
        recipe = dataclasses.replace(recipe, train_size=max(32, recipe.train_size // 32 * 32))
    prep = Preprocessing(
        recipe.image_size, recipe.crop_pct, seen.interpolation, tuple(recipe.mean), tuple(recipe.std)
    )
    config = ModelConfig(recipe.model, architecture, data.label_names, prep)
    if recipe.labels == "binary" and config.num_classes != 2:
        raise ConfigError(f"Binary labels need two classes, but {data.root} has {config.num_classes}.")
    hardware = set_up_devices()
    report(hardware)
    checkpoint, asked = Checkpoint(output / "checkpoint"), recipe
    if resume and halve_batch:
        recipe = _at_batch_size(asked, _batch_size_before(output, recipe))
    while True:
        _claim(output, checkpoint, _record(data, recipe, pretrained, hardware, commands), resume)
        try:
            _train(data, output, recipe, config, pretrained, checkpoint, resume, report)
            break
        except tf.errors.ResourceExhaustedError:
            half = recipe.batch_size // 2
            if half and halve_batch and not checkpoint.path.exists():
                report(f"Out of memory at batch size {recipe.batch_size}: starting again with {half}.")
                (output / "recipe.json").unlink()
                recipe, resume = _at_batch_size(asked, half), False
                continue
            raise ConfigError(
                f"Out of memory at batch size {recipe.batch_size} with {recipe.train_size} x {recipe.train_size} pixels: "
                f"choose a smaller --batch-size (or auto), --image-size or --model."
            ) from None
    checkpoint.remove()
    return output


def _train(data, output, recipe, config, pretrained, checkpoint, resume, report):
    keras.utils.set_random_seed(recipe.seed)
    prep = config.preprocessing
    train = make_dataset(data.splits["train"], config.num_classes, recipe, prep, training=True)
    val = make_dataset(data.splits["val"], config.num_classes, recipe, prep, training=False)
    # Every visible GPU works on its part of a batch.
    several = len(tf.config.list_physical_devices("GPU")) > 1
    strategy = tf.distribute.MirroredStrategy().scope() if several else contextlib.nullcontext()
    with dtype_policy(_policy(recipe.precision)), strategy:
        model = build_model(
            config.architecture, label_names=config.label_names, preprocessing=prep, name=recipe.model
        )
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = not recipe.freeze_bn
        model.compile(
            make_optimizer(recipe, len(train), config.architecture.classifier),
            _loss(recipe),
            metrics=[_accuracy(recipe)],
        )
    config.write(output / "config.json")
    start = checkpoint.restore(model) if resume and checkpoint.path.exists() else 0
    if pretrained and not start:
        _load_pretrained(model, pretrained, config)
    if start:
        report(f"Going on after epoch {start} of {recipe.epochs}.")
    else:
        _draw_batch(train, data.label_names, output / "figures" / "batch.png")
    keeper = EpochKeeper(output, checkpoint, recipe.epochs, report)
    if start < recipe.epochs:
        model.fit(
            train,
            validation_data=val,
            initial_epoch=start,
            epochs=recipe.epochs,
            callbacks=[keeper],
            shuffle=False,
            verbose=0,
        )


class Checkpoint:
    """The state after the last finished epoch: weights, optimizer, epoch; one safetensors file and one JSON file."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.path = folder / "state.safetensors"

    def save(self, model: keras.Model, epoch: int) -> None:
        state = {f"model/{key}": value for key, value in keras_tensors(model).items()}
        for index, variable in enumerate(model.optimizer.variables):
            state[f"optimizer/{index}"] = variable.numpy()
        state["epoch"] = np.array(epoch)
        with replacing(self.path) as beside:
            safetensors.numpy.save_file(
                {key: np.array(value, order="C") for key, value in state.items()}, beside
            )

    def restore(self, model: keras.Model) -> int:
        """Puts the state into the compiled model; returns the number of finished epochs."""
        state = read_tensors(self.path)
        weights = {
            key.removeprefix("model/"): value for key, value in state.items() if key.startswith("model/")
        }
        load_into_keras(model, weights, self.path)
        model.optimizer.build(model.trainable_variables)
        for index, variable in enumerate(model.optimizer.variables):
            variable.assign(state[f"optimizer/{index}"])
        return int(state["epoch"])

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        if self.folder.is_dir():
            self.folder.rmdir()


class EpochKeeper(keras.callbacks.Callback):
    """After every epoch: the best weights, a row of history.csv, the checkpoint, and a line with the time left."""

    def __init__(self, output: pathlib.Path, checkpoint: Checkpoint, epochs: int, report):
        super().__init__()
        self.output, self.checkpoint, self.epochs, self.report = output, checkpoint, epochs, report
        self.seconds = []

    def on_train_begin(self, logs=None):
        self.rows = read_history(self.output / "history.csv")

    def on_epoch_begin(self, epoch, logs=None):
        # Rows after the checkpoint are from an epoch that was killed before it was whole.
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]
        self.began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.monotonic() - self.began
        self.seconds.append(seconds)
        rate = float(self.model.optimizer.learning_rate.numpy())
        row = {"epoch": epoch + 1, **{key: float(logs[key]) for key in COLUMNS[1:5]}}
        row |= {"learning_rate": rate, "seconds": seconds}
        self.rows.append(row)
        improved = best_epoch(self.rows) is row
        if improved:
            save_tensors(keras_tensors(self.model), self.output / "model.safetensors", "float16")
        write_history(self.rows, self.output / "history.csv")
        self.checkpoint.save(self.model, epoch + 1)
        left = (self.epochs - epoch - 1) * float(np.median(self.seconds[-5:]))
        self.report(
            f"epoch {epoch + 1}/{self.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
            f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}{' *' if improved else '  '}  "
            f"{seconds:.0f} s, {_minutes(left)} left"
        )


def _load_pretrained(model, pretrained, config):
    path = pretrained.folder / "model.safetensors"
    base = ModelConfig.read(pretrained.folder / "config.json")
    tensors = read_tensors(path, tensor_shapes(base.architecture, base.num_classes))
    if base.label_names != config.label_names:
        fresh = keras_tensors(model)
        tensors |= {key: fresh[key] for key in fresh if key.startswith(f"{config.architecture.classifier}.")}
    load_into_keras(model, tensors, path)


def _record(data, recipe, pretrained, hardware, commands) -> dict:
    origin = None
    if pretrained:
        commands = [*_commands(pretrained.folder), *commands]
        name = pretrained.name if pretrained.revision else pretrained.folder.resolve().name
        origin = {"name": name, "revision": pretrained.revision}
    return {
        "commands": list(commands),
        "pretrained": origin,
        "recipe": dataclasses.asdict(recipe),
        "dataset": {
            "name": data.root.resolve().name,
            "fingerprint": data.fingerprint(),
            "images": {name: len(split) for name, split in data.splits.items()},
        },
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        "hardware": hardware,
    }


def _commands(folder) -> list[str]:
    """The commands that made a repository, as far as its recipe.json, which may be anyone's, names any.

    They are shown to be run again: one that a shell would take for anything but this one command is left out.
    """
    try:
        commands = json.loads((folder / "recipe.json").read_bytes())["commands"]
        return [
            text
            for text in commands[-_MAX_COMMANDS:]
            if text.startswith("python -m training ")
            and text.isprintable()
            and text == shlex.join(shlex.split(text))
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def _batch_size_before(output, recipe):
    """The batch size that the interrupted run had come down to."""
    path = output / "recipe.json"
    return json.loads(path.read_bytes())["recipe"]["batch_size"] if path.exists() else recipe.batch_size


def _at_batch_size(recipe, size):
    """The recipe with another batch size, and the learning rate in proportion."""
    return dataclasses.replace(
        recipe, batch_size=size, learning_rate=recipe.learning_rate * size / recipe.batch_size
    )


def _draw_batch(train, label_names, path):
    """A look at a batch as the network meets it: augmented, and where labels are blended, with both names."""
    images, labels = next(iter(train.take(1)))
    labels = labels.numpy()
    if labels.ndim == 2 and labels.shape[1] > 1:
        titles = [" + ".join(label_names[index] for index in np.flatnonzero(row > 0.05)) for row in labels]
    else:
        titles = [label_names[int(index)] for index in labels.ravel()]
    plots.save_figure(plots.samples(list(images.numpy().round().astype(np.uint8)), titles), path)


def _claim(output, checkpoint, record, resume):
    """Writes recipe.json, unless `output` holds another run or, to resume, a run that cannot go on as asked."""
    recipe_file, interrupted = output / "recipe.json", checkpoint.path.exists() or _killed_early(output)
    finished = (output / "model.safetensors").exists() and not interrupted
    if resume:
        if not recipe_file.exists() or finished:
            raise RepositoryError(
                f"{output} has no interrupted training to resume: leave --resume out to start one."
            )
        before = json.loads(recipe_file.read_bytes())
        for part in ("recipe", "dataset", "pretrained"):
            now, then = json.loads(json.dumps(record[part])), before.get(part)
            if now != then:
                both = isinstance(now, dict) and isinstance(then, dict)
                other = (
                    [f"{key} {then.get(key)}, not {now[key]}" for key in now if now[key] != then.get(key)]
                    if both
                    else [f"{then}, not {now}"]
                )
                raise RepositoryError(
                    f"{output} was started with another {part} ({'; '.join(other)}): resume with the same options and images."
                )
        record["commands"] = (
            [*before["commands"], record["commands"][-1]] if record["commands"] else before["commands"]
        )
    elif interrupted:
        raise RepositoryError(
            f"{output} holds an interrupted training: add --resume to go on with it, or choose another --output."
        )
    elif finished:
        raise RepositoryError(f"{output} already holds a trained network: choose another --output.")
    write_atomically(recipe_file, json.dumps(record, indent=2) + "\n")


def _killed_early(output) -> bool:
    """Whether `output` has the weights of a first epoch that was killed before its checkpoint."""
    try:
        epochs = json.loads((output / "recipe.json").read_bytes())["recipe"]["epochs"]
        return (output / "model.safetensors").exists() and len(
            read_history(output / "history.csv")
        ) <= 1 < epochs
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _policy(precision: str) -> str:
    if precision == "auto":
        precision = "float16" if tf.config.list_physical_devices("GPU") else "float32"
    return {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}[precision]


def _loss(recipe: Recipe):
    smoothing = recipe.label_smoothing
    if recipe.labels == "categorical":
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    if recipe.labels == "binary":
        binary = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
        return lambda labels, logits: binary(labels, _one_logit(logits))
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _accuracy(recipe: Recipe):
    if recipe.labels == "categorical":
        return keras.metrics.CategoricalAccuracy("accuracy")
    if recipe.labels == "binary":
        return keras.metrics.MeanMetricWrapper(
            lambda labels, logits: keras.metrics.binary_accuracy(labels, _one_logit(logits), threshold=0.0),
            "accuracy",
        )
    return keras.metrics.SparseCategoricalAccuracy("accuracy")


def _one_logit(logits):
    # The sigmoid of the difference is the second class' softmax, so a binary network is stored as any other.
    return logits[:, 1:] - logits[:, :1]


def _minutes(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
