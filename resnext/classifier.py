"""Fast classification: a model repository as a function from an image to its likeliest classes."""

import contextlib
import os
import queue
import threading
import typing
from collections.abc import Iterator

import numpy as np
import openvino
from PIL import Image

from resnext.config import ModelConfig
from resnext.errors import ConfigError
from resnext.openvino_graph import build_graph
from resnext.preprocessing import open_image, preprocess
from resnext.repository import Repository, find_repository
from resnext.weights import read_tensors

PRECISIONS = {"auto": None, "float32": "f32", "bfloat16": "bf16"}


class Prediction(typing.NamedTuple):
    """A class and its probability in [0, 1]."""

    label: str
    probability: float


class Answer(typing.NamedTuple):
    """Everything that the network puts out for one image.

    Args:
        probabilities: (classes,) float32, their sum is 1.
        logits: (classes,) float32.
        features: (channels, height, width) float32, the last feature map.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    features: np.ndarray


class Classifier:
    """A network that is ready to classify; may be called from several threads.

    Args:
        config: what config.json says.
        tensors: the weights under timm's keys.
        precision: "float32", the same on every machine; "bfloat16"; or "auto", bfloat16 where the processor
            computes in it (a few images in a thousand may change their class) and float32 elsewhere.
        repository: where they came from.

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
    ):
        if precision not in PRECISIONS:
            raise ConfigError(f"precision can be {', '.join(PRECISIONS)}, not {precision!r}.")
        self.config, self.repository = config, repository
        where = repository.folder / "model.safetensors" if repository else "The file"
        graph = build_graph(config, tensors, where=where)
        self._class_weights = np.asarray(tensors["fc.weight"], np.float32)
        self._options = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision]} if PRECISIONS[precision] else {}
        self._graph, self._lock, self._running = graph, threading.Lock(), 0
        self._alone, self._several = self._compile("LATENCY"), None

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike | None = None,
        revision: str | None = None,
        *,
        precision: str = "auto",
    ) -> "Classifier":
        """Opens a model repository.

        Args:
            model: a folder, or a repository id on the Hub such as "OWNER/NAME" or "OWNER/NAME@REVISION"; the bundled model if left out.
            revision: branch, tag or commit of a Hub repository.
            precision: see the class.

        Raises:
            RepositoryError, ConfigError, WeightsError: it cannot be found, reached or used.
        """
        repository = find_repository(model, revision)
        config = ModelConfig.read(repository.folder / "config.json")
        return cls(config, read_tensors(repository.folder / "model.safetensors"), precision, repository)

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
        return self.top(self.answer(image), top_k)

    def answer(self, image: str | os.PathLike | bytes | Image.Image) -> Answer:
        """Runs the network on an image (see `__call__`)."""
        image = open_image(image, self.config.preprocessing.resize_to)
        return self.run(preprocess(image, self.config.preprocessing))

    def run(self, pixels: np.ndarray) -> Answer:
        """Runs the network on (image_size, image_size, 3) uint8 RGB pixels, as `preprocess` gives them."""
        with self._request() as request:
            result = request.infer({"images": pixels[None]})
            return Answer(*(result[name][0].copy() for name in Answer._fields))

    @contextlib.contextmanager
    def _request(self) -> Iterator[openvino.InferRequest]:
        """One image alone gets all cores. Several at once get a few each, or their threads would only wait for one another."""
        with self._lock:
            if self._running and self._several is None:  # the first time that two meet
                self._several = self._compile("THROUGHPUT")
            requests = self._several if self._running else self._alone
            self._running += 1
        request = requests.get()
        try:
            yield request
        finally:
            requests.put(request)
            with self._lock:
                self._running -= 1

    def _compile(self, hint: str) -> queue.SimpleQueue:
        compiled = openvino.Core().compile_model(self._graph, "CPU", {"PERFORMANCE_HINT": hint, **self._options})
        requests = queue.SimpleQueue()
        for _ in range(1 if hint == "LATENCY" else compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")):
            requests.put(compiled.create_infer_request())
        return requests

    def top(self, answer: Answer, top_k: int = 5) -> list[Prediction]:
        """The likeliest classes of an answer, likeliest first; of equal ones, the first."""
        if top_k < 1:
            raise ConfigError(f"top_k has to be at least 1, not {top_k}.")
        order = np.argsort(-answer.probabilities, kind="stable")[:top_k]
        return [Prediction(self.config.label_names[index], float(answer.probabilities[index])) for index in order]

    def class_activation_map(self, answer: Answer, label: int) -> np.ndarray:
        """How much each place of the last feature map speaks for a class (Zhou et al., 2016, arXiv:1512.04150).

        Args:
            answer: of `answer`.
            label: index of the class.

        Returns:
            (height, width) float32: the class' logit without its bias is the mean of it.
        """
        return np.tensordot(self._class_weights[label], answer.features, 1)
