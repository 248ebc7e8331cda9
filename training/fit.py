"""`fit`: trains a network on folders of images, and writes it as a model repository."""

import contextlib
import dataclasses
import math
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from resnext import plots
from resnext.architecture import find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError, ImageError, RepositoryError
from resnext.keras_model import build_model, dtype_policy
from resnext.repository import Repository, load_config, load_tensors
from resnext.results import HISTORY_COLUMNS, best_epoch
from resnext.weights import convert_tensors, keras_tensors, load_into_keras, weights_file

from .augmentation import augment
from .calibration import calibrate
from .data import ImageFolders, check_trainable
from .devices import count_workers, describe_devices, find_policy, find_strategy, is_chief, is_out_of_memory
from .losses import class_weights
from .ood import fit_run_detector
from .optimizer import freeze_stages, make_optimizer
from .pipeline import Batches, ImageCache, steps_per_epoch, training_batches, validation_batches
from .precise_bn import recompute_batch_norm
from .probe import fit_probe
from .provenance import save_training_images
from .recipe import Recipe, option_name
from .run_folder import Progress, RunFolder, can_be_continued, collect_state, make_record
from .trainer import TrainingModel

# Recipe settings that only fine-tuning has, and their values for training from scratch.
_FINE_TUNING = {"probe_passes": 0, "freeze_bn": False, "freeze_at": 0, "layer_decay": 1, "unfreeze_epochs": 0}

Report = Callable[[str], object]


def fit(
    data: ImageFolders,
    output: str | os.PathLike,
    recipe: Recipe,
    *,
    resume: bool = False,
    halve_batch: bool = False,
    pretrained: Repository | None = None,
    commands: tuple[str, ...] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    pictures: bool = True,
    report: Report = print,
) -> pathlib.Path:
    """Trains a network, and keeps the weights with the lowest validation loss.

    SIGINT and SIGTERM end a run after its step: it saves what there is, to be resumed at the next one.

    Args:
        data: The data set, with splits "train" and "val".
        output: The model repository to create. During training it also holds `checkpoint/`.
        recipe: The recipe.
        resume: Whether to continue the run in `output`. It ends as it would have without the interruption.
        halve_batch: Whether to start again with half the batch size and learning rate if memory runs out in
            the first epoch.
        pretrained: The network whose weights training starts from. Its classifier is kept only if the classes
            are the same; otherwise a linear probe makes a new one, if the recipe has passes for it. Its
            architecture, mean and std replace the recipe's, and its interpolation is kept, too.
        commands: The command lines that reproduce this run, for recipe.json.
        callbacks: Further callbacks of `keras.Model.fit`, such as `keras.callbacks.TensorBoard`. One that
            sets `model.stop_training` ends the training after its epoch.
        pictures: Whether to draw the first batch.
        report: Called with each line of progress.

    Returns:
        `output`, with config.json, model.safetensors, recipe.json and history.csv.

    Raises:
        DataError: A network cannot be trained on the data, or an image was removed or changed meanwhile.
        RepositoryError: `output` holds another run, or none to resume, or cannot be written.
        ConfigError: The recipe does not fit the data or the devices, a batch does not fit into memory, or the
            loss is not finite.
    """
    check_trainable(data)
    recipe, config = resolve(data, recipe, pretrained)
    strategy = find_strategy()
    hardware = describe_devices(strategy, recipe.precision)
    _check_batch_size(recipe, strategy, len(data.splits["train"]))
    output = pathlib.Path(output)
    run = RunFolder(output)
    if not is_chief():
        report = _silence
    full_recipe = recipe
    with run.lock() if is_chief() else contextlib.nullcontext(), can_be_continued(run, report):
        if resume and halve_batch:  # the interrupted run may have halved the batch size already
            recipe = _with_batch_size(full_recipe, run.recorded_batch_size() or recipe.batch_size)
        report(hardware)
        while True:
            record = make_record(data, recipe, pretrained, hardware, commands)
            if is_chief():
                run.claim(record, resume=resume)
                save_training_images(output, data)
            if run.state not in (None, "training"):
                return output
            training = Training(data, run, recipe, config, strategy, report)
            try:
                training.run(pretrained, resume, callbacks, pictures)
                break
            except (tf.errors.OpError, RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if recipe.batch_size == 1 or not halve_batch or run.checkpoint.path.exists():
                    raise _out_of_memory(recipe) from None
            half = recipe.batch_size // 2
            report(f"Out of memory at batch size {recipe.batch_size}: starting again with {half}.")
            recipe = _with_batch_size(full_recipe, half)
            resume = False
        if is_chief():
            _finish(run, data, recipe, report)
    return output


def _finish(run: RunFolder, data: ImageFolders, recipe: Recipe, report: Report) -> None:
    """Does what follows the last epoch. An interrupted run does all of it again."""
    if recipe.precise_bn and recipe.epochs and not recipe.freeze_bn:
        recompute_batch_norm(run, data, recipe, report)
    if recipe.calibrate:
        calibrate(run, data, report)
    if recipe.detect_unknown:
        fit_run_detector(run, data, report)
    run.finish_training()


class Training:
    """The training of one network.

    Args:
        data: The data set.
        run: The output folder.
        recipe: The recipe.
        config: The config of the network.
        strategy: The devices.
        report: Called with each line of progress.
    """

    def __init__(
        self,
        data: ImageFolders,
        run: RunFolder,
        recipe: Recipe,
        config: ModelConfig,
        strategy: tf.distribute.Strategy,
        report: Report,
    ):
        self.data = data
        self.folder = run
        self.recipe = recipe
        self.config = config
        self.strategy = strategy
        self.report = report
        self.steps = steps_per_epoch(data.splits["train"], recipe)
        self.caches: list[ImageCache] = []

    def run(
        self,
        pretrained: Repository | None,
        resume: bool,
        callbacks: Sequence[keras.callbacks.Callback],
        pictures: bool,
    ) -> None:
        """Trains from the start, or from the checkpoint on, to the last epoch."""
        recipe = self.recipe
        keras.utils.set_random_seed(recipe.seed)
        model = self.make_model()
        progress = Progress()
        if is_chief():
            self.config.write(self.folder.path / "config.json")
        if resume and self.folder.checkpoint.path.exists():
            progress = self.folder.checkpoint.restore(model)
            within = f" and {progress.step} steps" if progress.step else ""
            self.report(f"Resuming after {progress.epoch} of {recipe.epochs} epochs{within}.")
        elif pretrained:
            load_pretrained(model, pretrained, self.config)
            known = load_config(pretrained).label_names == self.config.label_names
            if recipe.probe_passes and not (known and recipe.epochs):
                self.start_from_probe(model, pretrained, progress)
            model.start_averages()
        if is_chief():
            self.folder.check_still_there()
            self.folder.write_results(progress)
            if pictures and not progress.epoch and not progress.step:
                self.draw_batch(self.folder.path / "figures" / "batch.png")
        if recipe.epochs:
            self.train_epochs(model, progress, callbacks)

    def train_epochs(
        self, model: TrainingModel, progress: Progress, callbacks: Sequence[keras.callbacks.Callback]
    ) -> None:
        """Trains from where the run is to the last epoch."""
        recipe = self.recipe
        recorder = Recorder(self, progress)
        train = self.training_batches(progress.epoch, progress.step)
        val = validation_batches(
            self.data.splits["val"], self.config.num_classes, recipe, self.config.preprocessing, self.strategy
        )
        self.caches = [train.images, val.images]
        with _signals_held() as recorder.signals, explained(self):
            exhausted = recorder.is_patience_exhausted()  # of a run that was killed just after its last epoch
            while progress.epoch < recipe.epochs and not (exhausted or model.stop_training):
                # An epoch that is resumed within has fewer steps than the others.
                partial = progress.step > 0
                model.fit(
                    train.dataset,
                    validation_data=val.dataset,
                    initial_epoch=progress.epoch,
                    epochs=progress.epoch + 1 if partial else recipe.epochs,
                    steps_per_epoch=self.steps - progress.step,
                    callbacks=[recorder, *callbacks],
                    shuffle=False,
                    verbose=0,
                )
                if partial:
                    train = self.training_batches(progress.epoch, 0)
                    self.caches.append(train.images)
        if not best_epoch(progress.rows)["epoch"] and not recipe.keep_last:
            self.report(
                "No epoch classified as many validation images correctly as the linear probe, whose weights "
                "are kept."
            )

    def start_from_probe(self, model: TrainingModel, pretrained: Repository, progress: Progress) -> None:
        """Gives the network the classifier of a linear probe, whose result is the first to be kept."""
        result = fit_probe(self.data, self.config, self.recipe, pretrained, self.report)
        layer = model.get_layer(self.config.architecture.classifier)
        layer.kernel.assign(result.weight.T)
        layer.bias.assign(result.bias)
        seconds = sum(row["seconds"] for row in result.rows)
        start = {**best_epoch(result.rows), "epoch": 0, "seconds": seconds}
        progress.rows = [start] if self.recipe.epochs else result.rows
        progress.best = convert_tensors(keras_tensors(model), "float16")
        progress.best_is_new = True

    def image_fault(self) -> ImageError | None:
        """The error of the first image that could not be read."""
        return next((cache.fault for cache in self.caches if cache.fault), None)

    def make_model(self) -> TrainingModel:
        """Builds and compiles the network on the devices."""
        recipe, config = self.recipe, self.config
        weights = class_weights(self.data.counts("train")) if recipe.class_weights == "balanced" else []
        with dtype_policy(find_policy(recipe.precision)), self.strategy.scope():
            network = build_model(
                config.architecture,
                label_names=config.label_names,
                preprocessing=config.preprocessing,
                name=recipe.model,
            )
            for layer in network.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = not recipe.freeze_bn
                    layer.synchronized = self.strategy.num_replicas_in_sync > 1
            freeze_stages(network, recipe.freeze_at)
            model = TrainingModel.wrap(network, recipe, weights)
            model.compile_for_training(make_optimizer(recipe, self.steps, config.architecture.classifier))
            model.optimizer.build(model.trainable_variables)
            model.start_averages()
        return model

    def training_batches(self, epoch: int, step: int) -> Batches:
        """The training batches from an epoch and a step on."""
        return training_batches(
            self.data.splits["train"],
            self.config.num_classes,
            self.recipe,
            self.config.preprocessing,
            self.strategy,
            first_epoch=epoch,
            first_step=step,
        )

    def draw_batch(self, path: pathlib.Path) -> None:
        """Draws the first batch as the network sees it: augmented, and with all labels of blended images."""
        split, config = self.data.splits["train"], self.config
        recipe = dataclasses.replace(self.recipe, epochs=1)
        batches = training_batches(split, config.num_classes, recipe, config.preprocessing)
        self.caches = [batches.images]
        with explained(self):
            images, labels = augment(self.recipe, *next(iter(batches.dataset.take(1))))
        labels = labels.numpy()
        names = config.label_names
        if labels.ndim == 2 and labels.shape[1] > 1:
            titles = [" + ".join(names[index] for index in np.flatnonzero(row > 0.05)) for row in labels]
        else:
            titles = [names[int(index)] for index in labels.ravel()]
        figure = plots.samples(list(images.numpy().round().astype(np.uint8)), titles)
        plots.save_figure(figure, path)


class Recorder(keras.callbacks.Callback):
    """Commits each epoch to the output folder, reports it, and ends the run when there is a reason to.

    It takes the place of callbacks that Keras has: ModelCheckpoint, CSVLogger and BackupAndRestore write
    files that a kill between them leaves at different epochs; EarlyStopping forgets its count when a run is
    resumed; TerminateOnNaN ends a run as if it were finished; SwapEMAWeights takes one optimizer only.

    Args:
        training: The training.
        progress: How far it has come, which is kept up to date.

    Attributes:
        signals: The signals that were received. The run ends after its step.
    """

    def __init__(self, training: Training, progress: Progress):
        super().__init__()
        self.training = training
        self.progress = progress
        self.signals: list[int] = []
        self.durations: list[float] = []

    def is_patience_exhausted(self) -> bool:
        """Whether the validation loss has not been lower for as many epochs as the recipe waits."""
        rows, patience = self.progress.rows, self.training.recipe.patience
        return bool(rows and patience and rows[-1]["epoch"] - best_epoch(rows)["epoch"] >= patience)

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()
        self.first_step = self.progress.step
        if self.first_step:
            for variable, value in zip(self.model.metrics_variables, self.progress.metrics, strict=True):
                variable.assign(value)

    def on_train_batch_begin(self, batch, logs=None):
        if self.first_step + batch + 1 == self.training.steps:
            self.rate = self._learning_rate()

    def on_train_batch_end(self, batch, logs=None):
        step = self.first_step + batch + 1
        self._check_finite(logs["loss"], f"step {step} of epoch {self.progress.epoch + 1}")
        if self.signals and step < self.training.steps:
            self.progress.step = step
            self._commit()
            raise Interrupted(
                f"in epoch {self.progress.epoch + 1}, after step {step} of {self.training.steps}"
            )

    def on_test_begin(self, logs=None):
        self.model.swap_averages()

    def on_test_end(self, logs=None):
        self.validated = keras_tensors(self.model)
        self.model.swap_averages()

    def on_epoch_end(self, epoch, logs=None):
        progress, recipe = self.progress, self.training.recipe
        self._check_finite(logs["val_loss"], f"the validation after epoch {epoch + 1}")
        seconds = time.monotonic() - self.began
        self.durations.append(seconds)
        metrics = {key: float(logs[key]) for key in HISTORY_COLUMNS[1:5]}
        row = {"epoch": epoch + 1, **metrics, "learning_rate": self.rate, "seconds": seconds}
        progress.rows.append(row)
        progress.step = 0
        progress.best_is_new = recipe.keep_last or best_epoch(progress.rows) is row
        if progress.best_is_new:
            progress.best = convert_tensors(self.validated, "float16")
        self._commit()
        self.training.report(self._line(row))
        if self.is_patience_exhausted():
            self.training.report(f"No lower validation loss for {recipe.patience} epochs: stopping.")
            self.model.stop_training = True
        elif self.signals and epoch + 1 < recipe.epochs:
            raise Interrupted(f"after epoch {epoch + 1}")

    def _commit(self) -> None:
        state = collect_state(self.model)
        if is_chief():
            self.training.folder.commit(state, self.progress)

    def _learning_rate(self) -> float:
        return float(self.model.optimizer.learning_rate.numpy())

    def _check_finite(self, loss, where: str) -> None:
        if math.isfinite(loss):
            return
        rate = self._learning_rate()
        raise ConfigError(
            f"The loss is {float(loss)} in {where}, at a learning rate of {rate:.3g}: start again with a "
            "smaller --learning-rate, or with --clip-norm 1, in another --output."
        )

    def _line(self, row: dict[str, float]) -> str:
        epochs = self.training.recipe.epochs
        left = (epochs - row["epoch"]) * float(np.median(self.durations[-5:]))
        return (
            f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
            f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}"
            f"{' *' if self.progress.best_is_new else '  '}  {row['seconds']:.0f} s, "
            f"{_format_duration(left)} left"
        )


class Interrupted(KeyboardInterrupt):
    """The run was ended by a signal, and its state is saved."""


@contextlib.contextmanager
def _signals_held() -> Iterator[list[int]]:
    """Holds back SIGINT and SIGTERM, yields the list of those received, and lets the first act at the end.

    A second signal acts at once. Only the main thread of a process gets signals.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def hold(number: int, frame: object) -> None:
        received.append(number)
        restore()

    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, hold)
    try:
        yield received
    finally:
        restore()
        if received:
            signal.raise_signal(received[0])


@contextlib.contextmanager
def explained(training: Training) -> Iterator[None]:
    """Turns what TensorFlow says of an image or of another worker into one sentence.

    Args:
        training: The training.

    Raises:
        ImageError: An image was removed or changed since it was found.
        RepositoryError: Another worker has stopped or cannot be reached.
    """
    try:
        yield
    except Interrupted as error:
        training.report(f"Stopped {error}.")
        raise
    except tf.errors.OpError as error:
        fault = training.image_fault()
        if fault:
            raise fault from None
        # The collective operations of the workers end with one of many errors, depending on when it happens.
        if count_workers() > 1 and not is_out_of_memory(error):
            raise RepositoryError(
                f"Another worker of TF_CONFIG has stopped or cannot be reached ({type(error).__name__}): "
                "start all workers again with --resume."
            ) from None
        raise


def _silence(line: str) -> None:
    """Reports nothing: one of several workers reports for all."""


def resolve(data: ImageFolders, recipe: Recipe, pretrained: Repository | None) -> tuple[Recipe, ModelConfig]:
    """Completes a recipe with what the pretrained network decides, and makes the config of the new network.

    Args:
        data: The data set, whose classes the network gets.
        recipe: The recipe.
        pretrained: The network that training starts from, if any.

    Raises:
        ConfigError: The recipe does not fit the data, or needs a pretrained network.
    """
    if pretrained:
        base = load_config(pretrained)
        architecture = base.architecture
        prep = base.preprocessing
        recipe = dataclasses.replace(recipe, model=base.name, mean=prep.mean, std=prep.std)
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
    steps = recipe.epochs * steps_per_epoch(data.splits["train"], recipe)
    if 0 < steps < recipe.accumulate:
        raise ConfigError(
            f"The run has {steps} step{'s' * (steps > 1)}, and the weights change after {recipe.accumulate}: "
            "choose a smaller --accumulate or --batch-size, or more --epochs."
        )
    return recipe, config


def _refuse_fine_tuning_settings(recipe: Recipe) -> None:
    for name, unused in _FINE_TUNING.items():
        if getattr(recipe, name) != unused:
            raise ConfigError(
                f"{option_name(name)} is for fine-tuning: give a network to start from with --pretrained, or "
                f"leave it out."
            )


def _check_batch_size(recipe: Recipe, strategy: tf.distribute.Strategy, images: int) -> None:
    replicas = strategy.num_replicas_in_sync
    if images < replicas:
        raise ConfigError(
            f"{images} training images cannot be shared by {replicas} devices: add images, or use fewer "
            "devices (CUDA_VISIBLE_DEVICES)."
        )
    if recipe.batch_size % replicas:
        whole = max(1, recipe.batch_size // replicas) * replicas
        raise ConfigError(
            f"A batch of {recipe.batch_size} images cannot be shared equally by {replicas} devices: choose "
            f"--batch-size {whole}."
        )


def _out_of_memory(recipe: Recipe) -> ConfigError:
    return ConfigError(
        f"Out of memory at batch size {recipe.batch_size} with {recipe.train_size} x {recipe.train_size} "
        "pixels: choose a smaller --batch-size (or auto), --image-size or --model."
    )


def _with_batch_size(recipe: Recipe, batch_size: int) -> Recipe:
    """The recipe with another batch size, and the learning rate in proportion (Goyal et al., 2017)."""
    rate = recipe.learning_rate * batch_size / recipe.batch_size
    return dataclasses.replace(recipe, batch_size=batch_size, learning_rate=rate)


def load_pretrained(model: keras.Model, pretrained: Repository, config: ModelConfig) -> None:
    """Assigns the weights of a network, and those of its classifier only if its classes are the same."""
    base = load_config(pretrained)
    tensors = load_tensors(pretrained, base)
    if base.label_names != config.label_names:
        classifier = f"{config.architecture.classifier}."
        initial = keras_tensors(model)
        tensors |= {key: value for key, value in initial.items() if key.startswith(classifier)}
    load_into_keras(model, tensors, weights_file(pretrained.folder))


def _format_duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
