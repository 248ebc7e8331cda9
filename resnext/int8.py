"""The int8 graph of a model repository: found, and used only if it is the network of config.json with other numbers."""

import hashlib
import json
import math
import pathlib
import typing
import xml.etree.ElementTree as ElementTree

from resnext.errors import WeightsError
from resnext.repository import Repository

if typing.TYPE_CHECKING:
    import openvino

GRAPH, WEIGHTS, NOTES = "openvino_int8.xml", "openvino_int8.bin", "quantization.json"
INSTEAD = "classifying in float32; make one with `python -m training quantize`."
_MAX_BYTES = 4 * 2**20  # of the graph without its weights: 0.9 MB for ResNeXt-101
_MAX_LEVELS = 256
_MAX_CONSTANTS = (
    5  # times the network's own: a weight, converted, its zero subtracted, scaled, and the scales
)
_STORED = {"f32", "i8", "u8"}  # types of weights
_QUANTISING = {"Constant", "Convert", "Subtract", "Multiply"}  # what quantised weights are made of


def read_int8(repository: Repository | None, network: "openvino.Model") -> "openvino.Model":
    """Reads a repository's int8 graph.

    Nothing in it is trusted: before OpenVINO sees the file, its size and its kinds of operations are checked; before it is
    compiled, that it is the same network, operation by operation, but for the numbers and their quantisation.

    Args:
        repository: where it is.
        network: the graph of the same weights in float32, of `resnext.openvino_graph.build_graph`.

    Returns:
        A graph with the same input and outputs.

    Raises:
        WeightsError: there is no such graph, it was made of other weights, or it is not that network.
    """
    name = repository.name if repository else "This network"
    if repository is None or not (repository.folder / GRAPH).is_file():
        raise WeightsError(f"{name} has no int8 graph: {INSTEAD}")
    if is_stale(repository.folder):
        raise WeightsError(f"{name} has an int8 graph of other weights: {INSTEAD}")
    try:
        return _read(repository.folder, network)
    except WeightsError as error:
        raise WeightsError(f"{name} has an int8 graph of no use ({error}): {INSTEAD}") from None


def has_int8(folder: pathlib.Path) -> bool:
    """Whether a repository seems to have an int8 graph of its weights; `read_int8` looks closer."""
    return (folder / GRAPH).is_file() and _weights_of_graph(folder) is not None


def is_stale(folder: pathlib.Path) -> bool:
    """Whether a repository's int8 graph is not of its weights."""
    return (folder / GRAPH).is_file() and _weights_of_graph(folder) != weights_digest(folder)


def weights_digest(folder: pathlib.Path) -> str:
    """SHA-256 of a repository's weights in hexadecimal digits, for quantization.json."""
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_of_graph(folder):
    """The digest of the weights that the int8 graph was made of, as quantization.json says, or None."""
    try:
        with (folder / NOTES).open("rb") as file:
            return json.loads(file.read(2**20))["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _read(folder, network):
    import openvino

    path, weights = folder / GRAPH, folder / WEIGHTS
    most = 2**20 + 2 * (folder / "model.safetensors").stat().st_size
    try:
        if path.stat().st_size > _MAX_BYTES or weights.stat().st_size > most:
            raise WeightsError("it is too large")
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{pathlib.Path(error.filename).name} cannot be read") from None
    _check_layers(content, network)
    try:
        model = openvino.Core().read_model(path, weights)
    except RuntimeError:
        raise WeightsError("OpenVINO cannot read it") from None
    if model.has_rt_info("runtime_options"):
        raise WeightsError("it sets options of OpenVINO")
    if [str(port.partial_shape) for port in model.inputs] != [
        str(port.partial_shape) for port in network.inputs
    ]:
        raise WeightsError("it takes images of another size")
    if not _same_network(model, network):
        raise WeightsError("it is another network than config.json's")
    return model


def _check_layers(content: bytes, network) -> None:
    """Refuses what OpenVINO should not even be asked to read."""
    ops = network.get_ops()
    kinds = {op.get_type_info().name for op in ops} | _QUANTISING | {"FakeQuantize"}
    ir_kinds = {_IR_NAMES.get(kind, kind) for kind in kinds}
    if (
        b"<!" in content or not content.isascii()
    ):  # in another encoding, OpenVINO would not see what is checked here
        raise WeightsError("it holds more than a graph")
    try:
        layers = list(ElementTree.fromstring(content).iter("layer"))
    except (ElementTree.ParseError, ValueError, RecursionError, LookupError):
        raise WeightsError("it is no XML") from None
    if len(layers) > 20 * len(ops):
        raise WeightsError("it has too many operations")
    for layer in layers:
        kind, version = layer.get("type", ""), layer.get("version")
        if kind not in ir_kinds or version != "opset1":
            raise WeightsError(f"it has an operation {kind[:40]!r} of {str(version)[:40]!r}")


_IR_NAMES = {
    "Constant": "Const",
    "Relu": "ReLU",
    "Softmax": "SoftMax",
}  # an operation's name -> in OpenVINO's files


def _same_network(model, network) -> bool:
    sizes = [(op.get_type_name(), math.prod(op.output(0).shape)) for op in network.get_ops()]
    largest, most = (
        max(size for _, size in sizes),
        _MAX_CONSTANTS * sum(size for kind, size in sizes if kind == "Constant"),
    )
    known: dict[tuple, int] = {}
    try:
        return _computes(model, known, largest, most) == _computes(network, known, largest, most)
    except (RuntimeError, WeightsError):  # RuntimeError: OpenVINO does not know a shape
        return False


def _computes(model, known: dict[tuple, int], largest: int, most: int) -> tuple[dict, int]:
    """What a graph computes, whatever its weights are and however they and the images are quantised.

    Args:
        model: the graph.
        known: a number for each value met so far, by the operation that makes it, its shape, and the numbers of what it is made
            of. A constant's is negative and goes by its shape; by its content, too, if that is a few whole numbers.
        largest: how many elements a value may have.
        most: how many all constants together may have, with what is made of them: OpenVINO works them out beforehand.

    Returns:
        The numbers of inputs and outputs by their names, and how many operations there are besides quantisation.

    Raises:
        WeightsError: a value is too large, or quantised in an unknown way.
    """
    numbers, named, operations, constant = {}, {}, 0, 0
    for op in model.get_ordered_ops():
        kind, output = op.get_type_name(), op.output(0)
        shape, sources = (
            tuple(output.shape),
            tuple(numbers[source.get_node().get_name()] for source in op.input_values()),
        )
        if math.prod(shape) > largest:
            raise WeightsError("A value is too large.")
        if kind == "FakeQuantize":
            data, *ranges = sources
            if (
                max(ranges) > 0
                or op.get_attributes()["levels"] > _MAX_LEVELS
                or tuple(op.input_value(0).shape) != shape
            ):
                raise WeightsError("Something is quantised in an unknown way.")
            number = data
        elif kind in _QUANTISING and all(source < 0 for source in sources):
            constant += math.prod(shape)
            if constant > most:
                raise WeightsError("Its constants are too large.")
            whole = (
                kind == "Constant"
                and output.get_element_type().is_integral_number()
                and math.prod(shape) < 10
            )
            if not whole and output.get_element_type().get_type_name() not in _STORED:
                raise WeightsError("A constant has an unknown type.")
            number = -known.setdefault(
                (shape, tuple(op.data.ravel().tolist()) if whole else None), len(known) + 1
            )
        else:
            made = (
                kind,
                repr(op.get_attributes()),
                output.get_element_type().get_type_name(),
                shape,
                sources,
            )
            number, operations = known.setdefault(made, len(known) + 1), operations + 1
        numbers[op.get_name()] = number
        if kind in ("Parameter", "Result"):
            named[frozenset(output.names)] = number
    return named, operations
