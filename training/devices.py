"""The devices that train a network: one or more GPUs, of one host or of several, or the processor."""

import json
import os
import pathlib
import re

import tensorflow as tf

from resnext.errors import ConfigError

# What TensorFlow, XLA, cuDNN and cuBLAS say when memory runs out, also while they try out algorithms.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|resource_?exhausted|OOM when allocating|failed to allocate|CUDA_ERROR_OUT_OF_MEMORY"
    r"|STATUS_ALLOC_FAILED|autotuning failed|no algorithm worked|bad_alloc",
    re.IGNORECASE,
)
_PROCESSOR = pathlib.Path("/proc/cpuinfo")
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def find_strategy() -> tf.distribute.Strategy:
    """Chooses how the devices share each batch.

    Returns:
        MultiWorkerMirroredStrategy for the hosts that TF_CONFIG lists, MirroredStrategy for several GPUs,
        otherwise the strategy in scope, which by default is a single device.

    Raises:
        ConfigError: TF_CONFIG is invalid, or TensorFlow was used before.
    """
    if count_workers() > 1:
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (RuntimeError, ValueError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"The workers of TF_CONFIG cannot be connected: {reason}") from None
    _let_memory_grow()
    if tf.distribute.has_strategy():
        return tf.distribute.get_strategy()
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def describe_devices(strategy: tf.distribute.Strategy, precision: str) -> str:
    """A sentence on the devices of a strategy, and the precision that they compute in."""
    policy = find_policy(precision).removeprefix("mixed_")
    gpus = tf.config.list_physical_devices("GPU")
    replicas = strategy.num_replicas_in_sync
    workers = f", with {count_workers()} hosts" if count_workers() > 1 else ""
    if not gpus:
        threads = tf.config.threading.get_intra_op_parallelism_threads() or "all"
        shared = f", as {replicas} replicas" if replicas > 1 else ""
        return f"No GPU found: training on the CPU with {threads} threads{shared}{workers}, in {policy}."
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = ", ".join(detail.get("device_name", gpu.name) for detail, gpu in zip(details, gpus))
    return (
        f"Training on {len(gpus)} GPU{'s' * (len(gpus) > 1)} ({names}){workers}, in {policy}. Memory is "
        "allocated as needed."
    )


def count_workers() -> int:
    """The number of hosts that train together, as TF_CONFIG lists them."""
    return len(_tf_config()["cluster"]["worker"]) if os.environ.get("TF_CONFIG") else 1


def is_chief() -> bool:
    """Whether this process is the one that writes the results: the only one, or the first of TF_CONFIG."""
    return not os.environ.get("TF_CONFIG") or _tf_config()["task"]["index"] == 0


def find_policy(precision: str) -> str:
    """The name of Keras' dtype policy for a precision.

    Args:
        precision: "float32", "bfloat16", "float16", or "auto": bfloat16 on GPUs that compute in it (NVIDIA's
            from compute capability 8.0 on), float16 on others; without a GPU, bfloat16 on a processor that
            computes in it (AVX512_BF16, as Linux lists it), otherwise float32.
    """
    if precision == "auto":
        gpus = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        capable = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
        if gpus:
            precision = "bfloat16" if capable else "float16"
        else:
            precision = "bfloat16" if _processor_has_bfloat16() else "float32"
    return _POLICIES[precision]


def _processor_has_bfloat16() -> bool:
    try:
        return "avx512_bf16" in _PROCESSOR.read_text(encoding="utf-8").split()
    except OSError:  # not Linux
        return False


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, whatever part of TensorFlow raised it."""
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return True
    return isinstance(error, tf.errors.OpError | RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


def _tf_config() -> dict:
    try:
        values = json.loads(os.environ["TF_CONFIG"])
        workers = values["cluster"]["worker"]
        task = values["task"]
        if task["type"] == "worker" and 0 <= task["index"] < len(workers):
            return values
    except (ValueError, KeyError, TypeError):
        pass
    advice = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    raise ConfigError(f"The environment variable TF_CONFIG is not valid: set it to {advice}.")


def _let_memory_grow() -> None:
    """Makes TensorFlow allocate GPU memory as needed, if it has not begun to allocate it all at once."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow was used before in this process
            return
