"""The network's fast reading: an OpenVINO graph straight from timm's tensors, batch norm folded away."""

import typing

import numpy as np
import openvino
import openvino.opset1 as ops  # opset 16's avg_pool crashes the CPU plug-in (2026.4); opset 1 has all that is needed

from resnext.architecture import build_network
from resnext.config import ModelConfig
from resnext.shapes import tensor_shapes
from resnext.weights import check_shapes

BN_EPSILON = 1e-5  # as PyTorch's BatchNorm2d, which the weights were trained with


def build_graph(
    config: ModelConfig,
    tensors: dict[str, np.ndarray],
    image_size: tuple[int, int] | None = None,
    where: object = "The file",
) -> openvino.Model:
    """Builds the graph of a network.

    Args:
        config: the network.
        tensors: its weights, under timm's keys.
        image_size: height and width; the config's if left out.
        where: what an error calls the tensors' source.

    Returns:
        A graph from `images` (1, height, width, 3) uint8 RGB to `probabilities` and `logits` (1, num_classes) float32, and
        `features` (1, channels, height / 32, width / 32) float32, the last feature map.

    Raises:
        WeightsError: the tensors do not fit the network.
    """
    check_shapes(tensors, tensor_shapes(config.architecture, config.num_classes), where)
    height, width = image_size or (config.preprocessing.image_size,) * 2
    images = ops.parameter([1, height, width, 3], np.uint8, name="images")
    out = build_network(OpenVINOOps(config, tensors), config.architecture, config.num_classes, images)
    outputs = {
        "probabilities": ops.softmax(out["logits"], 1),
        "logits": out["logits"],
        "features": out["layer4"],
    }
    results = []
    for name, node in outputs.items():
        result = ops.result(node)
        result.output(0).get_tensor().set_names({name})
        results.append(result)
    images.output(0).get_tensor().set_names({"images"})
    return openvino.Model(results, [images], config.name)


class _Convolution(typing.NamedTuple):
    """A convolution that waits for its batch norm."""

    images: object
    kernel: np.ndarray  # OIHW
    stride: int
    groups: int


class OpenVINOOps:
    """The network's operations as OpenVINO nodes, channels first; see `resnext.architecture.Ops`."""

    def __init__(self, config: ModelConfig, tensors: dict[str, np.ndarray]):
        self.preprocessing, self.tensors = config.preprocessing, tensors

    def normalize(self, images):
        mean, std = (
            np.array(values, np.float32) for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        x = ops.multiply(ops.convert(images, "f32"), 1 / (255 * std))
        x = ops.add(x, -mean / std)
        return ops.transpose(x, np.array([0, 3, 1, 2]))

    def conv(self, x, filters, kernel, stride=1, groups=1, bias=False, *, name):
        convolution = _Convolution(x, self._tensor(f"{name}.weight"), stride, groups)
        return self._convolve(convolution, self._tensor(f"{name}.bias")) if bias else convolution

    def batch_norm(self, x, *, name, zero=False):
        gamma, beta, mean, variance = (
            self._tensor(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + np.float32(BN_EPSILON))
        return self._convolve(x._replace(kernel=x.kernel * scale[:, None, None, None]), beta - mean * scale)

    def _convolve(self, convolution, bias):
        x, kernel, stride, groups = convolution
        margin = [kernel.shape[-1] // 2] * 2
        geometry = ([stride] * 2, margin, margin, [1, 1])
        if groups == 1:
            x = ops.convolution(x, _constant(kernel), *geometry)
        else:
            kernel = kernel.reshape(groups, -1, *kernel.shape[1:])
            x = ops.group_convolution(x, _constant(kernel), *geometry)
        return ops.add(x, bias.reshape(1, -1, 1, 1))

    def relu(self, x, *, name):
        return ops.relu(x)

    def sigmoid(self, x):
        return ops.sigmoid(x)

    def max_pool(self, x, padded):
        margin = [1, 1] if padded else [0, 0]
        return ops.max_pool(x, [2, 2], margin, margin, [3, 3], rounding_type="floor" if padded else "ceil")

    def average_pool(self, x, round_up):
        # No padding; rounded up, the mean leaves out what is beyond the border, as timm's does.
        return ops.avg_pool(
            x, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=True, rounding_type="ceil" if round_up else "floor"
        )

    def global_pool(self, x, keepdims=False):
        return ops.reduce_mean(x, np.array([2, 3]), keep_dims=keepdims)

    def dense(self, x, units, *, name):
        x = ops.matmul(x, _constant(self._tensor(f"{name}.weight")), False, True)
        return ops.add(x, self._tensor(f"{name}.bias"))

    def multiply(self, x, y):
        return ops.multiply(x, y)

    def add(self, x, y):
        return ops.add(x, y)

    def drop_path(self, x, rate, *, name):
        return x  # only while training

    def _tensor(self, key):
        return np.asarray(self.tensors[key], np.float32)


def _constant(array: np.ndarray) -> openvino.Node:
    # The opset's functions would make a Python list of the array's numbers first: a second for ResNeXt-50.
    return openvino.op.Constant(np.ascontiguousarray(array))
