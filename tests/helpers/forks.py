"""Python programs in processes of their own that do not import for seconds what all of them need.

A server imports the packages once, and forks for each program. What the tests start is a small process that
lends its environment, folder, input and output to the fork, passes signals on to it, and ends as it ends:
`python fork_client.py SOCKET -m MODULE ARGUMENTS...` is `python -u -m MODULE ARGUMENTS...`, but starts at
once. Where the start itself is tested, tests start Python.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pathlib
import runpy
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

# What programs that use the Hub need, and those that train.
_HUB = (
    "filelock",
    "httpcore2",
    "httpx2",
    "PIL.ImageCms",
    "PIL.ImageOps",
    "safetensors.numpy",
    "tqdm.auto",
    "typer",
    "yaml",
)
_TRAINING = (*_HUB, "keras", "matplotlib.figure", "psutil", "rich.progress", "tensorflow")
_MAX_MESSAGE = 2**17  # bytes
_CLIENT = str(pathlib.Path(__file__).with_name("fork_client.py"))


def hub_python() -> list[str]:
    """The beginning of a command that takes the place of `python -u` for a program that uses the Hub."""
    return _python(_HUB)


def training_python() -> list[str]:
    """The same for a program that trains."""
    return _python(_TRAINING)


def _python(modules: tuple[str, ...]) -> list[str]:
    if sys.platform != "linux":
        return [sys.executable, "-u"]
    return [sys.executable, "-I", "-S", _CLIENT, _server(modules)]


@functools.cache
def _server(modules: tuple[str, ...]) -> str:
    """Starts a server, which ends with this process, and returns its socket."""
    folder = tempfile.mkdtemp(prefix="forks-")
    command = [sys.executable, "-u", __file__, path := f"{folder}/socket", *modules]
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    atexit.register(server.communicate)
    assert server.stdout.readline(), "the server could not import its modules"
    return path


def serve(path: str, modules: list[str]) -> list[str]:
    """Forks for each program until the standard input ends. Returns the program's arguments in the fork."""
    sys.path[0] = str(pathlib.Path(__file__).parents[2])
    sys.modules["huggingface_hub"] = None  # reads the environment when it is imported, as Keras tries to
    for module in modules:
        importlib.import_module(module)
    del sys.modules["huggingface_hub"]
    # Each client of the Hub loads all certificate authorities, which takes 20 ms.
    ssl.create_default_context = functools.cache(ssl.create_default_context)
    importlib.import_module("httpx2").create_ssl_context()
    assert threading.active_count() == 1, "a thread is missing in forks"
    gc.freeze()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(path)
        server.listen()
        print("ready")
        while sys.stdin not in select.select([sys.stdin, server], [], [])[0]:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                return fork(connection)
            connection.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # those that have ended
                    pass
    shutil.rmtree(pathlib.Path(path).parent)
    os._exit(0)


def fork(connection: socket.socket) -> list[str]:
    """Forks again, and returns the program's arguments there. That process ends when its client is killed."""
    message, files, _, _ = socket.recv_fds(connection, _MAX_MESSAGE, 3)
    process = os.fork()
    if process == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        arguments, folder, environment = json.loads(message)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = folder
        return arguments
    os.closerange(0, 3)
    for file in files:
        os.close(file)
    tell(connection, process)
    ended = os.pidfd_open(process)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(process, signal.SIGKILL)
    tell(connection, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    os._exit(0)


def tell(connection: socket.socket, number: int) -> None:
    """Sends a number to a client, unless the client was killed."""
    with contextlib.suppress(BrokenPipeError):
        connection.send(str(number).encode())


def run(kind: str, program: str, *arguments: str) -> None:
    """Runs a program as `python -m` or `python -c` does."""
    sys.argv = [kind, *arguments]
    if kind == "-m":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        exec(program, {"__name__": "__main__"})


if __name__ == "__main__":
    run(*serve(sys.argv[1], sys.argv[2:]))
