"""Every network that timm and this project both have: do the same weights give the same numbers?

    python tests/benchmarks/parity.py --peer-python OTHER_ENVIRONMENT/bin/python \\
        --output tests/benchmarks/results/parity.csv

For each name, timm makes random weights with batch norm statistics that change the activations, and saves a
repository. Logits and the last feature map of the Keras and OpenVINO backends are compared with timm's at
three sizes: the largest difference over timm's largest value. Then Keras takes a training step and saves,
and timm opens that. timm runs in a process of its own, in an interpreter that has timm and torch.
`--fixtures` writes tests/fixtures/timm instead: tiny networks, one of each structure, with which the tests
compare without timm.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import contenders
import numpy as np

SIZES = ((224, 224), (256, 256), (231, 197))
# timm's anti-aliased networks fail where a side is not a multiple of 32.
MULTIPLES_OF_32 = ((224, 224), (256, 256), (224, 192))
CLASSES = 1000
FIXTURES = contenders.ROOT / "tests" / "fixtures" / "timm"
_SMALL = {"layers": [1, 2, 1, 1], "channels": [16, 16, 32, 32], "num_classes": 7}
_GROUPS = {"cardinality": 4, "base_width": 16}
# timm's name and the changed arguments, by the name of the fixture.
VARIANTS = {
    "resnext": ("resnext50_32x4d", _SMALL | _GROUPS),
    "resnet": ("resnet50", _SMALL),
    "wide": ("wide_resnet50_2", _SMALL),
    "deep_stem": ("resnext50d_32x4d", _SMALL | _GROUPS | {"stem_width": 8}),
    "tiered_stem": ("seresnext26t_32x4d", _SMALL | _GROUPS | {"stem_width": 8}),
    "squeeze_and_excitation": ("seresnext50_32x4d", _SMALL | _GROUPS),
    "anti_aliased": ("seresnextaa101d_32x8d", _SMALL | _GROUPS | {"stem_width": 8}),
    "legacy": ("legacy_seresnext26_32x4d", {"layers": [1, 1, 1, 1], "num_classes": 7}),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="networks to compare; all if left out")
    parser.add_argument("--peer-python", help="interpreter that has timm and torch, if this one lacks them")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument(
        "--fixtures", action="store_true", help="write tests/fixtures/timm instead of comparing"
    )
    parser.add_argument("--timm", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.timm:
        serve_timm()
        return
    python = contenders.find_python(("timm", "torch"), options.peer_python)
    if python is None:
        parser.error("timm and torch are needed: name an interpreter that has them by --peer-python")
    command = [python, "-W", "ignore", __file__, "--timm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as timm:
        if options.fixtures:
            for fixture, (name, changes) in VARIANTS.items():
                ask(timm, task="fixture", name=name, changes=changes, folder=str(FIXTURES / fixture))
            return
        compare_all(timm, options.names, options.output)


def ask(timm, **task) -> dict:
    print(json.dumps(task), file=timm.stdin, flush=True)
    return json.loads(timm.stdout.readline())


def compare_all(timm, names, output):
    from resnext.architecture import ARCHITECTURES
    from resnext.config import UNKNOWN_TO_TIMM

    header = [
        "network",
        "parameters",
        "timm's",
        "size",
        "Keras logits",
        "Keras features",
        "OpenVINO logits",
        "OpenVINO features",
        "after training, timm",
    ]
    rows = []
    for name in names or [name for name in ARCHITECTURES if name not in UNKNOWN_TO_TIMM]:
        with tempfile.TemporaryDirectory() as folder:
            rows += compare(timm, name, pathlib.Path(folder))
        print(*rows[-1], flush=True)
    contenders.print_table(header, rows, output)
    errors = [float(cell) for row in rows for cell in row[4:] if cell]
    print(f"Largest of {len(errors)} differences: {max(errors):.1e}")


def compare(timm, name, folder) -> list[list[str]]:
    """Rows of the table for one network, one for each size."""
    import keras
    import openvino

    from resnext import from_pretrained, save_pretrained
    from resnext.config import ModelConfig
    from resnext.openvino_graph import build_graph
    from resnext.weights import read_tensors

    keras.backend.clear_session()
    sizes = MULTIPLES_OF_32 if "aa" in name else SIZES
    made = ask(timm, task="make", name=name, folder=str(folder), sizes=sizes)
    config = ModelConfig.read(folder / "config.json")
    answers = np.load(folder / "answers.npz")
    tensors = read_tensors(folder / "model.safetensors")
    network = from_pretrained(folder)
    both = keras.Model(
        network.input,
        [network.output, network.get_layer(f"layer4.{config.architecture.layers[3] - 1}.act3").output],
    )
    rows = []
    for index, size in enumerate(sizes):
        images = pixels(size)
        logits, features = (value.numpy() for value in both(images.astype(np.float32), training=False))
        graph = openvino.Core().compile_model(
            build_graph(config, tensors, size), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        served = graph({"images": images})
        pairs = [
            (logits, answers[f"logits{index}"]),
            (features.transpose(0, 3, 1, 2), answers[f"features{index}"]),
            (served["logits"], answers[f"logits{index}"]),
            (served["features"], answers[f"features{index}"]),
        ]
        first = (
            [
                name,
                f"{sum(map(int, (np.prod(v.shape) for v in network.trainable_variables))):,}",
                f"{made['parameters']:,}",
            ]
            if not index
            else [""] * 3
        )
        rows.append([*first, "x".join(map(str, size)), *(f"{difference(*pair):.0e}" for pair in pairs), ""])
        del graph
    del tensors
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.train_on_batch(
        np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32), np.array([1, 2])
    )
    save_pretrained(network, folder)
    trained = network(pixels(sizes[0]).astype(np.float32), training=False).numpy()
    ask(timm, task="open", folder=str(folder), size=sizes[0])
    rows[0][-1] = f"{difference(trained, np.load(folder / 'opened.npy')):.0e}"
    return rows


def pixels(size) -> np.ndarray:
    """(1, height, width, 3) uint8 RGB."""
    return np.random.RandomState(0).randint(0, 256, (1, *size, 3)).astype(np.uint8)


def difference(ours, theirs) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """The fixtures' weights, from the one random generator that NumPy never changes (RandomState)."""
    rng = np.random.RandomState(0)
    tensors = {}
    for key, shape in sorted(shapes.items()):
        value = rng.standard_normal(shape)
        if key.endswith("running_var"):
            value = 0.5 + np.abs(value)
        elif len(shape) > 1:
            value *= (2 / np.prod(shape[1:])) ** 0.5
        else:
            value = 0.1 * value + (0.5 if key.endswith("weight") else 0)
        tensors[key] = value.astype(np.float32)
    return tensors


def run_timm(model, images) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features of a timm model for (batch, height, width, 3) uint8 RGB, as NumPy arrays."""
    import torch

    mean, std = (np.array(model.pretrained_cfg[key], np.float32) for key in ("mean", "std"))
    x = torch.from_numpy(((images / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)).contiguous()
    with torch.inference_mode():
        features = model.forward_features(x)
        return model.forward_head(features).numpy(), features.numpy()


def make(name, folder, sizes):
    """Saves a timm model with random weights, and its outputs for images of these sizes."""
    timm = contenders.import_timm()
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES).eval()
    for key, value in model.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif key.endswith("running_mean") or (value.ndim == 1 and key.endswith("bias")):
            value.normal_(0, 0.1)
        elif value.ndim == 1 and value.is_floating_point():  # timm starts the last one of a unit at 0.
            value.uniform_(0.1, 0.4) if ".bn3." in key else value.uniform_(0.5, 1.5)
    save_for_hf(model, folder, safe_serialization=True)
    answers = {}
    for index, size in enumerate(sizes):
        answers[f"logits{index}"], answers[f"features{index}"] = run_timm(model, pixels(size))
    np.savez(pathlib.Path(folder, "answers.npz"), **answers)
    return {"parameters": sum(p.numel() for p in model.parameters())}


def fixture(name, changes, folder):
    """Saves a small timm model for the tests: its config, the shapes of its tensors, and its outputs."""
    timm = contenders.import_timm()
    import torch
    from timm.models import save_for_hf

    model = timm.create_model(name, **changes).eval()
    shapes = {
        key: list(value.shape) for key, value in model.state_dict().items() if value.is_floating_point()
    }
    model.load_state_dict(
        {key: torch.from_numpy(value) for key, value in weights(shapes).items()}, strict=False
    )
    save_for_hf(model, folder, safe_serialization=True)
    answers = {}
    for size in ((64, 64), (64, 96) if "aa" in name else (95, 77)):
        logits, features = run_timm(model, pixels(size))
        answers |= {f"logits {size[0]} {size[1]}": logits, f"features {size[0]} {size[1]}": features}
    folder = pathlib.Path(folder)
    np.savez_compressed(folder / "answers.npz", **answers)
    (folder / "shapes.json").write_text(json.dumps(shapes, indent=0) + "\n")
    if folder.name != "resnext":  # One of timm's own files is kept.
        (folder / "model.safetensors").unlink()
    return {}


def open_again(folder, size):
    """Opens a saved model with timm, and saves its logits."""
    timm = contenders.import_timm()
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    np.save(pathlib.Path(folder, "opened.npy"), run_timm(model, pixels(size))[0])
    return {}


def serve_timm():
    """timm's side: reads one JSON object per line, performs its task, and prints the result as another."""
    tasks = {"make": make, "fixture": fixture, "open": open_again}
    for line in sys.stdin:
        task = json.loads(line)
        result = tasks[task.pop("task")](**task)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
