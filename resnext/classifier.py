"""Fast classification: a model repository as a function from an image to its likeliest classes."""

import dataclasses
import importlib.util
import os
import typing

import numpy as np
from PIL import Image

from resnext.config import ModelConfig
from resnext.errors import ConfigError, WeightsError
from resnext.mapped import release_freed_memory
from resnext.preprocessing import load_pixels
from resnext.repository import INT8, OOD, Repository, find_repository, load_config, load_tensors
from resnext.runtimes import KerasRuntime, OpenVINORuntime, Output
from resnext.weights import weights_file

if typing.TYPE_CHECKING:
    import openvino

    from resnext.ood import Detector

Precision = typing.Literal["auto", "float32", "bfloat16", "int8"]
RuntimeName = typing.Literal["auto", "openvino", "keras"]
PRECISIONS = typing.get_args(Precision)
RUNTIMES = typing.get_args(RuntimeName)
_PACKAGES = {"openvino": "openvino", "keras": "tensorflow"}


class Prediction(typing.NamedTuple):
    """A class and its probability in [0, 1]."""

    label: str
    probability: float


class Predictions(list[Prediction]):
    """The likeliest classes of a photograph, the likeliest first.

    Attributes:
        unknown: Whether the photograph looks like none of the classes; None if the model repository has
            nothing that tells.
    """

    unknown: bool | None = None


class Classifier:
    """A network that is ready to classify, and may be called from several threads.

    Args:
        config: The content of config.json.
        tensors: The weights, arrays by timm's key.
        precision: "float32" for the same results on every machine; "bfloat16"; "int8" for the repository's
            quantized graph, or float32 if there is no valid one; or "auto" for bfloat16 where OpenVINO runs
            and the processor computes in it (a few images in a thousand may change their class), otherwise
            float32.
        runtime: "openvino"; "keras" for TensorFlow, on a GPU if it sees one; or "auto" for OpenVINO where it
            is installed.
        repository: The repository that config and tensors came from, which may hold an int8 graph.

    Attributes:
        precision: The precision in use: "float32", "bfloat16", "float16" or "int8".
        runtime: The runtime in use: "openvino" or "keras".
        notice: A sentence that says why the precision is not the requested one, or why photographs of none of
            the classes are not recognized although the repository has a detector; otherwise "".
        detector: What recognizes photographs of none of the classes; None if the repository has none.

    Raises:
        ConfigError: The precision or the runtime is unknown, or the runtime is not installed.
        WeightsError: The tensors do not fit the network.

    Example:
        >>> from resnext import Classifier
        >>> classifier = Classifier.from_pretrained()  # the bundled flowers
        >>> classifier("resnext/flowers/examples/tulips.jpg", top_k=1)[0].label
        'tulips'
    """

    def __init__(
        self,
        config: ModelConfig,
        tensors: dict[str, np.ndarray],
        *,
        precision: str = "auto",
        runtime: str = "auto",
        repository: Repository | None = None,
    ):
        if precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
        self.config = config
        self.repository = repository
        self.notice = ""
        where = weights_file(repository.folder) if repository else "The file"
        self._runtime: KerasRuntime | OpenVINORuntime
        if find_runtime(runtime) == "keras":
            self._runtime = self._keras_runtime(tensors, precision, where)
        else:
            self._runtime = self._openvino_runtime(tensors, precision, where)
        self._class_weights = np.asarray(tensors[f"{config.architecture.classifier}.weight"], np.float32)
        self.precision = self._runtime.precision
        self.runtime = self._runtime.runtime
        self.detector = self._read_detector()

    def _read_detector(self) -> "Detector | None":
        from resnext.ood import Detector

        if self.repository is None:
            return None
        try:
            return Detector.read(self.repository.folder, self.runtime)
        except WeightsError as error:
            unknown = f"{error} Until then, photographs of none of the classes are not recognized."
            self.notice = " ".join(filter(None, (self.notice, unknown)))
            return None

    def _keras_runtime(self, tensors: dict[str, np.ndarray], precision: str, where: object) -> KerasRuntime:
        if precision == "int8":
            precision = "float32"
            self.notice = "An int8 graph needs OpenVINO: classifying in float32."
        return KerasRuntime(self.config, tensors, precision, where)

    def _openvino_runtime(
        self, tensors: dict[str, np.ndarray], precision: str, where: object
    ) -> OpenVINORuntime:
        from resnext.int8 import read_int8
        from resnext.openvino_graph import arrays_for, build_graph

        arrays = arrays_for(self.config)
        graph = build_graph(self.config, tensors, where=where, arrays=arrays)
        if precision == "int8":
            try:
                return OpenVINORuntime(read_int8(self.repository, graph), precision)
            except WeightsError as error:
                precision = "float32"
                self.notice = str(error)
        runtime = OpenVINORuntime(graph, precision, arrays)
        if precision not in ("auto", runtime.precision):
            used = runtime.precision
            self.notice = f"This processor does not compute in {precision}: classifying in {used}."
        return runtime

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike | None = None,
        *,
        revision: str | None = None,
        precision: str = "auto",
        runtime: str = "auto",
        test_size: bool = False,
    ) -> "Classifier":
        """Opens a model repository.

        Args:
            model: A folder, or a repository id on the Hub such as "OWNER/NAME" or "OWNER/NAME@REVISION".
                Defaults to the bundled model.
            revision: A branch, tag or commit of a Hub repository.
            precision: See the class.
            runtime: See the class.
            test_size: Whether to classify at the larger image size that the weights were tested at, if
                config.json has one (`test_input_size`). That is slower and more accurate. The accuracies that
                timm publishes are at this size.

        Raises:
            RepositoryError: The repository cannot be found or reached.
            ConfigError: Its config.json or an argument is not valid.
            WeightsError: Its weights are corrupt, or do not fit its config.json.
        """
        optional = (OOD, *INT8) if precision == "int8" else (OOD,)
        repository = find_repository(model, revision, optional=optional)
        return cls.open(repository, precision=precision, runtime=runtime, test_size=test_size)

    @classmethod
    def open(
        cls,
        repository: Repository,
        *,
        precision: str = "auto",
        runtime: str = "auto",
        test_size: bool = False,
        image_size: int | None = None,
        crop_pct: float | None = None,
    ) -> "Classifier":
        """Opens a model repository that was found already.

        Args:
            repository: The repository.
            precision: As in `from_pretrained`.
            runtime: As in `from_pretrained`.
            test_size: As in `from_pretrained`.
            image_size: Height and width in pixels of the network's input, instead of the repository's.
            crop_pct: The crop ratio, instead of the repository's.
        """
        config = load_config(repository)
        preprocessing = config.preprocessing.at_test_size() if test_size else config.preprocessing
        preprocessing = dataclasses.replace(
            preprocessing,
            image_size=image_size or preprocessing.image_size,
            crop_pct=crop_pct or preprocessing.crop_pct,
        )
        config = dataclasses.replace(config, preprocessing=preprocessing)
        # The tensors are freed when the classifier is made.
        classifier = cls(
            config,
            load_tensors(repository, config),
            precision=precision,
            runtime=runtime,
            repository=repository,
        )
        release_freed_memory()
        return classifier

    def __call__(self, image: str | os.PathLike | bytes | Image.Image, top_k: int = 5) -> Predictions:
        """Classifies an image.

        Args:
            image: A path, the bytes of an encoded file, or an image that Pillow has opened.
            top_k: The largest number of classes to return, 1 or more.

        Returns:
            The likeliest classes, the likeliest first, and whether the image looks like none of the classes.

        Raises:
            ImageError: The image cannot be decoded.
            ConfigError: `top_k` is below 1.
        """
        pixels = load_pixels(image, self.config.preprocessing)
        predictions = Predictions(self.top(self.run(pixels), top_k))
        predictions.unknown = self.is_unknown(pixels)
        return predictions

    def infer(self, image: str | os.PathLike | bytes | Image.Image) -> Output:
        """Runs the network on an image (see `__call__`)."""
        return self.run(load_pixels(image, self.config.preprocessing))

    def run(self, pixels: np.ndarray) -> Output:
        """Runs the network on pixels.

        Args:
            pixels: `(image_size, image_size, 3)` uint8 RGB, as `load_pixels` returns them.

        Raises:
            WeightsError: The output is NaN or infinite.
        """
        return self._runtime.run(pixels)

    def is_unknown(self, pixels: np.ndarray) -> bool | None:
        """Whether an image looks like none of the classes; None if the repository has nothing that tells.

        Args:
            pixels: `(image_size, image_size, 3)` uint8 RGB, as `load_pixels` returns them.
        """
        return self.detector.is_unknown(pixels) if self.detector else None

    def throughput_model(self) -> "openvino.CompiledModel | None":
        """Returns the network compiled for many images at once, or None where Keras runs it.

        See `OpenVINORuntime.throughput_model`.
        """
        runtime = self._runtime
        return runtime.throughput_model() if isinstance(runtime, OpenVINORuntime) else None

    def top(self, output: Output, top_k: int = 5) -> list[Prediction]:
        """Returns the likeliest classes, the likeliest first, and equally likely ones in their order.

        Args:
            output: The output of `infer`.
            top_k: The largest number of classes to return, 1 or more.

        Raises:
            ConfigError: `top_k` is below 1.
        """
        if top_k < 1:
            raise ConfigError(f"top_k must be at least 1, not {top_k}.")
        names = self.config.label_names
        order = np.argsort(-output.probabilities, kind="stable")[:top_k]
        return [Prediction(names[index], float(output.probabilities[index])) for index in order]

    def class_activation_map(self, output: Output, label: int) -> np.ndarray:
        """Computes the evidence for a class at each place of the last feature map.

        This is the class activation map of Zhou et al., 2016 (arXiv:1512.04150).

        Args:
            output: The output of `infer`.
            label: The index of the class.

        Returns:
            `(height, width)` float32, whose mean is the logit of the class without its bias.
        """
        return np.tensordot(self._class_weights[label], output.features, 1)


def find_runtime(runtime: str = "auto") -> str:
    """Returns the runtime that is used on this machine, "openvino" or "keras".

    Args:
        runtime: One of `RUNTIMES`.

    Raises:
        ConfigError: The runtime is unknown or not installed.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime must be one of {', '.join(RUNTIMES)}, not {runtime!r}.")
    for name in ("openvino", "keras") if runtime == "auto" else (runtime,):
        if importlib.util.find_spec(_PACKAGES[name]):
            return name
    package = _PACKAGES.get(runtime, "openvino")
    raise ConfigError(f"The runtime {runtime!r} is not installed: pip install {package}.")
