"""Runs a network on pixels: with OpenVINO, or with Keras where OpenVINO has no wheel or a GPU is wanted."""

import contextlib
import functools
import os
import queue
import threading
import typing
from collections.abc import Iterator

import numpy as np

from resnext.config import ModelConfig
from resnext.errors import WeightsError
from resnext.mapped import MappedArrays
from resnext.shapes import tensor_shapes
from resnext.weights import check_shapes

if typing.TYPE_CHECKING:
    import openvino

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
# Keras' dtype policy belongs to the whole process.
_KERAS_LOCK = threading.Lock()


class Output(typing.NamedTuple):
    """The network's output for one image.

    Args:
        probabilities: `(classes,)` float32, whose sum is 1.
        logits: `(classes,)` float32.
        features: `(channels, height, width)` float32, the last feature map.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    features: np.ndarray

    def checked(self) -> "Output":
        """Returns itself if the logits are finite.

        Raises:
            WeightsError: The logits are NaN or infinite.
        """
        if not np.isfinite(self.logits).all():
            raise WeightsError(
                "The network's output is NaN or infinite, so its weights are invalid: "
                "train or download them again."
            )
        return self


class OpenVINORuntime:
    """A graph of `resnext.openvino_graph`, compiled for this processor, for any number of threads.

    Args:
        graph: A graph from `images` `(1, height, width, 3)` uint8 RGB to the fields of `Output`.
        precision: "auto", "float32", "bfloat16", or "int8" for a quantized graph, which computes in float32
            where it is not quantized.
        arrays: The weights of the graph, if they are in a file: their memory is given back after compiling.

    Attributes:
        precision: The precision in use: "float32", "bfloat16", "float16" or "int8".

    Raises:
        WeightsError: OpenVINO cannot compile the graph.
    """

    runtime = "openvino"

    def __init__(self, graph: "openvino.Model", precision: str, arrays: MappedArrays | None = None):
        hint = _HINTS.get("float32" if precision == "int8" else precision)
        self._options = {"INFERENCE_PRECISION_HINT": hint} if hint else {}
        self._graph = graph
        self._arrays = arrays
        self._lock = threading.Lock()
        self._running = 0
        compiled = self._compile("LATENCY")
        # One image alone gets all cores. Several at once get a few cores each, or else their threads would
        # only wait for one another. The second graph is compiled when two images first meet.
        self._single_image_requests = _requests(compiled, 1)
        self._concurrent_requests: queue.SimpleQueue[openvino.InferRequest] | None = None
        self._throughput_model: openvino.CompiledModel | None = None
        chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = "int8" if precision == "int8" else _PRECISIONS[chosen]

    def run(self, pixels: np.ndarray) -> Output:
        """Runs the network on pixels.

        Args:
            pixels: `(height, width, 3)` uint8 RGB.

        Raises:
            WeightsError: The output is NaN or infinite.
        """
        with self._request() as request:
            result = request.infer({"images": pixels[None]})
            return Output(*(result[name][0].copy() for name in Output._fields)).checked()

    def throughput_model(self) -> "openvino.CompiledModel":
        """Returns the graph compiled for many images at once, with the same input and outputs.

        It is compiled at the first call.
        """
        with self._lock:
            return self._compile_throughput()

    @contextlib.contextmanager
    def _request(self) -> Iterator["openvino.InferRequest"]:
        with self._lock:
            requests = self._choose_requests()
            self._running += 1
        request = requests.get()
        try:
            yield request
        finally:
            requests.put(request)
            with self._lock:
                self._running -= 1

    def _choose_requests(self) -> "queue.SimpleQueue[openvino.InferRequest]":
        if not self._running:
            return self._single_image_requests
        if self._concurrent_requests is None:
            compiled = self._compile_throughput()
            count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            self._concurrent_requests = _requests(compiled, count)
        return self._concurrent_requests

    def _compile_throughput(self) -> "openvino.CompiledModel":
        if self._throughput_model is None:
            self._throughput_model = self._compile("THROUGHPUT")
        return self._throughput_model

    def _compile(self, hint: str) -> "openvino.CompiledModel":
        options = {"PERFORMANCE_HINT": hint, **self._options}
        try:
            return _core().compile_model(self._graph, "CPU", options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise WeightsError(f"OpenVINO cannot compile the network ({reason}).") from None
        finally:
            if self._arrays is not None:
                self._arrays.release()


@functools.cache
def _core() -> "openvino.Core":
    """The one Core of this process.

    Each Core gives the thread that first uses it a stack for signal handlers, and frees it with the Core. Of
    two, freed in the order in which they were made, the first one's stays in use, and the next signal ends
    the process (OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()


def _requests(compiled: "openvino.CompiledModel", count: int) -> "queue.SimpleQueue[openvino.InferRequest]":
    requests: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
    for _ in range(count):
        requests.put(compiled.create_infer_request())
    return requests


class KerasRuntime:
    """The network's Keras model on TensorFlow, on a GPU if it sees one, for any number of threads.

    Args:
        config: The network.
        tensors: The weights, arrays by timm's key.
        precision: "auto", "float32" or "bfloat16". "float32" keeps the process' GPU from rounding to
            TensorFloat-32, "auto" does not.
        where: The source of the tensors, which error messages name.

    Attributes:
        precision: The precision in use: "float32" or "bfloat16".

    Raises:
        ConfigError: Keras is not set to TensorFlow.
        WeightsError: The tensors do not fit the network.
    """

    runtime = "keras"

    def __init__(self, config: ModelConfig, tensors: dict[str, np.ndarray], precision: str, where: object):
        check_shapes(tensors, tensor_shapes(config.architecture, config.num_classes), where)
        # Silences TensorFlow's notes on its own build.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Or else TensorFlow would take all of a GPU's memory.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        from resnext.keras_backend import keras, require_tensorflow

        require_tensorflow("The keras runtime")
        import tensorflow as tf

        from resnext.architecture import build_network
        from resnext.keras_model import KerasOps, dtype_policy
        from resnext.weights import load_into_keras

        self.precision = "bfloat16" if precision == "bfloat16" else "float32"
        if precision == "float32":
            tf.config.experimental.enable_tensor_float_32_execution(False)
        prep = config.preprocessing
        size = prep.image_size
        with _KERAS_LOCK, dtype_policy("mixed_bfloat16" if self.precision == "bfloat16" else "float32"):
            images = keras.Input((size, size, 3), name="images")
            ops = KerasOps(prep.mean, prep.std)
            out = build_network(ops, config.architecture, config.num_classes, images)
            network = keras.Model(images, [out["logits"], out["layer4"]])
        load_into_keras(network, tensors, where)

        @tf.function(input_signature=[tf.TensorSpec((1, size, size, 3), tf.uint8)])
        def infer(pixels):
            logits, features = network(tf.cast(pixels, tf.float32), training=False)
            features = tf.transpose(tf.cast(features, tf.float32)[0], (2, 0, 1))
            return tf.nn.softmax(logits)[0], logits[0], features

        self._infer = infer.get_concrete_function()

    def run(self, pixels: np.ndarray) -> Output:
        """Runs the network on pixels.

        Args:
            pixels: `(height, width, 3)` uint8 RGB.

        Raises:
            WeightsError: The output is NaN or infinite.
        """
        import tensorflow as tf

        return Output(*(output.numpy() for output in self._infer(tf.constant(pixels[None])))).checked()
