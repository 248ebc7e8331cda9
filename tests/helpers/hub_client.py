"""The real client of the Hub in this process, with a Hub on loopback and a cache of its own."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.helpers.hub_server import File, HubServer, Repo


def connect(monkeypatch, hub: HubServer, home: Path, token: str = "") -> None:
    """Lets this process use a Hub until the end of a test.

    Args:
        monkeypatch: pytest's fixture.
        hub: The Hub.
        home: The folder of the client's cache.
        token: The access token, if there is one.
    """
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setenv("HF_TOKEN", token)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr("resnext.hub_requests.MAX_WAIT", 0.9)  # tries once


def publish(hub: HubServer, repo_id: str, folder: Path, *, private: bool = False, **more: bytes) -> str:
    """Makes a commit of the files of a folder in a model repository of the Hub.

    Args:
        hub: The Hub.
        repo_id: The repository, which is created if it does not exist.
        folder: The folder.
        private: Whether a repository that is created is private.
        more: The content of further files by name, with `__` for a dot.

    Returns:
        The commit.
    """
    repo = hub.repos.setdefault(("model", repo_id), Repo("model", repo_id, private))
    files = {
        file.relative_to(folder).as_posix(): File(file.read_bytes(), lfs=file.suffix == ".safetensors")
        for file in folder.rglob("*")
        if file.is_file()
    }
    files |= {name.replace("__", "."): File(content) for name, content in more.items()}
    return repo.add("refs/heads/main", files, len(repo.commits))


def forget(home: Path) -> None:
    """Deletes the client's cache."""
    shutil.rmtree(home / "hub", ignore_errors=True)


def until(condition: Callable[[], bool]) -> None:
    """Waits until something has happened in the background."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen within half a minute")
