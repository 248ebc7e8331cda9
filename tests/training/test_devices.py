"""Several devices: two logical ones of this processor, and two worker processes on the loopback interface."""

import dataclasses
import json
import os
import socket
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from resnext.errors import ConfigError
from resnext.weights import read_tensors
from tests.helpers.forks import training_python
from tests.helpers.paths import ROOT
from tests.helpers.training import RECIPE
from tests.training.helpers import TOLERANCE, losses, train
from training import devices
from training.data import find_images
from training.devices import count_workers, describe_devices, find_policy, is_chief, is_out_of_memory
from training.fit import fit

# Blending pairs the images of a device, which depends on the number of devices. All else does not.
SHARED = dataclasses.replace(
    RECIPE, batch_size=12, image_size=64, train_size=64, mixup=0.0, cutmix=0.0, learning_rate=1e-3
)
TWO_DEVICES = """
import json, os, pathlib, sys
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
import tensorflow as tf

cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from resnext.repository import find_repository
from training.data import find_images
from training.fit import fit
from training.recipe import Recipe

data, base, output, recipe, resume = sys.argv[1:]
recipe = Recipe.from_json(json.loads(recipe))
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    fit(
        find_images(pathlib.Path(data)), pathlib.Path(output), recipe,
        pretrained=find_repository(base), resume=resume == "resume",
        report=lambda line: print(line, flush=True),
    )
"""


def on_two_devices(data, base, output, recipe, resume=""):
    """The command of a run on two logical devices."""
    recipe = json.dumps(dataclasses.asdict(recipe))
    return [*training_python(), "-c", TWO_DEVICES, str(data), str(base.folder), str(output), recipe, resume]


def run(command, **options):
    """Runs a command in the checkout."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="module")
def one_device(photographs, base, tmp_path_factory):
    return train(photographs, tmp_path_factory.mktemp("one") / "out", SHARED, pretrained=base)


@pytest.mark.slow
def test_two_devices_killed_and_resumed_learn_what_one_learns(photographs, base, one_device, tmp_path):
    output = tmp_path / "two"
    first = on_two_devices(photographs, base, output, SHARED)
    process = subprocess.Popen(first, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch 1/2"):
            process.kill()
            break
    process.communicate()
    resumed = run(on_two_devices(photographs, base, output, SHARED, "resume"))
    assert resumed.returncode == 0, resumed.stderr
    assert "as 2 replicas" in resumed.stdout
    assert losses(output) == pytest.approx(losses(one_device), abs=TOLERANCE)
    one, two = (read_tensors(folder / "model.safetensors") for folder in (one_device, output))
    # Batch norm's statistics are those of the whole batch, not of each device's half.
    assert all(np.allclose(one[key], two[key], atol=0.02) for key in one if "running" in key)


def worker(index, ports, arguments):
    """Starts one of the worker processes of a run."""
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    return subprocess.Popen(
        [*training_python(), "-m", "training", *arguments],
        cwd=ROOT,
        env=os.environ | {"TF_CONFIG": config},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_ports(count):
    """Ports of the loopback interface that nothing listens on."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@pytest.mark.slow
def test_two_workers_one_killed_and_resumed_learn_what_one_learns(photographs, base, one_device, tmp_path):
    output = tmp_path / "both"
    arguments = ["fit", str(photographs), "--output", str(output), "--pretrained", str(base.folder)]
    arguments += ["--recipe", str(one_device / "recipe.json"), "--no-pictures"]
    # Otherwise that of the pretrained network.
    arguments += ["--crop-pct", str(SHARED.crop_pct), "--precise-bn", "36"]
    ports = free_ports(2)
    both = [worker(index, ports, arguments) for index in range(2)]
    for line in both[0].stdout:
        if line.startswith("epoch 1/2"):
            both[1].kill()
            break
    message = both[0].communicate()[1]
    both[1].communicate()
    assert both[0].returncode == 1
    assert "Another worker of TF_CONFIG has stopped" in message.splitlines()[-1]
    assert "Traceback" not in message
    ports = free_ports(2)
    both = [worker(index, ports, [*arguments, "--resume"]) for index in range(2)]
    results = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert results[1][0] == "", "the first worker tells"
    assert "with 2 hosts" in results[0][0]
    assert "Batch norm statistics computed again on 36 training images" in results[0][0]
    assert losses(output) == pytest.approx(losses(one_device), abs=TOLERANCE)


@pytest.mark.parametrize(
    "value",
    ["{", "[]", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', '{"task": 1}'],
)
def test_an_invalid_tf_config_is_one_line(value, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", value)
    for read in (is_chief, count_workers):
        with pytest.raises(ConfigError, match="TF_CONFIG is not valid: set it to"):
            read()


def test_a_batch_that_devices_cannot_share_is_refused(photographs, tmp_path, monkeypatch):
    class ThreeDevices:
        num_replicas_in_sync = 3

    monkeypatch.setattr("training.fit.find_strategy", ThreeDevices)
    recipe = dataclasses.replace(RECIPE, batch_size=8)
    with pytest.raises(ConfigError, match="8 images cannot be shared equally by 3 devices: .*--batch-size 6"):
        fit(find_images(photographs), tmp_path / "out", recipe)


@pytest.mark.parametrize(
    ("gpus", "processor", "policy"),
    [
        ([], "flags : fpu avx512f avx512_vnni\n", "float32"),
        ([], "flags : fpu avx512f avx512_bf16 amx_bf16\n", "mixed_bfloat16"),
        ([], None, "float32"),
        ([(8, 0)], "flags : fpu\n", "mixed_bfloat16"),
        ([(9, 0), (8, 6)], None, "mixed_bfloat16"),
        ([(9, 0), (7, 5)], "flags : avx512_bf16\n", "mixed_float16"),
    ],
)
def test_automatic_precision_is_what_the_devices_compute_in(gpus, processor, policy, tmp_path, monkeypatch):
    if processor:
        (tmp_path / "cpuinfo").write_text(processor)
    monkeypatch.setattr("training.devices._PROCESSOR", tmp_path / "cpuinfo")
    gpus = [SimpleNamespace(name="GPU", capability=capability) for capability in gpus]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu.capability}
    )
    assert find_policy("auto") == policy
    assert find_policy("float32") == "float32"
    assert f"in {policy.removeprefix('mixed_')}." in describe_devices(tf.distribute.get_strategy(), "auto")


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        tf.errors.InternalError(None, None, "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9"),
        tf.errors.NotFoundError(None, None, "No algorithm worked!  Error messages: ..."),
        tf.errors.UnknownError(None, None, "CUDNN_STATUS_ALLOC_FAILED in tensorflow/..."),
        tf.errors.InternalError(None, None, "Autotuning failed for HLO: ..."),
        RuntimeError("Failed to allocate 12 bytes"),
        MemoryError(),
    ],
)
def test_all_forms_of_running_out_of_memory_are_known(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(tf.errors.InternalError(None, None, "Blas GEMM launch failed"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_memory_growth_is_left_alone_if_tensorflow_was_used_before(monkeypatch):
    def used(gpu, grow):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", used)
    devices.find_strategy()
