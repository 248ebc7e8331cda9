"""What users see when something goes wrong between this project and the Hub, as a table.

    python tests/benchmarks/faults.py

Every row is a command (push, space, download, classify, and the page's way to open a model), a request that
it makes, and a fault of that request, or of the machine. The client is the real one, and the Hub is that of
tests/helpers/hub_server.py. A row has what the user sees, its seconds, its exit status, and whether the same
command works once the fault is gone. A row is wrong if it shows a traceback, a token or an address, gives
another reason than the fault, takes longer than the limit, or leaves something that keeps the next run from
working. The limits on waiting are shortened (--wait, --timeout), so that the table takes minutes.
"""

import argparse
import collections
import contextlib
import csv
import dataclasses
import io
import json
import logging
import os
import pathlib
import re
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from resnext import hub_requests
from resnext.architecture import Architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ResNeXtError
from resnext.weights import save_tensors
from tests.helpers.hub_server import TOKEN, File, HubServer, Repo, in_this_process
from tests.helpers.photographs import save_image
from tests.helpers.repositories import evaluation, random_tensors

RESULTS = pathlib.Path(__file__).parent / "results" / "faults.csv"
COLUMNS = (
    "command",
    "request",
    "fault",
    "what the user sees",
    "seconds",
    "exit status",
    "next run",
    "wrong",
)
REPO = "tester/colors"
LABELS = ("ant", "bee", "cat")
HTML = b"<!doctype html><title>Log in</title>"
NOT_THE_HUB = "answer is not one of the Hub's"
NO_ANSWER = "did not answer|cannot be reached|connection to the Hub broke"
# The faults of requests that differ little from each other.
FEW = (
    "401",
    "403",
    "404",
    "429, to be repeated after an hour",
    "503 forever",
    "HTML",
    "a list",
    "no answer",
)


@dataclasses.dataclass
class World:
    """What a command meets.

    Args:
        hub: The Hub.
        folder: A model repository on this machine, which is pushed.
        photograph: A photograph.
        home: The folder of the Hub's cache.
        variables: Environment variables of the command.
        closing: Ends the fault.
    """

    hub: HubServer
    folder: pathlib.Path
    photograph: pathlib.Path
    home: pathlib.Path
    variables: dict = dataclasses.field(default_factory=dict)
    closing: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        command: The name of the command.
        route: The request that meets the fault, or "" if none does.
        fault: The fault.
        begin: Makes the fault.
        expected: A pattern of the reason that must be given. Empty: the command must succeed.
    """

    command: str
    route: str
    fault: str
    begin: Callable[[World], object]
    expected: str


def fail(path: str, method: str, status, count: int = 99, **options) -> Callable[[World], object]:
    """Lets requests fail (`HubServer.fail_next`)."""
    return lambda world: world.hub.fail_next(count, status, path, method=method, **options)


def hang(path: str, method: str) -> Callable[[World], object]:
    """Lets requests wait for an answer that does not come."""

    def begin(world: World) -> None:
        gate = world.hub.gates[path] = threading.Event()
        world.closing.callback(lambda: (world.hub.gates.pop(path), gate.set()))

    return begin


def faults(path: str, method: str, expected: dict[str, str]) -> list[tuple[str, Callable, str]]:
    """The faults of one kind of request: name, how it is made, and the expected reason."""
    hour = {"Retry_After": 3600}
    return [
        ("400", fail(path, method, 400), expected["400"]),
        ("401", fail(path, method, 401), expected["401"]),
        ("403", fail(path, method, 403), expected["403"]),
        ("404", fail(path, method, 404), expected["404"]),
        ("409", fail(path, method, 409), expected["409"]),
        ("412", fail(path, method, 412), expected["412"]),
        ("413", fail(path, method, 413), expected["413"]),
        ("429 once, to be repeated after 1 s", fail(path, method, 429, 1, Retry_After=1), ""),
        ("429, to be repeated after an hour", fail(path, method, 429, **hour), "in 3600 s"),
        ("500 once", fail(path, method, 500, 1), ""),
        ("503 forever", fail(path, method, 503), r"The Hub failed \(HTTP 503\)"),
        ("HTML", fail(path, method, 200, content=HTML), expected["content"]),
        ("a list", fail(path, method, 200, content=b"[1, 2]"), expected["content"]),
        ("connection reset", fail(path, method, "reset"), NO_ANSWER),
        ("no answer", hang(path, method), NO_ANSWER),
    ]


def push_rows() -> list[Row]:
    """The rows of `push`."""
    refused = r"\(HTTP {}\)"
    usual = {status: refused.format(status) for status in ("400", "412", "413")} | {
        "400": r"HTTP 400\) \(Injected fault\)",
        "401": "does not accept the token",
        "403": r"does not let you write there \(Injected fault\)",
        "404": "part of it is not on the Hub",
        "409": "is being changed on the Hub|was changed on the Hub twice",
        "413": r"too large for the Hub \(Injected fault\)",
        "content": NOT_THE_HUB,
    }
    routes = {
        "who am I": ("/api/whoami-v2", "GET", {"404": NOT_THE_HUB}),
        "read the head": ("/api/models/tester/colors?", "GET", {}),
        "read README.md": ("/resolve/", "GET", {"content": "arrived damaged|answer is not one of the Hub's"}),
        "check the card": (
            "/api/validate-yaml",
            "POST",
            {"400": "does not accept the metadata of its card"},
        ),
        "announce the files": ("/preupload/", "POST", {}),
        "announce the weights": ("/objects/batch", "POST", {}),
        # The client believes that it succeeded; the Hub finds the file missing when it verifies it.
        "upload the weights": ("/tester/colors/lfs/", "PUT", {"content": "is not the one announced"}),
        "commit": ("/commit/", "POST", {"412": "was changed on the Hub twice"}),
    }
    rows = []
    for route, (path, method, special) in routes.items():
        for fault, begin, expected in faults(path, method, usual | special):
            if fault in FEW or route in ("read the head", "upload the weights", "commit"):
                rows.append(Row("push", route, fault, begin, expected))
    for fault, begin, expected in faults(
        "/api/repos/create", "POST", usual | {"409": "was changed on the Hub"}
    ):
        rows.append(Row("push a new repository", "create", fault, begin, expected))
    for fault, begin, expected in faults("/tag/", "POST", usual | {"409": "is being changed", "content": ""}):
        if fault in ("400", "403", "500 once", "503 forever", "connection reset"):
            rows.append(Row("push --tag", "tag", fault, begin, expected))
    return [*rows, *_special_push_rows()]


def space_rows() -> list[Row]:
    """The rows of `space`."""
    expected = {
        "400": r"HTTP 400\) \(Injected fault\)",
        "401": "does not accept the token",
        "403": r"does not let you write there \(Injected fault\)",
        "404": "is not on the Hub for you",
        "409": r"\(HTTP 409\)",
        "412": "was changed on the Hub twice",
        "413": r"\(HTTP 413\)",
        "content": NOT_THE_HUB,
    }
    routes = {
        "who am I": ("/api/whoami-v2", "GET", {"404": NOT_THE_HUB}),
        "read the Space": ("/api/spaces/tester/page", "GET", {}),
        "create": ("/api/repos/create", "POST", {"409": NOT_THE_HUB}),
        "set a variable": ("/variables", "POST", {}),
        "announce the files": ("/preupload/", "POST", {}),
        "commit": ("/commit/", "POST", {}),
    }
    return [
        *(
            Row("space", route, fault, begin, reason)
            for route, (path, method, special) in routes.items()
            for fault, begin, reason in faults(path, method, expected | special)
            if fault in FEW or fault in ("500 once", "connection reset") or route == "commit"
        ),
        Row("space", "commit", "answer lost once", fail("/commit/", "POST", "lost", 1), ""),
    ]


def _special_push_rows() -> list[Row]:
    def edit(world: World) -> None:
        repo = world.hub.repos["model", REPO]
        _, tip, files = repo.find("main")
        number = len(repo.commits)
        repo.add("refs/heads/main", {**files, "notes.txt": File(b"%d" % number)}, tip, "edited")

    def moves(count: int) -> Callable[[World], object]:
        return lambda world: world.hub.fail_next(count, lambda: edit(world), "/commit/")

    def readme(content: bytes) -> Callable[[World], object]:
        def begin(world: World) -> None:
            repo = world.hub.repos["model", REPO]
            _, tip, files = repo.find("main")
            repo.add("refs/heads/main", {**files, "README.md": File(content)}, tip, "edited")
            world.closing.callback(lambda: repo.refs.update({"refs/heads/main": tip}))

        return begin

    def local(name: str, content: bytes) -> Callable[[World], object]:
        def begin(world: World) -> None:
            path = world.folder / name
            before = path.read_bytes() if path.exists() else None
            path.write_bytes(content)
            world.closing.callback(path.unlink if before is None else lambda: path.write_bytes(before))

        return begin

    def role(world: World) -> None:
        world.hub.roles["tester"] = "read"
        world.closing.callback(world.hub.roles.clear)

    row = "push"
    return [
        Row(row, "commit", "the head moves once", moves(1), ""),
        Row(row, "commit", "the head moves every time", moves(99), "was changed on the Hub twice"),
        Row(row, "commit", "answer lost once", fail("/commit/", "POST", "lost", 1), ""),
        Row(row, "commit", "reset once", fail("/commit/", "POST", "reset", 1), ""),
        Row(row, "upload the weights", "reset once", fail("/colors/lfs/", "PUT", "reset", 1), ""),
        Row(
            "push a new repository",
            "create",
            "answer lost once",
            fail("/create", "POST", "lost", 1),
            NO_ANSWER,
        ),
        Row("push a new repository", "commit", "400", fail("/commit/", "POST", 400), "HTTP 400"),
        Row("push --private", "", "the repository is public", lambda world: None, "is public, so nothing"),
        Row(row, "", "a token that can only read", role, "your token can only read"),
        Row(row, "", "README.md on the Hub is not UTF-8", readme(b"\xff\xfe"), "is not UTF-8"),
        Row(
            row,
            "",
            "README.md on the Hub has broken metadata",
            readme(b"---\na: [\n---\n"),
            "invalid metadata",
        ),
        Row(row, "", "README.md here is not UTF-8", local("README.md", b"\xff\xfe"), "is not UTF-8"),
        Row(
            row, "", "recipe.json is broken", local("recipe.json", b"{"), "recipe.json is not a valid recipe"
        ),
        Row(
            row, "", "evaluation.json is broken", local("evaluation.json", b"[]"), "is not a valid evaluation"
        ),
        Row(row, "", "weights are cut off", local("model.safetensors", b"\0" * 9), "not a valid safetensors"),
        *_drip_rows(row, {"read the head": "/api/models/tester/colors?"}),
        *_drip_rows(row, {"commit": "/commit/"}, expected=""),
        *_machine_rows(row),
    ]


def pull_rows() -> list[Row]:
    """The rows of `download`, `classify` and the page."""
    usual = {
        "400": r"\(HTTP 400|answer is not one",
        "401": "does not accept the token|not on the Hub|is gated",
        "403": "does not allow the download|is gated",
        "404": "not on the Hub|has no|no longer has one of its files",
        "409": r"\(HTTP 409",
        "412": r"\(HTTP 412",
        "413": r"\(HTTP 413",
        "content": f"{NOT_THE_HUB}|arrived damaged",
    }
    routes = {
        "read the head": ("/api/models/tester/colors", ""),
        "ask for config.json": ("/config.json", "HEAD"),
        "download config.json": ("/config.json", "GET"),
        "ask for the weights": ("/model.safetensors", "HEAD"),
        "download the weights": ("/model.safetensors", "GET"),
    }
    rows = []
    for route, (path, method) in routes.items():
        for fault, begin, expected in faults(path, method, usual):
            if fault in FEW or route in ("read the head", "download the weights"):
                rows.append(Row("classify", route, fault, begin, expected))
    for command, route, path, method in (
        ("download", "download README.md", "/README.md", "GET"),
        ("classify, an older copy is here", "read the head", "/api/models/tester/colors", ""),
        ("classify, an older copy is here", "download the weights", "/model.safetensors", "GET"),
        ("the page", "read the head", "/api/models/tester/colors", ""),
        ("the page", "download the weights", "/model.safetensors", "GET"),
    ):
        for fault, begin, expected in faults(path, method, usual):
            if fault in FEW and fault not in ("a list", "no answer"):
                rows.append(Row(command, route, fault, begin, expected))

    def cut(world: World) -> None:
        world.hub.truncate_next_download()

    return [
        *rows,
        Row("classify", "download", "a body is cut in half, once", cut, ""),
        *_drip_rows(
            "classify", {"read the head": "/api/models/", "download the weights": "/model.safetensors"}
        ),
        *_drip_rows("download", {"download README.md": "/README.md"}),
        *_machine_rows("classify"),
    ]


def _drip_rows(command: str, paths: dict[str, str], expected: str = "did not answer") -> list[Row]:
    """An answer whose headers arrive byte by byte, and never end."""

    def drip(path: str) -> Callable[[World], object]:
        return lambda world: world.hub.header_drips.update({path: 0.05})

    return [Row(command, route, "headers that drip", drip(path), expected) for route, path in paths.items()]


def _machine_rows(command: str) -> list[Row]:
    """Faults of this machine, not of the Hub."""

    def variables(**values: str) -> Callable[[World], object]:
        return lambda world: world.variables.update(values)

    def offline(world: World) -> None:
        world.closing.enter_context(mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", True))

    def storage(world: World) -> None:
        """The client's storage, Xet, refuses every request."""
        patch = mock.patch.multiple("huggingface_hub.constants", HF_HUB_DISABLE_XET=False)
        world.closing.enter_context(patch)
        world.hub.storage = world.hub.url
        world.closing.callback(setattr, world.hub, "storage", "")

    def full_disk(world: World) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
        world.closing.callback(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))

    free = {"NO_PROXY": "", "no_proxy": ""}
    reason = r"storage of large files \(Xet\) failed or cannot be reached"
    return [
        Row(command, "", "the storage of large files refuses", storage, reason),
        Row(command, "", "HF_HUB_OFFLINE is set", offline, "HF_HUB_OFFLINE is set"),
        Row(
            command, "", "a wrong token", variables(HF_TOKEN="hf_wrongwrong"), "does not accept the token|^$"
        ),
        Row(command, "", "a token with an umlaut", variables(HF_TOKEN="hf_ü"), "token"),
        Row(
            command,
            "",
            "a proxy on a closed port",
            variables(HTTP_PROXY="http://127.0.0.1:9", **free),
            NO_ANSWER,
        ),
        Row(
            command,
            "",
            "a proxy that is none",
            variables(HTTP_PROXY="nonsense://x", **free),
            "The proxy of HTTP_PROXY",
        ),
        Row(command, "", "a SOCKS proxy", variables(ALL_PROXY="socks5://127.0.0.1:9", **free), "SOCKS"),
        Row(
            command, "", "no file may have more than 64 bytes", full_disk, "disk of .* is full|File too large"
        ),
    ]


def call(command: str, world: World) -> tuple[int, str]:
    """Runs a command in this process: its exit status, and what it shows."""
    shown = io.StringIO()
    with contextlib.ExitStack() as stack:
        for handler in logging.getLogger("huggingface_hub").handlers:
            stack.callback(handler.setStream, handler.setStream(shown) or sys.stderr)
        stack.enter_context(contextlib.redirect_stdout(shown))
        stack.enter_context(contextlib.redirect_stderr(shown))
        page = command.startswith("the page")
        status = _open_page() if page else _run(_arguments(command, world), shown)
    return status, shown.getvalue()


def _arguments(command: str, world: World) -> list[str]:
    repo = "tester/new" if "new" in command else REPO
    if command.startswith("push"):
        options = {"push --private": ["--private"], "push --tag": ["--tag", "v1"]}.get(command, [])
        return ["push", str(world.folder), repo, "--license", "mit", *options]
    if command == "space":
        return ["space", "tester/page", "--model", REPO]
    if command.startswith("download"):
        return ["download", REPO]
    return ["classify", str(world.photograph), "--model", REPO]


def _run(arguments: list[str], shown: io.StringIO) -> int:
    from resnext.cli import app
    from resnext.command import run

    with mock.patch.object(sys, "argv", ["resnext", *arguments]):
        try:
            run(app, "resnext")
        except SystemExit as end:  # as Python itself ends: a text is an error message
            if isinstance(end.code, str):
                shown.write(f"{end.code}\n")
                return 1
            if end.code in (130, 143):  # Ctrl-C or SIGTERM, which is meant for the table
                raise
            return end.code or 0
    return 0


def _open_page() -> int:
    """Opens the model as the page does in the background when it starts."""
    from resnext.page.models import Models

    models = Models([REPO])
    try:
        models.renew(models.first)
    except ResNeXtError as error:
        print(error)
        return 1
    print(models.open(None).classifier.repository.notice)
    return 0


def prepare(hub: HubServer, folder: pathlib.Path, command: str) -> World:
    """A world without faults."""
    template = folder / "template"
    if not template.exists():
        _write_template(template)
    case = pathlib.Path(tempfile.mkdtemp(dir=folder))
    world = World(hub, case / "model", folder / "photo.jpg", case / "home")
    shutil.copytree(template, world.folder)
    hub.repos.clear()
    if "new" not in command:
        repo = hub.repos["model", REPO] = Repo("model", REPO)
        names = ("config.json", "model.safetensors", "README.md")
        contents = {name: (template / name).read_bytes() for name in names if (template / name).exists()}
        contents.setdefault("README.md", b"---\nlicense: mit\n---\n# Mine\n")
        lfs = {"model.safetensors"}
        repo.add(
            "refs/heads/main", {name: File(text, lfs=name in lfs) for name, text in contents.items()}, "x"
        )
    if command.startswith("push"):
        values = json.loads((world.folder / "evaluation.json").read_text())
        (world.folder / "evaluation.json").write_text(json.dumps({**values, "top1": 0.5}))
        _write_weights(world.folder, seed=1)
    return world


def _write_template(folder: pathlib.Path) -> None:
    architecture = Architecture(layers=(1, 1, 1, 1), channels=(8, 16, 16, 32), cardinality=4, base_width=16)
    ModelConfig("resnext50_32x4d", architecture, LABELS, Preprocessing(64)).write(folder / "config.json")
    _write_weights(folder)
    (folder / "evaluation.json").write_text(json.dumps(evaluation(LABELS)))
    save_image(folder.parent / "photo.jpg")


def _write_weights(folder: pathlib.Path, seed: int = 0) -> None:
    config = ModelConfig.read(folder / "config.json")
    tensors = random_tensors(config.architecture, config.num_classes, seed=seed)
    save_tensors(tensors, folder / "model.safetensors")


def update(world: World) -> None:
    """A new commit on the Hub, whose weights are others."""
    repo = world.hub.repos["model", REPO]
    _, tip, files = repo.find("main")
    config = files["config.json"].content + b"\n"
    _write_weights(world.folder, seed=2)
    weights = (world.folder / "model.safetensors").read_bytes()
    changed = {"config.json": File(config), "model.safetensors": File(weights, lfs=True)}
    repo.add("refs/heads/main", {**files, **changed}, tip, "update")


def measure(row: Row, hub: HubServer, folder: pathlib.Path, limit: float) -> dict:
    """Runs a row, and the same command again without the fault."""
    world = prepare(hub, folder, row.command)
    with in_this_process(hub.url, world.home, TOKEN):
        if "older copy" in row.command:
            call(row.command, world)
            update(world)
    with world.closing:
        row.begin(world)
        variables = dict(world.variables)
        token = variables.pop("HF_TOKEN", TOKEN)
        with in_this_process(hub.url, world.home, token, **variables):
            began = time.monotonic()
            status, shown = call(row.command, world)
            seconds = time.monotonic() - began
    hub.faults.clear()
    hub.truncations.clear()
    hub.header_drips.clear()
    time.sleep(0.01)
    with in_this_process(hub.url, world.home, TOKEN):
        command = row.command.replace(" --private", "")
        again, _ = call(command, world)
    shutil.rmtree(world.folder.parent)
    text = " ".join(shown.replace(str(world.home), "HOME").replace(hub.url, "HUB").split())
    return {
        "command": row.command,
        "request": row.route,
        "fault": row.fault,
        "what the user sees": text.replace(str(folder), "")[:300],
        "seconds": f"{seconds:.1f}",
        "exit status": status,
        "next run": "works" if again == 0 else "FAILS",
        "wrong": "; ".join(wrong(row, status, shown, seconds, again, limit, hub)),
    }


def wrong(
    row: Row, status: int, shown: str, seconds: float, again: int, limit: float, hub: HubServer
) -> list[str]:
    """What is wrong with a row."""
    found = []
    uses_copy = "older copy" in row.command
    if "Traceback" in shown:
        found.append("a traceback")
    if TOKEN in shown or "hf_wrong" in shown:
        found.append("the token")
    if status and hub.url.removeprefix("http://") in shown:
        found.append("an address")
    if seconds > limit:
        found.append("too slow")
    if again:
        found.append("the next run fails")
    if row.expected and not re.search(row.expected, shown):
        found.append("another reason")
    if bool(row.expected) != bool(status) and not uses_copy and not re.search(r"\^\$", row.expected):
        found.append("another exit status")
    if status and not uses_copy and len(shown.strip().splitlines()) != 1:
        found.append("not one line")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, help="CSV file for the table")
    parser.add_argument("--wait", type=float, default=6, help="total seconds of waiting between retries (60)")
    parser.add_argument("--timeout", type=float, default=2, help="seconds without an answer (15)")
    parser.add_argument("--only", default="", help="only rows whose command, request or fault has this text")
    options = parser.parse_args()
    hub_requests.MAX_WAIT, hub_requests.TIMEOUT = options.wait, options.timeout
    limit = 10 * options.wait
    rows = [*push_rows(), *space_rows(), *pull_rows()]
    rows = [row for row in rows if options.only in f"{row.command}, {row.route}, {row.fault}"]
    results = []
    with (
        tempfile.TemporaryDirectory() as name,
        HubServer() as hub,
        options.output.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            result = measure(row, hub, pathlib.Path(name), limit)
            results.append(result)
            writer.writerow(result)
            file.flush()
            print(
                f"{row.command:32.32} {row.route:22.22} {row.fault:34.34} {result['seconds']:>5} s "
                f"{result['exit status']:>3} {result['next run']:5} {result['what the user sees']:.150} "
                f"{result['wrong'] and 'WRONG: ' + result['wrong']}",
                flush=True,
            )
    counts = collections.Counter(row["command"].split(",")[0] for row in results)
    listed = ", ".join(f"{count} {command}" for command, count in counts.items())
    bad = [row for row in results if row["wrong"]]
    print(f"{len(results)} rows ({listed}), {len(bad)} wrong.")
    if bad:
        sys.exit(1)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    main()
