"""The contenders of serve.py: how each framework loads, runs, converts and quantizes the network."""

import os
import typing

import contenders
import numpy as np

# A make_ function returns a function from (height, width, 3) uint8 to (classes,) logits, and a dictionary of
# functions from (images, height, width, 3) uint8 to (images, classes) logits by batch size.


def make_here(folder, config, precision):
    from resnext.classifier import Classifier

    classifier = Classifier.from_pretrained(folder, precision=precision)
    if precision == "int8" and classifier.notice:
        raise SystemExit(classifier.notice)

    def many(images):
        return asynchronous(classifier.throughput_model(), images)

    return lambda pixels: classifier.run(pixels).logits, {1: many}


def make_openvino(folder, config, precision):
    import openvino

    graph = folder / ("int8.xml" if precision == "int8" else "float32.xml")
    options = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32"}
    core, throughput = openvino.Core(), []
    request = core.compile_model(
        graph, "CPU", {"PERFORMANCE_HINT": "LATENCY", **options}
    ).create_infer_request()

    def many(images):
        if not throughput:
            throughput.append(core.compile_model(graph, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", **options}))
        return asynchronous(throughput[0], images, config)

    return lambda pixels: request.infer([normalized(pixels[None], config)])["logits"][0].copy(), {1: many}


def asynchronous(compiled, images, config=None) -> np.ndarray:
    """Logits by asynchronous requests, of pixels that are normalized first if there is a config."""
    most = 2 * compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")  # As many requests wait as run.
    requests, logits = [compiled.create_infer_request() for _ in range(most)], []

    def oldest():
        request = requests[len(logits) % most]
        request.wait()
        return request.get_tensor("logits").data[0].copy()

    for index, pixels in enumerate(images):
        if index >= most:
            logits.append(oldest())
        requests[index % most].start_async([normalized(pixels[None], config) if config else pixels[None]])
    while len(logits) < len(images):
        logits.append(oldest())
    return np.stack(logits)


def in_batches(call):
    """The two results of a make_ function, from one function from a batch of uint8 images to logits."""

    def many(batch):
        return lambda images: np.concatenate(
            [call(images[start : start + batch]) for start in range(0, len(images), batch)]
        )

    return lambda pixels: call(pixels[None])[0], {batch: many(batch) for batch in (1, 8, 64)}


def make_keras(folder, config, variant):
    import tensorflow as tf

    from resnext.weights import load_into_keras, read_tensors

    model = contenders.stock_keras_model(config)
    load_into_keras(model, read_tensors(folder / "model.safetensors"))
    # Faster than model.predict for one image.
    call = tf.function(lambda images: model(images, training=False))
    return in_batches(lambda images: call(tf.constant(images, tf.float32)).numpy())


def make_onnxruntime(folder, config, precision):
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / f"{precision}.onnx", providers=["CPUExecutionProvider"])
    return in_batches(lambda images: session.run(None, {"images": normalized(images, config)})[0])


def make_torch(folder, config, variant):
    # Freezing is fastest. With a new cache folder, torch.compile starts as on a new machine.
    os.environ["TORCHINDUCTOR_FREEZING"] = "1"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / variant)
    import torch

    if variant.endswith("int8"):
        model = torch.jit.load(folder / "torch_int8.pt")
    else:
        model = contenders.timm_model(folder).eval()
    memory_format = torch.channels_last if "channels_last" in variant else torch.contiguous_format
    model = model.to(memory_format=memory_format)
    if "compile" in variant:
        model = torch.compile(model)

    def call(images):
        images = torch.from_numpy(normalized(images, config)).contiguous(memory_format=memory_format)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in variant):
            return model(images).float().numpy()

    return in_batches(call)


def normalized(images, config) -> np.ndarray:
    """Normalizes (batch, height, width, 3) uint8 to (batch, 3, height, width) float32 for PyTorch."""
    out = np.empty((len(images), 3, *images.shape[1:3]), np.float32)
    for channel, (mean, std) in enumerate(zip(config.preprocessing.mean, config.preprocessing.std)):
        np.multiply(images[..., channel], np.float32(1 / (255 * std)), out=out[:, channel])
        out[:, channel] -= np.float32(mean / std)
    return out


class Framework(typing.NamedTuple):
    """How to make a framework's contenders, the modules they need, and the packages their users install."""

    make: typing.Callable
    modules: tuple[str, ...]
    packages: tuple[str, ...]


FRAMEWORKS = {
    "here": Framework(make_here, ("openvino",), ("openvino", "pillow", "safetensors", "huggingface-hub")),
    "keras": Framework(make_keras, ("tensorflow",), ("tensorflow", "keras", "pillow")),
    "torch": Framework(make_torch, ("timm", "torch"), ("timm", "torch", "pillow")),
    "onnxruntime": Framework(make_onnxruntime, ("onnxruntime",), ("onnxruntime", "pillow")),
    "openvino": Framework(make_openvino, ("openvino",), ("openvino", "pillow")),
}


def prepare_here_int8(folder, config, images):
    from resnext.repository import find_repository
    from training.data import find_images
    from training.quantize import quantize

    # The weights are random: the accuracy that int8 loses means nothing.
    quantize(
        find_images(folder / "data"), find_repository(folder), folder, force=True, report=lambda line: None
    )


def prepare_onnx(folder, config, images):
    import torch

    example = torch.from_numpy(normalized(images[:1], config))
    names = {"input_names": ["images"], "output_names": ["logits"]}
    dynamic = {name: {0: "batch"} for name in ("images", "logits")}
    network = contenders.timm_model(folder).eval()
    torch.onnx.export(
        network, example, str(folder / "float32.onnx"), **names, dynamic_axes=dynamic, dynamo=False
    )


def prepare_onnx_int8(folder, config, images):
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quant_pre_process, quantize_static

    class Photographs(CalibrationDataReader):
        def __init__(self):
            self.feeds = iter([{"images": normalized(pixels[None], config)} for pixels in images])

        def get_next(self):
            return next(self.feeds, None)

    ready = folder / "ready.onnx"
    quant_pre_process(folder / "float32.onnx", ready, skip_symbolic_shape=True)
    options = {"per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    # Without VNNI, sums overflow: ONNX Runtime's manual advises 7 bits.
    without_vnni = not contenders.processor()[1]["VNNI"]
    quantize_static(ready, folder / "int8.onnx", Photographs(), **options, reduce_range=without_vnni)


def prepare_openvino(folder, config, images):
    import openvino

    graph = openvino.convert_model(folder / "float32.onnx")
    graph.reshape([1, 3, *images.shape[1:3]])  # Faster than with a dynamic batch size.
    openvino.save_model(graph, folder / "float32.xml", compress_to_fp16=False)


def prepare_openvino_int8(folder, config, images):
    os.environ["NNCF_CI"] = "1"  # Switches off NNCF's telemetry.
    import nncf
    import openvino

    calibration = nncf.Dataset(list(images), lambda pixels: normalized(pixels[None], config))
    graph = nncf.quantize(
        openvino.Core().read_model(folder / "float32.xml"), calibration, subset_size=len(images)
    )
    openvino.save_model(graph, folder / "int8.xml", compress_to_fp16=False)


def prepare_torch_int8(folder, config, images):
    """Static quantization by PyTorch itself. Its successor is a package of its own, torchao."""
    import torch
    from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx

    batches = torch.from_numpy(normalized(images, config)).split(8)
    with torch.no_grad():
        network = contenders.timm_model(folder).eval()
        network = quantize_fx.prepare_fx(network, get_default_qconfig_mapping("x86"), batches[0][:1])
        for batch in batches:
            network(batch)
        network = quantize_fx.convert_fx(network)
        torch.jit.save(torch.jit.freeze(torch.jit.trace(network, batches[0][:1])), folder / "torch_int8.pt")


# The function and the modules that it needs, by name.
PREPARATIONS = {
    "here_int8": (prepare_here_int8, ("openvino", "nncf")),
    "onnx": (prepare_onnx, ("timm", "torch", "onnx")),
    "onnx_int8": (prepare_onnx_int8, ("onnxruntime", "onnx")),
    "openvino": (prepare_openvino, ("openvino",)),
    "openvino_int8": (prepare_openvino_int8, ("openvino", "nncf")),
    "torch_int8": (prepare_torch_int8, ("timm", "torch")),
}
