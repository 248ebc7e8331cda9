"""Web pages that classify a photograph, as their visitors see them: this project's against ten-line ones.

    python tests/benchmarks/page.py --peer-python OTHER_ENVIRONMENT/bin/python

The identity page runs no network: it shows what Gradio itself takes. All networks have the same random
weights. Every page is a process of its own, one after another. Every client is a real
`gradio_client.Client` in a process of its own, and every photograph that it uploads is a file that the page
has not seen, since this project's page caches its last predictions. Clients and page share the processor.
"""

import argparse
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import contenders
import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

from resnext.preprocessing import open_image

SIZE = (500, 375)  # of the photographs, as most in ImageNet are
ENVIRONMENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}

IDENTITY = """
import sys
import gradio as gr

page = gr.Interface(lambda image: {"photograph": 1.0}, gr.Image(type="pil"), gr.Label(), api_name="classify")
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[2]))
"""
TIMM = """
import sys, types
sys.modules["torchvision._meta_registrations"] = types.ModuleType("none")  # see contenders.timm_model
import gradio as gr, timm, torch

model = timm.create_model(f"local-dir:{sys.argv[1]}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))

def classify(image):
    with torch.inference_mode():
        values, indices = model(transform(image)[None])[0].softmax(-1).topk(5)
    return {str(index): value for index, value in zip(indices.tolist(), values.tolist())}

page = gr.Interface(classify, gr.Image(type="pil"), gr.Label(), api_name="classify")
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[2]))
"""
KERAS = """
import pathlib, sys
import contenders
import gradio as gr, keras, tensorflow as tf
from resnext.config import ModelConfig
from resnext.preprocessing import preprocess
from resnext.weights import load_into_keras, read_tensors

folder = pathlib.Path(sys.argv[1])
config = ModelConfig.read(folder / "config.json")
model = contenders.stock_keras_model(config)
load_into_keras(model, read_tensors(folder / "model.safetensors"))
# Faster than model.predict for one image.
call = tf.function(lambda images: keras.ops.softmax(model(images, training=False)))

def classify(image):
    probabilities = call(tf.constant(preprocess(image, config.preprocessing)[None], tf.float32)).numpy()[0]
    return {str(index): float(probabilities[index]) for index in (-probabilities).argsort()[:5]}

page = gr.Interface(classify, gr.Image(type="pil"), gr.Label(), api_name="classify")
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[2]))
"""
# By name: the program (None: app.py), the modules it needs, the worker of serve.py with the same network.
PAGES = {
    "identity": (IDENTITY, ("gradio",), None),
    "this project": (None, ("gradio", "openvino"), "here-auto"),
    "timm on PyTorch": (TIMM, ("gradio", "timm", "torch"), "torch-float32"),
    "stock Keras": (KERAS, ("gradio", "tensorflow"), "keras"),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnext50_32x4d", help="architecture (default: %(default)s)")
    parser.add_argument(
        "--image-size", type=int, default=224, help="height and width in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--clients",
        type=int,
        default=8,
        help="clients at a time, after one alone (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=20, help="seconds for one client, and for all (default: %(default)s)"
    )
    parser.add_argument("--starts", type=int, default=5, help="starts of each page (default: %(default)s)")
    parser.add_argument(
        "--without-certificates",
        action="store_true",
        help="make clients with ssl_verify=False: by default, a call loads all of the system's certificates "
        "three times, even for http",
    )
    parser.add_argument("--peer-python", help="interpreter for pages that this one cannot run")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        contenders.make_repository(folder, options.model, options.image_size)
        contenders.make_photographs(folder, 1)
        commands = page_commands(folder, options.peer_python)
        starts = {name: [] for name in commands}
        for _ in range(
            options.starts
        ):  # In turn, so that what slows the machine for a while slows all pages.
            for name, command in commands.items():
                starts[name].append(start_once(command, folder))
                print(f"{name}: ready in {starts[name][-1]['ready']:.1f} s", file=sys.stderr)
        results = {}
        for name, command in commands.items():
            results[name] = measure(command, folder, options)
            print(f"{name}: {results[name]['rate']:.1f} answers/s", file=sys.stderr)
            results[name] |= {
                key: statistics.median(start[key] for start in starts[name]) for key in ("ready", "first")
            }
            results[name]["network"] = network_milliseconds(
                PAGES[name][2], PAGES[name][1], folder, options.peer_python
            )
    report(results, options.clients, options.output)


def page_commands(folder, peer_python) -> dict[str, list[str]]:
    """The command of each page that can be started here, without its last argument, the port."""
    commands = {}
    for number, (name, (program, modules, _)) in enumerate(PAGES.items()):
        python = contenders.find_python(modules, peer_python)
        if python is None:
            print(f"{name}: not installed", file=sys.stderr)
        elif program is None:
            commands[name] = [python, str(contenders.ROOT / "app.py"), "--model", str(folder), "--port"]
        else:
            script = folder / f"page{number}.py"
            script.write_text(program, "utf-8")
            commands[name] = [python, str(script), str(folder)]
    return commands


@contextlib.contextmanager
def running(command: list[str], folder: pathlib.Path):
    """Runs a page, and waits until it responds to a GET request with status 200.

    Yields:
        The process, the address, and the time (`time.perf_counter`) of the start and of that response.
    """
    port = free_port()
    paths = [str(contenders.ROOT), str(pathlib.Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    with (folder / "page.log").open("w") as log:
        begin = time.perf_counter()
        page = subprocess.Popen([*command, str(port)], env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield (
                page,
                f"http://127.0.0.1:{port}/",
                begin,
                wait_until_ready(page, f"http://127.0.0.1:{port}/", log.name),
            )
        finally:
            page.kill()
            page.wait()


def wait_until_ready(page, address, log, limit=300) -> float:
    give_up = time.perf_counter() + limit
    while time.perf_counter() < give_up:
        try:
            with urllib.request.urlopen(address, timeout=60) as response:
                response.read()
                return time.perf_counter()
        except (urllib.error.URLError, ConnectionError):
            if page.poll() is not None:
                break
            time.sleep(0.01)
    page.kill()
    raise SystemExit(f"{' '.join(page.args)} did not start: {pathlib.Path(log).read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_once(command, folder) -> dict[str, float]:
    """Seconds from a page's start to its first HTTP 200 and to its first prediction."""
    with running(command, folder) as (_, address, begin, ready):
        client = Client(address, verbose=False, httpx_kwargs={"timeout": 60})
        client.predict(handle_file(next(photographs(folder))), api_name="/classify")
        first = time.perf_counter()
        client.close()
    return {"ready": ready - begin, "first": first - begin}


def measure(command, folder, options) -> dict[str, float]:
    """One client alone, then all at the same time, on one run of a page."""
    verify = not options.without_certificates
    with running(command, folder) as (page, address, *_):
        alone = 1000 * np.array(visit_together(address, 1, options.seconds, verify))
        crowd = 1000 * np.array(visit_together(address, options.clients, options.seconds, verify))
        return {
            "p50": np.median(alone),
            "p95": np.percentile(alone, 95),
            "rate": len(crowd) / options.seconds,
            "crowd p95": np.percentile(crowd, 95),
            "memory": resident_megabytes(page.pid),
        }


def resident_megabytes(process: int) -> float:
    return (
        int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
        * os.sysconf("SC_PAGE_SIZE")
        / 2**20
    )


def visit_together(address: str, clients: int, seconds: float, verify: bool) -> list[float]:
    """The durations of all predictions within `seconds`, of clients that ask continuously."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(clients, spawn, share, (spawn.Barrier(clients),)) as executor:
        visits = [executor.submit(visit, address, seconds, verify) for _ in range(clients)]
        return [duration for each in visits for duration in each.result()]


def share(barrier) -> None:
    """Gives a client's process the barrier at which all clients wait before they begin."""
    global begin_together
    begin_together = barrier


def visit(address: str, seconds: float, verify: bool) -> list[float]:
    """One client, in a process of its own, which waits at the barrier until all clients are ready."""
    durations = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            client = Client(address, verbose=False, ssl_verify=verify, httpx_kwargs={"timeout": 60})
            files = photographs(pathlib.Path(folder))
            for _ in range(3):
                client.predict(handle_file(next(files)), api_name="/classify")
            begin_together.wait()
            end = time.perf_counter() + seconds
            while True:
                file = handle_file(next(files))
                begin = time.perf_counter()
                client.predict(file, api_name="/classify")
                now = time.perf_counter()
                if now > end:
                    client.close()
                    return durations
                durations.append(now - begin)
    except BaseException:
        begin_together.abort()
        raise


def photographs(folder: pathlib.Path):
    """Different JPEG files: the bundled examples, enlarged, each with a unique comment."""
    sources = sorted((contenders.ROOT / "resnext" / "flowers" / "examples").glob("*.jpg"))
    images = [open_image(source).resize(SIZE, Image.Resampling.BICUBIC) for source in sources]
    file = folder / "photograph.jpg"
    for number in itertools.count():
        images[number % len(images)].save(file, quality=90, comment=f"{os.getpid()} {number}")
        yield file


def network_milliseconds(worker, modules, folder, peer_python) -> float | None:
    """The network's own time in the same contender of serve.py, from uint8 pixels to logits."""
    if worker is None:
        return None
    python = contenders.find_python(modules, peer_python)
    arguments = ["--worker", worker, str(folder), "--repetitions", "100"]
    result = contenders.run_worker(
        str(pathlib.Path(__file__).with_name("serve.py")), python, arguments, limit=600
    )
    return float(np.median(result["milliseconds"])) if "milliseconds" in result else None


def report(results, clients, output):
    rows = [
        [
            name,
            f"{result['ready']:.1f}",
            f"{result['first']:.1f}",
            f"{result['p50']:.0f}",
            f"{result['p95']:.0f}",
            f"{result['rate']:.1f}",
            f"{result['crowd p95']:.0f}",
            f"{result['memory']:.0f}",
            "" if result["network"] is None else f"{result['network']:.1f}",
        ]
        for name, result in results.items()
    ]
    header = [
        "page",
        "ready s",
        "first answer s",
        "1 client ms",
        "p95 ms",
        f"{clients} clients answers/s",
        "p95 ms",
        "memory MB",
        "network ms",
    ]
    contenders.print_table(header, rows, output)
    ours, identity = results["this project"], results["identity"]
    print()
    if ours["network"] is not None:
        print(
            "1 client, this project / (identity + network): "
            f"{ours['p50'] / (identity['p50'] + ours['network']):.2f}"
        )
    print(f"ready, this project / identity: {ours['ready'] / identity['ready']:.2f}")
    for name in results.keys() - {"this project", "identity"}:
        print(
            f"{clients} clients, answers/s, this project / {name}: {ours['rate'] / results[name]['rate']:.2f}"
        )


if __name__ == "__main__":
    main()
