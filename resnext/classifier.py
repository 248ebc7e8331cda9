"""Fast classification: a model repository as a function from an image to its likeliest classes."""

import dataclasses
import importlib.util
import os
import typing

import numpy as np
from PIL import Image

from resnext.config import ModelConfig
from resnext.errors import ConfigError, WeightsError
from resnext.preprocessing import load_pixels
from resnext.repository import Repository, find_repository, load_config, load_tensors
from resnext.runtimes import KerasRuntime, OpenVINORuntime, Output

if typing.TYPE_CHECKING:
    import openvino

PRECISIONS = ("auto", "float32", "bfloat16", "int8")
RUNTIMES = {"auto": None, "openvino": "openvino", "keras": "tensorflow"}  # and the package that each needs


class Prediction(typing.NamedTuple):
    """A class and its probability in [0, 1]."""

    label: str
    probability: float


class Classifier:
    """A network that is ready to classify; may be called from several threads.

    Args:
        config: what config.json says.
        tensors: the weights under timm's keys.
        precision: "float32", the same on every machine; "bfloat16"; "int8", the repository's quantised graph, or float32 where
            there is none to use; or "auto", bfloat16 where OpenVINO runs and the processor computes in it (a few images in a
            thousand may change their class) and float32 elsewhere.
        repository: where they came from.
        runtime: "openvino"; "keras", TensorFlow on a GPU if it sees one; or "auto", OpenVINO where it is installed.

    Attributes:
        precision, runtime: what runs in fact: "float32", "bfloat16", "float16" or "int8"; "openvino" or "keras".
        notice: one sentence that says why it is not what was asked for, or "".

    Raises:
        ConfigError: precision or runtime is none of these, or the runtime is not installed.
        WeightsError: the tensors do not fit the network.

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
        precision: str = "auto",
        repository: Repository | None = None,
        runtime: str = "auto",
    ):
        if precision not in PRECISIONS:
            raise ConfigError(f"precision can be {', '.join(PRECISIONS)}, not {precision!r}.")
        self.config, self.repository, self.notice = config, repository, ""
        where = repository.folder / "model.safetensors" if repository else "The file"
        if find_runtime(runtime) == "keras":
            if precision == "int8":
                precision, self.notice = "float32", "An int8 graph needs OpenVINO: classifying in float32."
            self._runtime = KerasRuntime(config, tensors, precision, where)
        else:
            from resnext.int8 import read_int8
            from resnext.openvino_graph import build_graph

            graph = build_graph(config, tensors, where=where)
            if precision == "int8":
                try:
                    self._runtime = OpenVINORuntime(read_int8(repository, graph), precision)
                except WeightsError as error:
                    precision, self.notice = "float32", str(error)
            if precision != "int8":
                self._runtime = OpenVINORuntime(graph, precision)
                if precision not in ("auto", self._runtime.precision):
                    self.notice = f"This processor does not compute in {precision}: classifying in {self._runtime.precision}."
        self._class_weights = np.asarray(tensors[f"{config.architecture.classifier}.weight"], np.float32)
        self.precision, self.runtime = self._runtime.precision, self._runtime.runtime

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike | None = None,
        revision: str | None = None,
        *,
        precision: str = "auto",
        runtime: str = "auto",
        test_size: bool = False,
    ) -> "Classifier":
        """Opens a model repository.

        Args:
            model: a folder, or a repository id on the Hub such as "OWNER/NAME" or "OWNER/NAME@REVISION"; the bundled model if left out.
            revision: branch, tag or commit of a Hub repository.
            precision, runtime: see the class.
            test_size: see images at the larger size that the weights were tested at, if config.json has one (`test_input_size`):
                better and slower. The accuracies that timm publishes are at this size.

        Raises:
            RepositoryError, ConfigError, WeightsError: it cannot be found, reached or used.
        """
        repository = find_repository(model, revision)
        config = load_config(repository)
        if test_size:
            config = dataclasses.replace(config, preprocessing=config.preprocessing.at_test_size())
        return cls(config, load_tensors(repository, config), precision, repository, runtime)

    def __call__(self, image: str | os.PathLike | bytes | Image.Image, top_k: int = 5) -> list[Prediction]:
        """Classifies an image.

        Args:
            image: a path, an encoded file's bytes, or an image that Pillow has opened.
            top_k: how many classes at most, 1 or more.

        Returns:
            The likeliest classes, likeliest first.

        Raises:
            ImageError: it is no image.
            ConfigError: top_k is below 1.
        """
        return self.top(self.infer(image), top_k)

    def infer(self, image: str | os.PathLike | bytes | Image.Image) -> Output:
        """Runs the network on an image (see `__call__`)."""
        return self.run(load_pixels(image, self.config.preprocessing))

    def run(self, pixels: np.ndarray) -> Output:
        """Runs the network on (image_size, image_size, 3) uint8 RGB pixels, as `preprocess` gives them.

        Raises:
            WeightsError: the answer is no number.
        """
        return self._runtime.run(pixels)

    def throughput_model(self) -> "openvino.CompiledModel | None":
        """The network compiled for many images at once (`OpenVINORuntime.throughput_model`); None where Keras runs it."""
        return self._runtime.throughput_model() if self.runtime == "openvino" else None

    def top(self, answer: Output, top_k: int = 5) -> list[Prediction]:
        """The likeliest classes of an answer, likeliest first; of equal ones, the first."""
        if top_k < 1:
            raise ConfigError(f"top_k has to be at least 1, not {top_k}.")
        order = np.argsort(-answer.probabilities, kind="stable")[:top_k]
        return [
            Prediction(self.config.label_names[index], float(answer.probabilities[index])) for index in order
        ]

    def class_activation_map(self, answer: Output, label: int) -> np.ndarray:
        """How much each place of the last feature map speaks for a class (Zhou et al., 2016, arXiv:1512.04150).

        Args:
            answer: of `infer`.
            label: index of the class.

        Returns:
            (height, width) float32: the class' logit without its bias is the mean of it.
        """
        return np.tensordot(self._class_weights[label], answer.features, 1)


def find_runtime(runtime: str = "auto") -> str:
    """ "openvino" or "keras": what a runtime comes to on this machine.

    Raises:
        ConfigError: it is unknown or not installed.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime can be {', '.join(RUNTIMES)}, not {runtime!r}.")
    for name in ("openvino", "keras") if runtime == "auto" else (runtime,):
        if importlib.util.find_spec(RUNTIMES[name]):
            return name
    package = RUNTIMES[runtime] or "openvino"
    raise ConfigError(f"The runtime {runtime!r} is not installed: pip install {package}.")
