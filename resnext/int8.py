"""The int8 graph of a model repository: read, and used only if it is config.json's network, quantized."""

import json
import math
import pathlib
import typing
import xml.etree.ElementTree as ElementTree

from resnext.errors import WeightsError
from resnext.repository import Repository, weights_digest
from resnext.weights import weights_file

if typing.TYPE_CHECKING:
    import openvino

GRAPH = "openvino_int8.xml"
WEIGHTS = "openvino_int8.bin"
NOTES = "quantization.json"
_FALLBACK = "classifying in float32; make one with `resnext quantize`."
# Of the graph without its weights: ResNeXt-101 has 0.9 MB.
_MAX_BYTES = 4 * 2**20
_MAX_NOTES_BYTES = 2**20
_MAX_QUANTIZATION_LEVELS = 256
# The number of operations, compared with that of the network in float32.
_MAX_OPERATIONS_RATIO = 20
# The elements of all constants, compared with the network in float32: a weight, converted, its zero point
# subtracted, scaled, and the scales.
_MAX_CONSTANTS_RATIO = 5
_WEIGHT_TYPES = {"f32", "i8", "u8"}
# The operations that quantized weights consist of.
_WEIGHT_OPERATIONS = {"Constant", "Convert", "Subtract", "Multiply"}
# OpenVINO's name of an operation -> its name in OpenVINO's files.
_IR_NAMES = {"Constant": "Const", "Relu": "ReLU", "Softmax": "SoftMax"}


def read_int8(repository: Repository | None, network: "openvino.Model") -> "openvino.Model":
    """Reads a repository's int8 graph.

    Nothing in it is trusted. Before OpenVINO reads the file, its size and its kinds of operations are
    checked. Before it is compiled, it must be the same network, operation by operation, except for the
    weights and their quantization.

    Args:
        repository: The repository, or None for a network that is in none.
        network: The graph of the same weights in float32, as `resnext.openvino_graph.build_graph` returns it.

    Returns:
        A graph with the same input and outputs.

    Raises:
        WeightsError: There is no such graph, it was made of other weights, or it is not that network.
    """
    name = repository.name if repository else "This network"
    if repository is None or not (repository.folder / GRAPH).is_file():
        raise WeightsError(f"{name} has no int8 graph: {_FALLBACK}")
    if _digest_in_notes(repository.folder) is None:
        raise WeightsError(f"{name} has an invalid int8 graph ({NOTES} is not valid): {_FALLBACK}")
    if is_stale(repository.folder):
        raise WeightsError(f"{name} has a stale int8 graph, made of other weights: {_FALLBACK}")
    try:
        return _read(repository.folder, network)
    except WeightsError as error:
        raise WeightsError(f"{name} has an invalid int8 graph ({error}): {_FALLBACK}") from None


def has_int8(folder: pathlib.Path) -> bool:
    """Whether a repository seems to have an int8 graph, without the checks of `read_int8`."""
    return (folder / GRAPH).is_file() and _digest_in_notes(folder) is not None


def is_stale(folder: pathlib.Path) -> bool:
    """Whether a repository's int8 graph was made of other weights than the repository's."""
    return (folder / GRAPH).is_file() and _digest_in_notes(folder) != weights_digest(folder)


def _digest_in_notes(folder: pathlib.Path) -> str | None:
    """The digest of the weights that the int8 graph was made of, as quantization.json says, or None."""
    try:
        with (folder / NOTES).open("rb") as file:
            return json.loads(file.read(_MAX_NOTES_BYTES))["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _read(folder: pathlib.Path, network: "openvino.Model") -> "openvino.Model":
    import openvino

    path = folder / GRAPH
    weights = folder / WEIGHTS
    _check_layers(_content(folder), network)
    try:
        model = openvino.Core().read_model(path, weights)
    except RuntimeError:
        raise WeightsError("OpenVINO cannot read it") from None
    if model.has_rt_info("runtime_options"):
        raise WeightsError("it sets options of OpenVINO")
    if _input_shapes(model) != _input_shapes(network):
        raise WeightsError("it takes images of another size")
    if not _same_network(model, network):
        raise WeightsError("it is another network than config.json's")
    return model


def _content(folder: pathlib.Path) -> bytes:
    path = folder / GRAPH
    weights = folder / WEIGHTS
    try:
        max_weights = 2**20 + 2 * weights_file(folder).stat().st_size
        if path.stat().st_size > _MAX_BYTES or weights.stat().st_size > max_weights:
            raise WeightsError("it is too large")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{pathlib.Path(error.filename).name} cannot be read") from None


def _input_shapes(model: "openvino.Model") -> list[str]:
    return [str(port.partial_shape) for port in model.inputs]


def _check_layers(content: bytes, network: "openvino.Model") -> None:
    """Refuses files that are not safe for OpenVINO to read."""
    operations = network.get_ops()
    types = {op.get_type_info().name for op in operations} | _WEIGHT_OPERATIONS | {"FakeQuantize"}
    ir_types = {_IR_NAMES.get(name, name) for name in types}
    # In another encoding, OpenVINO could read something else than what is checked here.
    if b"<!" in content or not content.isascii():
        raise WeightsError("it holds more than a graph")
    try:
        layers = list(ElementTree.fromstring(content).iter("layer"))
    except (ElementTree.ParseError, ValueError, RecursionError, LookupError):
        raise WeightsError("it is not XML") from None
    if len(layers) > _MAX_OPERATIONS_RATIO * len(operations):
        raise WeightsError("it has too many operations")
    for layer in layers:
        name = layer.get("type", "")
        version = layer.get("version")
        if name not in ir_types or version != "opset1":
            raise WeightsError(f"it has an operation {name[:40]!r} of {str(version)[:40]!r}")


def _same_network(model: "openvino.Model", network: "openvino.Model") -> bool:
    sizes = [(op.get_type_name(), math.prod(op.output(0).shape)) for op in network.get_ops()]
    max_elements = max(size for _, size in sizes)
    max_constants = _MAX_CONSTANTS_RATIO * sum(size for name, size in sizes if name == "Constant")
    numbering = _Numbering(max_elements, max_constants)
    try:
        return numbering.of_graph(model) == numbering.of_graph(network)
    except (RuntimeError, WeightsError):
        # OpenVINO raises RuntimeError where it does not know a shape.
        return False


class _Numbering:
    """Numbers the values of graphs by what computes them, whatever the weights and their quantization.

    Two graphs compute the same if their outputs get the same numbers (value numbering, as compilers do).

    A value is known by its operation, its shape and the numbers of its inputs. A constant is known by its
    shape alone, unless it is a few whole numbers, which set axes and sizes: then by its content, too. Numbers
    of constants are negative.

    Args:
        max_elements: The largest number of elements of a value.
        max_constants: The largest number of elements of all constants and of what is computed from them
            alone, since OpenVINO computes that when it compiles the graph.
    """

    def __init__(self, max_elements: int, max_constants: int):
        self._known: dict[tuple, int] = {}
        self._max_elements = max_elements
        self._max_constants = max_constants

    def of_graph(self, model: "openvino.Model") -> tuple[dict[frozenset[str], int], int]:
        """Returns the numbers of inputs and outputs by their names, and the number of unquantized operations.

        Raises:
            WeightsError: A value is too large, or quantized in an unknown way.
        """
        numbers: dict[str, int] = {}
        ports: dict[frozenset[str], int] = {}
        operations = 0
        constants = 0
        for op in model.get_ordered_ops():
            sources = tuple(numbers[source.get_node().get_name()] for source in op.input_values())
            size = math.prod(op.output(0).shape)
            if size > self._max_elements:
                raise WeightsError("A value is too large.")
            if op.get_type_name() == "FakeQuantize":
                number = _quantized_input(op, sources)
            elif op.get_type_name() in _WEIGHT_OPERATIONS and all(source < 0 for source in sources):
                constants += size
                number = self._of_constant(op)
            else:
                operations += 1
                number = self._of_operation(op, sources)
            if constants > self._max_constants:
                raise WeightsError("Its constants are too large.")
            numbers[op.get_name()] = number
            if op.get_type_name() in ("Parameter", "Result"):
                ports[frozenset(op.output(0).names)] = number
        return ports, operations

    def _of_constant(self, op: "openvino.Node") -> int:
        output = op.output(0)
        is_whole = op.get_type_name() == "Constant" and output.get_element_type().is_integral_number()
        is_setting = is_whole and math.prod(output.shape) < 10
        if not is_setting and output.get_element_type().get_type_name() not in _WEIGHT_TYPES:
            raise WeightsError("A constant has an unknown type.")
        content = tuple(op.data.ravel().tolist()) if is_setting else None
        return -self._number((tuple(output.shape), content))

    def _of_operation(self, op: "openvino.Node", sources: tuple[int, ...]) -> int:
        output = op.output(0)
        element_type = output.get_element_type().get_type_name()
        attributes = repr(op.get_attributes())
        return self._number((op.get_type_name(), attributes, element_type, tuple(output.shape), sources))

    def _number(self, value: tuple) -> int:
        return self._known.setdefault(value, len(self._known) + 1)


def _quantized_input(op: "openvino.Node", sources: tuple[int, ...]) -> int:
    """The number of what a FakeQuantize rounds, so that it counts as the same value."""
    data, *ranges = sources
    same_shape = tuple(op.input_value(0).shape) == tuple(op.output(0).shape)
    levels = op.get_attributes()["levels"]
    if max(ranges) > 0 or levels > _MAX_QUANTIZATION_LEVELS or not same_shape:
        raise WeightsError("A value is quantized in an unknown way.")
    return data
