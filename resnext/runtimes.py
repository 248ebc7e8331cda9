"""What runs a network on pixels: OpenVINO, or Keras where OpenVINO has no wheel or a GPU is wanted."""

import contextlib
import os
import queue
import threading
import typing
from collections.abc import Iterator

import numpy as np

from resnext.config import ModelConfig
from resnext.errors import WeightsError
from resnext.shapes import tensor_shapes
from resnext.weights import check_shapes

if typing.TYPE_CHECKING:
    import openvino

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


class Output(typing.NamedTuple):
    """Everything that the network puts out for one image.

    Args:
        probabilities: (classes,) float32, their sum is 1.
        logits: (classes,) float32.
        features: (channels, height, width) float32, the last feature map.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    features: np.ndarray

    def checked(self) -> "Output":
        """Itself.

        Raises:
            WeightsError: its logits are not finite.
        """
        if not np.isfinite(self.logits).all():
            raise WeightsError(
                "The network's answer is no number: its weights are beyond all measure; train or download them again."
            )
        return self


class OpenVINORuntime:
    """A graph of `resnext.openvino_graph`, compiled for this processor; may be called from several threads.

    Args:
        graph: from `images` (1, height, width, 3) uint8 RGB to the fields of `Output`.
        precision: "auto", "float32", "bfloat16" or "int8": a quantised graph, which computes in float32 where it is not quantised.
    """

    runtime = "openvino"

    def __init__(self, graph: "openvino.Model", precision: str):
        hint = _HINTS.get("float32" if precision == "int8" else precision)
        self._options = {"INFERENCE_PRECISION_HINT": hint} if hint else {}
        self._graph, self._lock, self._running = graph, threading.Lock(), 0
        compiled = self._compile("LATENCY")
        self._alone, self._throughput, self._several = _requests(compiled, 1), None, None
        chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = "int8" if precision == "int8" else _PRECISIONS[chosen]

    def run(self, pixels: np.ndarray) -> Output:
        """Runs the network on (height, width, 3) uint8 RGB pixels."""
        with self._request() as request:
            result = request.infer({"images": pixels[None]})
            return Output(*(result[name][0].copy() for name in Output._fields)).checked()

    def throughput_model(self) -> "openvino.CompiledModel":
        """The graph compiled for many images at once, with the same input and outputs; compiled when first asked for."""
        with self._lock:
            return self._compile_throughput()

    @contextlib.contextmanager
    def _request(self) -> Iterator["openvino.InferRequest"]:
        """One image alone gets all cores. Several at once get a few each, or their threads would only wait for one another."""
        with self._lock:
            if self._running and self._several is None:  # the first time that two meet
                compiled = self._compile_throughput()
                self._several = _requests(compiled, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
            requests = self._several if self._running else self._alone
            self._running += 1
        request = requests.get()
        try:
            yield request
        finally:
            requests.put(request)
            with self._lock:
                self._running -= 1

    def _compile_throughput(self):
        if self._throughput is None:
            self._throughput = self._compile("THROUGHPUT")
        return self._throughput

    def _compile(self, hint):
        import openvino

        try:
            return openvino.Core().compile_model(
                self._graph, "CPU", {"PERFORMANCE_HINT": hint, **self._options}
            )
        except RuntimeError as error:
            raise WeightsError(
                f"OpenVINO cannot compile the network ({str(error).strip().splitlines()[-1]})."
            ) from None


def _requests(compiled, count) -> queue.SimpleQueue:
    requests = queue.SimpleQueue()
    for _ in range(count):
        requests.put(compiled.create_infer_request())
    return requests


class KerasRuntime:
    """The network's Keras reading on TensorFlow, on a GPU if it sees one; may be called from several threads.

    Args:
        config: the network.
        tensors: its weights, under timm's keys.
        precision: "auto" and "float32", or "bfloat16". "float32" keeps the process' GPU from rounding to TensorFloat-32.
        where: what an error calls the tensors' source.

    Raises:
        WeightsError: the tensors do not fit the network.
    """

    runtime = "keras"

    def __init__(self, config: ModelConfig, tensors: dict[str, np.ndarray], precision: str, where: object):
        check_shapes(tensors, tensor_shapes(config.architecture, config.num_classes), where)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes on its own build
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # or it would take all of a GPU's memory
        import keras
        import tensorflow as tf

        from resnext.architecture import build_network
        from resnext.keras_model import KerasOps, dtype_policy
        from resnext.weights import load_into_keras

        self.precision = "bfloat16" if precision == "bfloat16" else "float32"
        if precision == "float32":
            tf.config.experimental.enable_tensor_float_32_execution(False)
        size, prep = config.preprocessing.image_size, config.preprocessing
        with _KERAS_LOCK, dtype_policy("mixed_bfloat16" if self.precision == "bfloat16" else "float32"):
            images = keras.Input((size, size, 3), name="images")
            out = build_network(
                KerasOps(prep.mean, prep.std), config.architecture, config.num_classes, images
            )
            network = keras.Model(images, [out["logits"], out["layer4"]])
        load_into_keras(network, tensors, where)

        @tf.function(input_signature=[tf.TensorSpec((1, size, size, 3), tf.uint8)])
        def answer(pixels):
            logits, features = network(tf.cast(pixels, tf.float32), training=False)
            return (
                tf.nn.softmax(logits)[0],
                logits[0],
                tf.transpose(tf.cast(features, tf.float32)[0], (2, 0, 1)),
            )

        self._answer = answer.get_concrete_function()

    def run(self, pixels: np.ndarray) -> Output:
        """Runs the network on (height, width, 3) uint8 RGB pixels."""
        import tensorflow as tf

        return Output(*(output.numpy() for output in self._answer(tf.constant(pixels[None])))).checked()


_KERAS_LOCK = threading.Lock()  # the policy is the whole process'
