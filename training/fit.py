"""`fit`: trains a network on folders of images, and writes it as a model repository."""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from resnext.architecture import find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError, DataError
from resnext.keras_model import build_model, dtype_policy
from resnext.repository import Repository, load_config, load_tensors
from resnext.results import HISTORY_COLUMNS, best_epoch, read_history, write_history
from resnext.weights import keras_tensors, load_into_keras, save_tensors

from . import plots
from .augmentation import augment
from .data import ImageFolders
from .optimizer import make_optimizer
from .pipeline import steps_per_epoch, training_batches, validation_batches
from .recipe import Recipe
from .run_folder import RunFolder, make_record
from .trainer import AugmentingModel

# Recipe settings that only fine-tuning has, and their values for training from scratch.
_FINE_TUNING = {"freeze_bn": False, "layer_decay": 1, "unfreeze_epochs": 0}

Report = Callable[[str], object]


def fit(
    data: ImageFolders,
    output: pathlib.Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    halve_batch: bool = False,
    pretrained: Repository | None = None,
    commands: tuple[str, ...] = (),
    report: Report = print,
) -> pathlib.Path:
    """Trains a network, and keeps the weights with the lowest validation loss.

    Args:
        data: The data set, with splits "train" and "val".
        output: The model repository to create. During training it also holds `checkpoint/`.
        recipe: The recipe.
        resume: Whether to resume the interrupted run in `output` after its last finished epoch.
        halve_batch: Whether to start again with half the batch size and learning rate if memory runs out in
            the first epoch.
        pretrained: The network whose weights training starts from. Its classifier is kept only if the classes
            are the same. Its architecture, crop_pct, mean and std replace the recipe's, and its interpolation
            is kept, too.
        commands: The command lines that reproduce this run, for recipe.json.
        report: Called with each line of progress.

    Returns:
        `output`, with config.json, model.safetensors, recipe.json and history.csv.

    Raises:
        DataError: There is no training set.
        RepositoryError: `output` holds another run, or no interrupted run with this recipe to resume.
        ConfigError: The recipe does not fit the data, or a batch does not fit into memory.
    """
    if "train" not in data.splits:
        raise DataError(f"{data.root} has no train folder: make one with one folder of images per class.")
    recipe, config = _resolve(data, recipe, pretrained)
    hardware = set_up_devices()
    report(hardware)
    run = RunFolder(output)
    full_recipe = recipe
    if resume and halve_batch:  # the interrupted run may have halved the batch size already
        recipe = _with_batch_size(full_recipe, run.recorded_batch_size() or recipe.batch_size)
    while True:
        run.claim(make_record(data, recipe, pretrained, hardware, commands), resume=resume)
        try:
            _train(data, run, recipe, config, pretrained, resume, report)
            break
        except tf.errors.ResourceExhaustedError:
            half = recipe.batch_size // 2
            if not half or not halve_batch or run.checkpoint.path.exists():
                raise ConfigError(
                    f"Out of memory at batch size {recipe.batch_size} with {recipe.train_size} x "
                    f"{recipe.train_size} pixels: choose a smaller --batch-size (or auto), --image-size or "
                    f"--model."
                ) from None
            report(f"Out of memory at batch size {recipe.batch_size}: starting again with {half}.")
            run.release()
            recipe = _with_batch_size(full_recipe, half)
            resume = False
    run.checkpoint.remove()
    return output


def set_up_devices() -> str:
    """Makes TensorFlow allocate GPU memory as needed instead of all at once.

    Returns:
        A sentence on the hardware.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        threads = tf.config.threading.get_intra_op_parallelism_threads() or "all"
        return f"No GPU found: training on the CPU with {threads} threads."
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = ", ".join(detail.get("device_name", gpu.name) for detail, gpu in zip(details, gpus))
    return (
        f"Training on {len(gpus)} GPU{'s' * (len(gpus) > 1)} ({names}), whose memory is allocated as needed."
    )


def _resolve(data: ImageFolders, recipe: Recipe, pretrained: Repository | None) -> tuple[Recipe, ModelConfig]:
    """The recipe with what the pretrained network decides, and the config of the new network."""
    if pretrained:
        base = load_config(pretrained)
        architecture = base.architecture
        prep = base.preprocessing
        recipe = dataclasses.replace(
            recipe, model=base.name, mean=prep.mean, std=prep.std, crop_pct=prep.crop_pct
        )
    else:
        _refuse_fine_tuning_settings(recipe)
        architecture = find_architecture(recipe.model)
        prep = Preprocessing()
    if architecture.aa_layer:
        # Its pooling needs crops whose side is a multiple of 32, as ModelConfig requires of the image size.
        recipe = dataclasses.replace(recipe, train_size=max(32, recipe.train_size // 32 * 32))
    preprocessing = Preprocessing(
        recipe.image_size, recipe.crop_pct, prep.interpolation, tuple(recipe.mean), tuple(recipe.std)
    )
    config = ModelConfig(recipe.model, architecture, data.label_names, preprocessing)
    if recipe.labels == "binary" and config.num_classes != 2:
        raise ConfigError(f"Binary labels need two classes, but {data.root} has {config.num_classes}.")
    return recipe, config


def _refuse_fine_tuning_settings(recipe: Recipe) -> None:
    for name, unused in _FINE_TUNING.items():
        if getattr(recipe, name) != unused:
            raise ConfigError(
                f"{name.replace('_', '-')} is for fine-tuning: give a network to start from with "
                f"--pretrained, or leave it out."
            )


def _with_batch_size(recipe: Recipe, batch_size: int) -> Recipe:
    """The recipe with another batch size, and the learning rate in proportion (Goyal et al., 2017)."""
    rate = recipe.learning_rate * batch_size / recipe.batch_size
    return dataclasses.replace(recipe, batch_size=batch_size, learning_rate=rate)


def _train(
    data: ImageFolders,
    run: RunFolder,
    recipe: Recipe,
    config: ModelConfig,
    pretrained: Repository | None,
    resume: bool,
    report: Report,
) -> None:
    keras.utils.set_random_seed(recipe.seed)
    classes = config.num_classes
    steps = steps_per_epoch(data.splits["train"], recipe)
    model = _compile(recipe, config, steps)
    config.write(run.path / "config.json")
    start = run.checkpoint.restore(model) if resume and run.checkpoint.path.exists() else 0
    if start == recipe.epochs:
        return
    train = training_batches(data.splits["train"], classes, recipe, config.preprocessing, first_epoch=start)
    val = validation_batches(data.splits["val"], classes, recipe, config.preprocessing)
    if start:
        report(f"Resuming after epoch {start} of {recipe.epochs}.")
    else:
        if pretrained:
            _load_pretrained(model, pretrained, config)
        _draw_batch(train, recipe, data.label_names, run.path / "figures" / "batch.png")
    model.build_metrics(classes)
    model.fit(
        train,
        validation_data=val,
        initial_epoch=start,
        epochs=recipe.epochs,
        steps_per_epoch=steps,
        callbacks=[EpochRecorder(run, recipe.epochs, report)],
        shuffle=False,
        verbose=0,
    )


def _compile(recipe: Recipe, config: ModelConfig, steps: int) -> AugmentingModel:
    """Builds and compiles the network. Several visible GPUs share each batch."""
    prep = config.preprocessing
    several = len(tf.config.list_physical_devices("GPU")) > 1
    strategy = tf.distribute.MirroredStrategy().scope() if several else contextlib.nullcontext()
    with dtype_policy(_policy(recipe.precision)), strategy:
        network = build_model(
            config.architecture, label_names=config.label_names, preprocessing=prep, name=recipe.model
        )
        model = AugmentingModel.wrap(network, recipe, _loss(recipe, label_smoothing=0.0))
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = not recipe.freeze_bn
        optimizer = make_optimizer(recipe, steps, config.architecture.classifier)
        # XLA, which Keras uses on a GPU by default, has no kernel for the augmentation's affine transforms.
        loss = _loss(recipe, recipe.label_smoothing)
        model.compile(optimizer, loss, metrics=[_accuracy(recipe)], jit_compile=False)
    return model


class EpochRecorder(keras.callbacks.Callback):
    """After each epoch, saves the best weights, history.csv and the checkpoint, and reports the progress.

    Args:
        run: The output folder.
        epochs: The number of epochs of the run.
        report: Called with a line per epoch.
    """

    def __init__(self, run: RunFolder, epochs: int, report: Report):
        super().__init__()
        self.run = run
        self.epochs = epochs
        self.report = report
        self.seconds = []

    def on_train_begin(self, logs=None):
        self.rows = read_history(self.run.path)

    def on_epoch_begin(self, epoch, logs=None):
        # A run that was killed between history.csv and the checkpoint left a row of an epoch that is
        # repeated.
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]
        self.began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.monotonic() - self.began
        self.seconds.append(seconds)
        rate = float(self.model.optimizer.learning_rate.numpy())
        metrics = {key: float(logs[key]) for key in HISTORY_COLUMNS[1:5]}
        row = {"epoch": epoch + 1, **metrics, "learning_rate": rate, "seconds": seconds}
        self.rows.append(row)
        improved = best_epoch(self.rows) is row
        if improved:
            save_tensors(keras_tensors(self.model), self.run.path / "model.safetensors", "float16")
        write_history(self.rows, self.run.path)
        self.run.checkpoint.save(self.model, epoch + 1)
        left = (self.epochs - epoch - 1) * float(np.median(self.seconds[-5:]))
        self.report(
            f"epoch {epoch + 1}/{self.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
            f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}"
            f"{' *' if improved else '  '}  {seconds:.0f} s, {_format_duration(left)} left"
        )


def _load_pretrained(model: keras.Model, pretrained: Repository, config: ModelConfig) -> None:
    base = load_config(pretrained)
    tensors = load_tensors(pretrained, base)
    if base.label_names != config.label_names:
        classifier = f"{config.architecture.classifier}."
        initial = keras_tensors(model)
        tensors |= {key: value for key, value in initial.items() if key.startswith(classifier)}
    load_into_keras(model, tensors, pretrained.folder / "model.safetensors")


def _draw_batch(
    train: tf.data.Dataset, recipe: Recipe, label_names: tuple[str, ...], path: pathlib.Path
) -> None:
    """Draws the first batch as the network sees it: augmented, and with all labels of blended images."""
    images, labels = augment(recipe, *next(iter(train.take(1))))
    labels = labels.numpy()
    if labels.ndim == 2 and labels.shape[1] > 1:
        titles = [" + ".join(label_names[index] for index in np.flatnonzero(row > 0.05)) for row in labels]
    else:
        titles = [label_names[int(index)] for index in labels.ravel()]
    plots.save_figure(plots.samples(list(images.numpy().round().astype(np.uint8)), titles), path)


def _policy(precision: str) -> str:
    if precision == "auto":
        precision = "float16" if tf.config.list_physical_devices("GPU") else "float32"
    return {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}[precision]


def _loss(recipe: Recipe, label_smoothing: float) -> Callable:
    """Cross-entropy from logits, for the labels of a recipe."""
    if recipe.labels == "categorical":
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    if recipe.labels == "binary":
        binary = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing)
        return lambda labels, logits: binary(labels, _one_logit(logits))
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _accuracy(recipe: Recipe) -> keras.metrics.Metric:
    if recipe.labels == "categorical":
        return keras.metrics.CategoricalAccuracy("accuracy")
    if recipe.labels == "binary":
        return keras.metrics.MeanMetricWrapper(
            lambda labels, logits: keras.metrics.binary_accuracy(labels, _one_logit(logits), threshold=0.0),
            "accuracy",
        )
    return keras.metrics.SparseCategoricalAccuracy("accuracy")


def _one_logit(logits):
    # The sigmoid of the difference is the softmax of the second class, so a binary network has two logits as
    # any other.
    return logits[:, 1:] - logits[:, :1]


def _format_duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
