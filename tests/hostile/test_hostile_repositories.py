"""Hostile model repositories open or are refused with one clear message, quickly and in little memory."""

import copy
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

import resnext
from resnext import errors
from resnext.architecture import Architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.page import records
from resnext.weights import save_tensors
from tests.helpers import hub_server
from tests.helpers.hub_server import File, HubServer, Repo, environment
from tests.helpers.paths import ROOT
from tests.helpers.repositories import random_tensors

pytestmark = [pytest.mark.hostile, pytest.mark.slow]
FUZZED = 100  # configs
# Opens the repositories named on standard input, in a process whose memory can be measured.
CHILD = """
import json, pathlib, re, signal, sys, time
from resnext import Classifier
from resnext.errors import ResNeXtError

def peak():
    return int(re.search("VmHWM:\\s*([0-9]+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024

def too_long(*_):
    raise TimeoutError("more than 20 seconds")

signal.signal(signal.SIGALRM, too_long)
time.sleep = lambda seconds: None  # the Hub's client waits between attempts
models = json.load(sys.stdin)
Classifier.from_pretrained()
for model in models:
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is in use
    before = peak()
    signal.alarm(20)
    try:
        Classifier.from_pretrained(model, precision="float32")
        kind, message = "opened", ""
    except BaseException as error:
        kind, message = type(error).__name__, str(error)
    signal.alarm(0)
    print(json.dumps([kind, message, peak() - before]))
"""
MAX_MEGABYTES = 300  # for a repository


def open_all(models, variables=()) -> list[tuple[str, str, float]]:
    """Opens repositories in another process.

    Args:
        models: Folders or repository ids.
        variables: Environment variables beside those of this process.

    Returns:
        For each model: "opened" or the class of the error, the error's message, and the megabytes it took
        (Linux only).
    """
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([str(model) for model in models]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | dict(variables),
        timeout=200,
    )
    assert child.returncode == 0, child.stderr
    assert "Traceback" not in child.stderr
    assert "Warning" not in child.stderr
    return [tuple(json.loads(line)) for line in child.stdout.splitlines()]


def is_clear(kind, message, names=("config.json", "model.safetensors")):
    """Whether an error is one of this project's, in one sentence that names the file or the repository."""
    ours = issubclass(getattr(errors, kind, int), errors.ResNeXtError)
    return ours and any(name in message for name in names) and re.fullmatch(r"[^\n]{20,1000}\.", message)


# --- model.safetensors --------------------------------------------------------------------------------------


def header(tensors, body=b"", length=None) -> bytes:
    """A safetensors file.

    Args:
        tensors: The header, as a dictionary or as bytes.
        body: The data after the header.
        length: The length of the header that the file claims; the true one by default.
    """
    text = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def parts(weights: bytes) -> tuple[dict, bytes]:
    """The header and the data of a safetensors file."""
    length = struct.unpack("<Q", weights[:8])[0]
    return json.loads(weights[8 : 8 + length]), weights[8 + length :]


def one(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def broken_weights(good: bytes) -> dict[str, tuple[bytes, str]]:
    """Invalid files, each with words that the error has to contain, by what is wrong."""
    tensors, body = parts(good)
    bias = tensors["fc.bias"]
    first = json.dumps(one())
    second = json.dumps(one(offsets=(4, 8)))
    nan, infinite, negative = (np.frombuffer(body, "<f4").copy() for _ in range(3))
    nan[bias["data_offsets"][0] // 4] = np.nan
    infinite[-1] = np.inf
    negative[tensors["bn1.running_var"]["data_offsets"][0] // 4] = -1

    def changed(**fields):
        return header(tensors | {"fc.bias": bias | fields}, body)

    return {
        "nothing": (b"", "incomplete"),
        "half": (good[: len(good) // 2], "not fully covered"),
        "more": (good + bytes(100), "not fully covered"),
        "half a header": (good[:100], "header"),
        "a page of HTML": (b"<!doctype html><title>404</title>", "header claims"),
        "a Git LFS pointer": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "git lfs pull",
        ),
        "a pickle": (b"PK\x03\x04" + bytes(100), "header claims"),
        "header of 2^63": (header(b"{}", length=2**63), "header claims"),
        "header of 2^64 - 1": (header(b"{}", length=2**64 - 1), "header claims"),
        "header beyond the file": (header(b"{}", length=10**6), "header"),
        "header of a list": (header(b"[1]"), "header"),
        "header in UTF-16": (header(json.dumps(tensors).encode("utf-16"), body), "UTF-8"),
        "nested header": (header(b'{"a":' * 50_000), "recursion"),
        "30 MB of nesting": (header(b'{"a":' + b"[" * 30_000_000), "header claims"),
        "30 MB of a shape": (
            header(b'{"a":{"dtype":"U8","shape":[' + b"1," * 15_000_000 + b'1],"data_offsets":[0,1]}}', b"1"),
            "header claims",
        ),
        "500,000 tensors": (
            header({str(i): one("U8", (0,), (0, 0)) for i in range(500_000)}),
            "header claims",
        ),
        "50,000 tensors": (
            header({str(i): one("U8", (0,), (0, 0)) for i in range(50_000)}),
            "no tensor 'conv1.weight'",
        ),
        "overlapping tensors": (changed(data_offsets=[0, 12]), "invalid offset"),
        "a tensor beyond the file": (changed(data_offsets=[len(body), len(body) + 12]), "invalid offset"),
        "a tensor at 2^64": (changed(data_offsets=[2**64 - 13, 2**64 - 1]), "invalid offset"),
        "a negative offset": (changed(data_offsets=[-12, 0]), "header"),
        "offsets the wrong way": (changed(data_offsets=bias["data_offsets"][::-1]), "invalid offset"),
        "a hole": (header({"a": one(), "b": one(offsets=(8, 12))}, bytes(12)), "invalid offset"),
        "2^80 numbers": (changed(shape=[2**40, 2**40]), "overflow"),
        "2^63 empty rows": (header({"a": one(shape=(0, 2**63), offsets=(0, 0))}), "no tensor"),
        "a negative shape": (changed(shape=[-3]), "header"),
        "a hundred dimensions": (header({"a": one(shape=(1,) * 100)}, bytes(4)), "no tensor"),
        "an unknown type": (changed(dtype="F33"), "F33"),
        "a type that NumPy lacks": (
            header({"fc.bias": one("F8_E5M2", (4,))}, bytes(4)),
            "no tensor 'conv1.weight'",
        ),
        "integers": (changed(dtype="I32"), "'fc.bias' holds int32"),
        "one tensor twice": (
            header(b'{"a":%s,"a":%s}' % (first.encode(), second.encode()), bytes(8)),
            "invalid",
        ),
        "a name of 5 MB": (
            header(tensors | {"x" * 5_000_000: one(shape=(0,), offsets=(len(body), len(body)))}, body),
            "has a tensor 'xxx",
        ),
        "a name that clears the screen": (
            header(tensors | {"\33[2J\n": one(shape=(0,), offsets=(len(body), len(body)))}, body),
            "has a tensor",
        ),
        "a scalar": (header({"fc.bias": one(shape=())}, bytes(4)), "no tensor 'conv1.weight'"),
        "NaN": (header(tensors, nan.tobytes()), "'fc.bias' holds NaN or infinity"),
        "a negative variance": (header(tensors, negative.tobytes()), "'bn1.running_var' is a variance"),
        "infinity": (header(tensors, infinite.tobytes()), "holds NaN or infinity"),
    }


# --- config.json --------------------------------------------------------------------------------------------


def broken_configs(good: dict) -> dict[str, tuple[bytes | str, str]]:
    """Invalid files, each with words that the error has to contain, by what is wrong."""

    def top(**changes):
        return json.dumps(good | changes)

    def arguments(**changes):
        return top(model_args=good["model_args"] | changes)

    def preprocessing(**changes):
        return top(pretrained_cfg=good["pretrained_cfg"] | changes)

    transformers = {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "id2label": {"0": "ant"},
    }
    return {
        "nothing": ("", "not valid JSON"),
        "half": (json.dumps(good)[:200], "not valid JSON"),
        "zeros": (bytes(200), "not valid JSON"),
        "not UTF-8": (b'{"architecture": "\xff"}', "not valid JSON"),
        "a list": ("[1]", "must be an object"),
        "null": ("null", "does not name an architecture"),
        "timm's ViT": (
            top(architecture="vit_base_patch16_224"),
            "Unknown architecture 'vit_base_patch16_224'",
        ),
        "timm's RegNet": (top(architecture="regnety_032"), "Unknown architecture 'regnety_032'"),
        "Transformers' ViT": (json.dumps(transformers), "does not name an architecture"),
        "nested lists": ("[" * 100_000, "not valid JSON"),
        "nested objects": ('{"a":' * 100_000, "not valid JSON"),
        "nested and closed": ("[" * 50_000 + "]" * 50_000, "not valid JSON"),
        "15 MB of numbers": ('{"x":[' + "1e5," * 3_750_000 + "1]}", "larger than 8 MiB"),
        "8 MB of lists": ('{"x":[' + "[]," * 2_700_000 + "1]}", "does not name an architecture"),
        "an architecture of 8 MB": (top(architecture="x" * 8_000_000), "Unknown architecture"),
        "a filter of 8 MB": (preprocessing(interpolation="x" * 8_000_000), "Unknown interpolation"),
        "an argument of 8 MB": (arguments(**{"x" * 8_000_000: 1}), "does not build"),
        "an argument that clears the screen": (arguments(**{"\33[2J\n": 1}), "does not build"),
        "2,000,000 stages": (arguments(layers=[1] * 2_000_000), "four stages"),
        "a number of 5,000 digits": (
            preprocessing(crop_pct=0).replace('"crop_pct": 0', '"crop_pct": ' + "9" * 5000),
            "not valid JSON",
        ),
        "a number of 4,000 digits": (preprocessing(input_size=[3, 10**4000, 10**4000]), "image size"),
        "infinitely many classes": (top(num_classes=1e999), "num_classes"),
        "a crop of NaN": (preprocessing(crop_pct=float("nan")), "crop_pct"),
        "a std of nearly nothing": (preprocessing(std=[1e-320] * 3), "std must be above 0"),
        "4,000,000,000 units": (arguments(layers=[10**9] * 4), "residual blocks"),
        "1,000 units of 65,536 channels": (
            arguments(layers=[250] * 4, channels=[65536] * 4, cardinality=1, base_width=64),
            "needs (65536, 64, 1, 1)",
        ),
        "100,000 classes": (top(num_classes=100_000, label_names=None), "needs (100000, 128)"),
        "feature maps of 2 GB": (
            top(
                model_args=good["model_args"] | {"cardinality": 8192, "base_width": 64, "channels": [8] * 4},
                pretrained_cfg=good["pretrained_cfg"] | {"input_size": [3, 1024, 1024], "crop_pct": 1.0},
            ),
            "gigabytes of memory",
        ),
        "a duplicate key": (
            '{"architecture":"vit",' + top()[1:-1] + ',"architecture":"vit"}',
            "Unknown architecture 'vit'",
        ),
    }


STRANGE = [
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "x" * 5000,
    "\ud800",
    [],
    [[]],
    [1] * 9,
    {},
    {"a": {}},
    ["a", "b", "c"],
    {"0": "a", "2": "c"},
    65536,
    4096,
]


def places(value, path=()):
    """The path to every value inside a JSON document."""
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield (*path, key)
        yield from places(inner, (*path, key))


def fuzzed(good: dict, rng: random.Random) -> bytes:
    """A config.json with one to three changes: of a value, a key, or bytes of the file."""
    values = copy.deepcopy(good)
    for _ in range(rng.randint(1, 3)):
        *path, key = rng.choice(list(places(values)))
        inside = values
        for step in path:
            inside = inside[step]
        match rng.choice(("swap", "swap", "remove", "add")):
            case "swap":
                inside[key] = copy.deepcopy(rng.choice(STRANGE))
            case "remove":
                del inside[key]
            case "add" if isinstance(inside, dict):
                inside[
                    rng.choice(("attn_layer", "block_args", "label_descriptions", "test_input_size", "new"))
                ] = copy.deepcopy(rng.choice(STRANGE))
    content = bytearray(json.dumps(values).encode())
    match rng.choice(("whole", "whole", "whole", "cut", "flip")):
        case "cut":
            del content[rng.randrange(len(content)) :]
        case "flip":
            for _ in range(rng.randint(1, 4)):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


# --- all of them, opened once -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A valid repository of a network with four residual units."""
    architecture = Architecture(layers=(1, 1, 1, 1), channels=(8, 16, 16, 32), cardinality=4, base_width=16)
    folder = tmp_path_factory.mktemp("good")
    ModelConfig("resnext50_32x4d", architecture, ("ant", "bee", "cat"), Preprocessing(32)).write(
        folder / "config.json"
    )
    save_tensors(random_tensors(architecture, 3), folder / "model.safetensors")
    return folder


def variant(good, folder, name, content):
    """Writes a copy of a repository in which one file differs.

    Args:
        good: The repository.
        folder: The folder to create.
        name: The name of the file that differs.
        content: A string, bytes, a function that creates the file at a path, or None to leave the file out.

    Returns:
        The folder.
    """
    folder.mkdir()
    for file in good.iterdir():
        if file.name != name:
            (folder / file.name).symlink_to(file)
    if callable(content):
        content(folder / name)
    elif content is not None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def giant(tensors):
    """A function that creates a sparse safetensors file whose last tensor has 2 GB."""

    def make(path):
        size = max(value["data_offsets"][1] for key, value in tensors.items() if key != "__metadata__")
        path.write_bytes(header(tensors))
        os.truncate(path, path.stat().st_size + size)

    return make


def not_regular_files(name: str) -> dict:
    """What can be in the place of a regular file, with words that the error has to contain."""
    return {
        f"{name} is missing": (None, f"has no {name}"),
        f"{name} is a folder": (pathlib.Path.mkdir, f"has no {name}"),
        f"{name} is a pipe": (os.mkfifo, f"has no {name}"),
        f"{name} is /dev/zero": (lambda path: path.symlink_to("/dev/zero"), f"has no {name}"),
        f"{name} is a link to itself": (lambda path: path.symlink_to(path), f"has no {name}"),
    }


@pytest.fixture(scope="module")
def cases(good):
    """What has to be refused: file name, what is wrong, content (see `variant`), words of the error."""
    config = json.loads((good / "config.json").read_text())
    weights = (good / "model.safetensors").read_bytes()
    own, body = parts(weights)
    end = len(body)
    other = one("U8", (2**31,), (0, 2**31))
    beside = one("U8", (2**31,), (end, end + 2**31))
    cases = [
        ("model.safetensors", f"weights: {what}", *case) for what, case in broken_weights(weights).items()
    ]
    cases += [("config.json", f"config: {what}", *case) for what, case in broken_configs(config).items()]
    for name in ("config.json", "model.safetensors"):
        cases += [(name, what, *case) for what, case in not_regular_files(name).items()]
    return [
        *cases,
        (
            "config.json",
            "config.json that cannot be read",
            lambda path: path.symlink_to("/proc/self/mem"),
            "cannot be read",
        ),
        (
            "model.safetensors",
            "weights of 2 GB of another network",
            giant({"head.weight": other}),
            "no tensor 'conv1.weight'",
        ),
        (
            "model.safetensors",
            "weights with 2 GB beside them",
            giant(own | {"head.weight": beside}),
            "'head.weight'",
        ),
    ]


@pytest.fixture(scope="module")
def run(good, cases, tmp_path_factory):
    """All repositories, opened once.

    Returns:
        A dictionary: "cases", (kind, message, megabytes, words of the error) by what is wrong; "opens", the
        results of unusual but valid repositories; "fuzzed", those of fuzzed configs; "all", all results.
    """
    root = tmp_path_factory.mktemp("hostile")
    config = json.loads((good / "config.json").read_text())
    own, body = parts((good / "model.safetensors").read_bytes())
    tensors = random_tensors(ModelConfig.read(good / "config.json").architecture, 3)
    counter = one("U8", (2**31,), (len(body), len(body) + 2**31))
    opens = {
        "a byte order mark": ("config.json", b"\xef\xbb\xbf" + json.dumps(config).encode()),
        "UTF-16": ("config.json", json.dumps(config).encode("utf-16")),
        "labels that clear the screen": (
            "config.json",
            json.dumps(config | {"label_names": ["\33[2J", "\n", "<b>"]}),
        ),
        "a counter of 2 GB": ("model.safetensors", giant(own | {"bn1.num_batches_tracked": counter})),
        "bfloat16": (
            "model.safetensors",
            lambda path: safetensors.numpy.save_file(
                {key: value.astype("bfloat16") for key, value in tensors.items()}, path
            ),
        ),
    }
    rng = random.Random(0)
    folders = [
        variant(good, root / f"{index}", name, content) for index, (name, _, content, _) in enumerate(cases)
    ]
    folders += [variant(good, root / f"open{index}", *case) for index, case in enumerate(opens.values())]
    folders += [
        variant(good, root / f"fuzz{index}", "config.json", fuzzed(config, rng)) for index in range(FUZZED)
    ]
    results = open_all(folders)
    found = {
        "cases": {},
        "opens": dict(zip(opens, results[len(cases) :])),
        "fuzzed": results[len(cases) + len(opens) :],
        "all": results,
    }
    for (_, what, _, words), result in zip(cases, results):
        found["cases"][what] = (*result, words)
    assert len(results) == len(folders)
    return found


def test_a_broken_repository_is_refused_by_file_and_fault(run):
    bad = {
        what: (kind, message[:300])
        for what, (kind, message, _, words) in run["cases"].items()
        if not (is_clear(kind, message) and words in message)
    }
    assert len(run["cases"]) > 70
    assert not bad


def test_no_repository_takes_hundreds_of_megabytes(run):
    assert not [result for result in run["all"] if result[2] > MAX_MEGABYTES]


def test_unusual_but_valid_repositories_open(run):
    assert {what: kind for what, (kind, *_) in run["opens"].items() if kind != "opened"} == {}


def test_fuzzed_configs_open_or_are_refused_with_one_clear_message(run):
    assert len(run["fuzzed"]) == FUZZED
    refused = [(kind, message) for kind, message, _ in run["fuzzed"] if kind != "opened"]
    assert not [(kind, message) for kind, message in refused if not is_clear(kind, message)]
    assert 50 < len(refused) < FUZZED - 5


def test_the_keras_backend_refuses_the_same(good, cases, tmp_path):
    chosen = ("weights: half", "weights: NaN", "config: timm's ViT", "config: 1,000 units of 65,536 channels")
    for name, what, content, words in cases:
        if what in chosen:
            with pytest.raises(errors.ResNeXtError, match=re.escape(words)):
                resnext.from_pretrained(variant(good, tmp_path / what, name, content))


# --- the Hub ------------------------------------------------------------------------------------------------


def sent_as(content: bytes, sent: bytes, lfs=False) -> File:
    """A file whose size and hash the Hub announces for one content while it sends another."""
    file = File(content, lfs)
    file.content = sent
    return file


@pytest.fixture
def hub(good):
    """A Hub with one repository for each thing that can go wrong during a download."""
    config, weights = ((good / name).read_bytes() for name in ("config.json", "model.safetensors"))
    flipped = weights[:-100] + bytes([weights[-100] ^ 1]) + weights[-99:]
    repositories = {
        "good": {},
        "other-weights": {"model.safetensors": sent_as(weights, flipped, lfs=True)},
        "other-config": {"config.json": sent_as(config, config.replace(b"bee", b"bug"))},
        "short": {"model.safetensors": sent_as(weights, weights[: len(weights) // 2], lfs=True)},
        "long": {"model.safetensors": sent_as(weights, weights + b"x", lfs=True)},
        "no-weights": {"model.safetensors": None},
        "no-config": {"config.json": None},
        "vit": {
            "config.json": File(
                json.dumps({"architecture": "vit_base_patch16_224", "num_classes": 3}).encode()
            )
        },
        "climbing": {"examples/../../../../../climbed.jpg": File(b"x")},
        "nameless": {"examples/a\0b.jpg": File(b"x")},
        "portal": {},
        "listless": {},
    }
    with HubServer() as hub:
        for name, change in repositories.items():
            repo = hub.repos["model", f"tester/{name}"] = Repo("model", f"tester/{name}")
            files = {"config.json": File(config), "model.safetensors": File(weights, lfs=True)} | change
            repo.add("refs/heads/main", {path: file for path, file in files.items() if file}, name)
        yield hub


def respond(monkeypatch, method, repo_id, response):
    """Replaces the Hub's response to one method for one repository."""
    usual = getattr(hub_server._Handler, method)
    monkeypatch.setattr(
        hub_server._Handler,
        method,
        lambda self, revision: response if self.repo_id == repo_id else usual(self, revision),
    )


def test_faults_of_a_download_from_the_hub_are_named(hub, tmp_path, monkeypatch):
    respond(monkeypatch, "info", "tester/portal", (200, {}, b"<html>Please log in to this network</html>"))
    respond(monkeypatch, "tree", "tester/listless", [1, 2])
    words = {
        "good": None,
        "other-weights": "arrived damaged: model.safetensors is not the file that the Hub announced",
        "other-config": "arrived damaged: config.json",
        "short": "The answer is not one of the Hub's, so",
        "long": "The answer is not one of the Hub's, so",
        "no-weights": "has no model.safetensors",
        "no-config": "has no config.json",
        "vit": "Unknown architecture 'vit_base_patch16_224'",
        "climbing": None,  # the examples are not asked for
        "nameless": None,
        "portal": "The answer is not one of the Hub's, so",
        "listless": None,  # the answer is not asked for
    }
    results = open_all([f"tester/{name}" for name in words], environment(hub.url, tmp_path / "home"))
    bad = [
        result
        for (name, wanted), result in zip(words.items(), results, strict=True)
        if not (
            result[0] == "opened" if wanted is None else is_clear(*result[:2], [name]) and wanted in result[1]
        )
    ]
    assert not bad
    assert not list(tmp_path.rglob("*climbed*"))


def test_a_damaged_file_is_downloaded_again_the_next_time(hub, tmp_path):
    variables = environment(hub.url, tmp_path / "home")
    names = ["tester/other-weights", "tester/other-config"]
    assert [kind for kind, *_ in open_all([*names, *names], variables)] == ["RepositoryError"] * 4
    _, _, whole = hub.repos["model", "tester/good"].find("main")
    for name in names:
        for path, file in hub.repos["model", name].find("main")[2].items():
            file.content = whole[path].content
    assert [kind for kind, *_ in open_all(names, variables)] == ["opened"] * 2


# --- other files that the page reads ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["history.csv", "recipe.json", "evaluation.json"])
def test_records_that_are_irregular_or_huge_files_are_not_read(tmp_path, name):
    def parse(text):
        raise AssertionError("read")

    path = tmp_path / name
    for make in (os.mkfifo, pathlib.Path.mkdir, lambda path: path.symlink_to("/dev/zero")):
        make(path)
        assert f"This repository has no {name}" in records.read(path, parse, "there is nothing to see")
        path.rmdir() if path.is_dir() else path.unlink()
    path.touch()
    os.truncate(path, records.MAX_BYTES[name] + 1)
    assert "it is larger than" in records.read(path, parse, "there is nothing to see")
    path.unlink()
    path.symlink_to("/proc/self/mem")
    assert "cannot be read (OSError" in records.read(path, parse, "there is nothing to see")
