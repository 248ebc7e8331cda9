"""Measures the folder of a Space in an environment of its own: megabytes, seconds and memory.

    python tests/benchmarks/space.py [--python /usr/bin/python3] [--environment FOLDER]

The folder is what `resnext space --dry-run` writes. It runs as uid 1000 (where this user may change to it) on
port 7860 with its model already in the cache, as after `preload_from_hub`. The environment is made with
`python -m venv` and its requirements.txt, and nothing else; one that was made before can be named.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard

from tests.helpers.hub_client import publish
from tests.helpers.hub_server import HubServer, environment

FLOWERS = ROOT / "resnext" / "flowers"
PORT = 7860
# Tools of a virtual environment that requirements.txt does not ask for.
TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack")


def megabytes(folder: pathlib.Path, without: tuple[str, ...] = ()) -> dict[str, float]:
    """The size of each entry of a folder, and of the byte code in it."""
    sizes: dict[str, float] = {"byte code": 0.0}
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            first = file.relative_to(folder).parts[0]
            if first.split("-")[0] in without:
                continue
            size = file.stat().st_size / 1e6
            sizes[first] = sizes.get(first, 0.0) + size
            if file.suffix == ".pyc":
                sizes["byte code"] += size
    return sizes


def memory(pid: int) -> tuple[float, ...]:
    """The resident memory of a process in MiB: now, of which pages of its libraries' files, and at most."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return tuple(int(values[name].split()[0]) / 1024 for name in ("VmRSS", "RssFile", "VmHWM"))


def wait_for_page(process: subprocess.Popen) -> None:
    while True:
        if process.poll() is not None:
            sys.exit("The page ended before it answered.")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=60).read()
            return
        except OSError:
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="Python that makes the environment")
    parser.add_argument("--environment", type=pathlib.Path, help="virtual environment that was made before")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, HubServer() as hub:
        top = pathlib.Path(place)
        os.chmod(top, 0o755)
        publish(hub, "owner/flowers", FLOWERS)
        home = top / "home" / "user"
        home.mkdir(parents=True)
        variables = os.environ | environment(hub.url, home / ".cache" / "huggingface")
        command = [sys.executable, "-m", "training", "space", "owner/page", "--model", "owner/flowers"]
        subprocess.run([*command, "--dry-run", top / "page"], cwd=ROOT, env=variables, check=True)
        place_of_environment = arguments.environment or top / "environment"
        if arguments.environment is None:
            began = time.perf_counter()
            subprocess.run([arguments.python, "-m", "venv", place_of_environment], check=True)
            pip = [place_of_environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "-r", top / "page" / "requirements.txt"], check=True)
            print(f"installed in {time.perf_counter() - began:.0f} s")
        (packages,) = place_of_environment.glob("lib/python3*/site-packages")

        sizes = megabytes(packages, TOOLS)
        code = sizes.pop("byte code")
        largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
        print(f"packages {sum(sizes.values()):.0f} MB, of which byte code {code:.0f} MB; the largest:")
        for name, size in largest:
            print(f"  {name} {size:.0f} MB")
        print(f"the Space's files {sum(megabytes(top / 'page').values()):.0f} MB")

        entry = SpaceCard.load(top / "page" / "README.md").data["preload_from_hub"][0]
        repo_id, names, commit = entry.split(" ")
        preload = (
            "import sys, huggingface_hub\n"
            "for name in sys.argv[2].split(','):\n"
            "    huggingface_hub.hf_hub_download(sys.argv[1], name, revision=sys.argv[3])\n"
        )
        subprocess.run([sys.executable, "-c", preload, repo_id, names, commit], env=variables, check=True)
        hub.requests.clear()
        options = {}
        if os.geteuid() == 0:
            options = {"user": 1000, "group": 1000, "extra_groups": []}
            for folder, _, files in os.walk(home):
                for name in (".", *files):
                    os.chown(os.path.join(folder, name), 1000, 1000, follow_symlinks=False)
        variables |= {
            "HOME": str(home),
            "GRADIO_TEMP_DIR": str(home / "gradio"),
            "GRADIO_SERVER_PORT": str(PORT),
            "RESNEXT_MODEL": "owner/flowers",
            "PYTHONPATH": str(packages),
        }
        program = arguments.python if arguments.environment else place_of_environment / "bin" / "python"
        began = time.perf_counter()
        with (top / "output").open("w") as output:
            process = subprocess.Popen(
                [program, "app.py"], cwd=top / "page", env=variables, stdout=output, stderr=output, **options
            )
        try:
            wait_for_page(process)
            print(
                f"first page after {time.perf_counter() - began:.1f} s, requests of the Hub: {hub.requests}"
            )
            page = Client(f"http://127.0.0.1:{PORT}", verbose=False)
            image = handle_file(FLOWERS / "examples" / "tulips.jpg")
            asked = time.perf_counter()
            answer = page.predict(image, 5, api_name="/classify")["label"]
            now = time.perf_counter()
            print(f"first answer ({answer}) after {now - asked:.1f} s, {now - began:.1f} s after the start")
            for _ in range(20):
                page.predict(image, 5, api_name="/classify")
            print(
                "memory {:.0f} MiB, of which {:.0f} MiB pages of libraries, at most {:.0f} MiB".format(
                    *memory(process.pid)
                )
            )
        finally:
            process.terminate()
            process.wait(30)
            shutil.copyfileobj((top / "output").open(), sys.stdout)


if __name__ == "__main__":
    main()
