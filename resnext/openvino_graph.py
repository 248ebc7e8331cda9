"""The OpenVINO backend: a graph for serving, built straight from timm's tensors with batch norm folded."""

import numpy as np
import openvino

# Not opset 16, whose avg_pool crashes the CPU plug-in (2026.4). opset 1 has everything that is needed.
import openvino.opset1 as ops

from resnext.architecture import build_network
from resnext.config import ModelConfig
from resnext.mapped import MappedArrays
from resnext.shapes import tensor_shapes
from resnext.weights import check_shapes

# The default of PyTorch's BatchNorm2d, with which the weights were trained.
BN_EPSILON = 1e-5


def build_graph(
    config: ModelConfig,
    tensors: dict[str, np.ndarray],
    image_size: tuple[int, int] | None = None,
    where: object = "The file",
    arrays: MappedArrays | None = None,
) -> openvino.Model:
    """Builds the OpenVINO graph of a network.

    Args:
        config: The network.
        tensors: The weights, arrays by timm's key.
        image_size: The height and width of the images in pixels. Defaults to the config's image size.
        where: The source of the tensors, which error messages name.
        arrays: Where to put the graph's weights (`arrays_for`). Defaults to memory.

    Returns:
        A graph from `images` `(1, height, width, 3)` uint8 RGB to `probabilities` and `logits`
        `(1, num_classes)` float32, and `features` `(1, channels, height / 32, width / 32)` float32, the last
        feature map.

    Raises:
        WeightsError: The tensors do not fit the network.
    """
    check_shapes(tensors, tensor_shapes(config.architecture, config.num_classes), where)
    size = config.preprocessing.image_size
    height, width = image_size or (size, size)
    images = ops.parameter([1, height, width, 3], np.uint8, name="images")
    out = build_network(OpenVINOOps(config, tensors, arrays), config.architecture, config.num_classes, images)
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


class OpenVINOOps:
    """The operations as OpenVINO nodes, channels first; see `resnext.architecture.Ops`.

    Args:
        config: The network, whose mean and standard deviation normalize the images.
        tensors: The weights, arrays by timm's key.
        arrays: Where to put the weights; None for memory.
    """

    def __init__(
        self, config: ModelConfig, tensors: dict[str, np.ndarray], arrays: MappedArrays | None = None
    ):
        self.preprocessing = config.preprocessing
        self.tensors = tensors
        self.arrays = arrays

    def normalize(self, images: openvino.Node) -> openvino.Node:
        mean = np.array(self.preprocessing.mean, np.float32)
        std = np.array(self.preprocessing.std, np.float32)
        x = ops.multiply(ops.convert(images, "f32"), 1 / (255 * std))
        x = ops.add(x, -mean / std)
        return ops.transpose(x, np.array([0, 3, 1, 2]))

    def conv_bn(
        self,
        x: openvino.Node,
        filters: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        zero_init: bool = False,
        *,
        conv: str,
        bn: str,
    ) -> openvino.Node:
        scale = self._tensor(f"{bn}.weight") / np.sqrt(
            self._tensor(f"{bn}.running_var") + np.float32(BN_EPSILON)
        )
        bias = self._tensor(f"{bn}.bias") - self._tensor(f"{bn}.running_mean") * scale
        folded = self._tensor(f"{conv}.weight") * scale[:, None, None, None]
        return self._convolution(x, folded, bias, stride, groups)

    def conv_bias(self, x: openvino.Node, filters: int, *, name: str) -> openvino.Node:
        return self._convolution(x, self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias"))

    def relu(self, x: openvino.Node, *, name: str) -> openvino.Node:
        return ops.relu(x)

    def sigmoid(self, x: openvino.Node) -> openvino.Node:
        return ops.sigmoid(x)

    def max_pool(self, x: openvino.Node, padded: bool) -> openvino.Node:
        margin = [1, 1] if padded else [0, 0]
        return ops.max_pool(x, [2, 2], margin, margin, [3, 3], rounding_type="floor" if padded else "ceil")

    def average_pool(self, x: openvino.Node, round_up: bool) -> openvino.Node:
        # Without padding. When rounded up, the mean leaves out what is beyond the border, as timm's does.
        return ops.avg_pool(
            x, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=True, rounding_type="ceil" if round_up else "floor"
        )

    def global_pool(self, x: openvino.Node, keepdims: bool = False) -> openvino.Node:
        return ops.reduce_mean(x, np.array([2, 3]), keep_dims=keepdims)

    def dense(self, x: openvino.Node, units: int, *, name: str) -> openvino.Node:
        x = ops.matmul(x, self._constant(self._tensor(f"{name}.weight")), False, True)
        return ops.add(x, self._tensor(f"{name}.bias"))

    def multiply(self, x: openvino.Node, y: openvino.Node) -> openvino.Node:
        return ops.multiply(x, y)

    def add(self, x: openvino.Node, y: openvino.Node) -> openvino.Node:
        return ops.add(x, y)

    def drop_path(self, x: openvino.Node, rate: float, *, name: str) -> openvino.Node:
        return x  # applies during training only

    def _tensor(self, key: str) -> np.ndarray:
        return np.asarray(self.tensors[key], np.float32)

    def _convolution(
        self, x: openvino.Node, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, groups: int = 1
    ) -> openvino.Node:
        """A convolution with an OIHW kernel, padded by half the kernel on every side."""
        margin = [kernel.shape[-1] // 2] * 2
        geometry = ([stride] * 2, margin, margin, [1, 1])
        if groups == 1:
            x = ops.convolution(x, self._constant(kernel), *geometry)
        else:
            kernel = kernel.reshape(groups, -1, *kernel.shape[1:])
            x = ops.group_convolution(x, self._constant(kernel), *geometry)
        return ops.add(x, bias.reshape(1, -1, 1, 1))

    def _constant(self, array: np.ndarray) -> openvino.Node:
        # Given an array, the opset's functions first make a Python list of it: a second for ResNeXt-50.
        if self.arrays is None:
            return openvino.op.Constant(np.ascontiguousarray(array))
        return openvino.op.Constant(self.arrays.add(array), shared_memory=True)


def arrays_for(config: ModelConfig) -> MappedArrays | None:
    """A temporary file with room for the weights of a network's graph; None if there is none."""
    try:
        return MappedArrays(list(tensor_shapes(config.architecture, config.num_classes).values()))
    except OSError:
        return None
