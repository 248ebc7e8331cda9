"""Makes Spaces of the Hugging Face Hub that show a model."""

import contextlib
import importlib.metadata
import json
import pathlib
import tempfile
import tomllib
from collections.abc import Iterator

import httpx2
import huggingface_hub
from huggingface_hub import errors

import resnext
from resnext.errors import RepositoryError

_PACKAGE = pathlib.Path(resnext.__file__).parent
# Folders of the package that a Space does without. `training` is in it only where the package is installed.
_NOT_IN_A_SPACE = {"__pycache__", "training"}
# The checkout's app.py, which an installed package does not have. A test compares the two.
_SPACE_APP = '''\
"""The web page's command, and the entry point of a Space: classify photographs with ResNeXts from the Hub."""

import typer

from resnext.command import run
from resnext.page.launch import main

if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run(app, "app.py")
'''


def make_space(repo_id: str, model: str) -> str:
    """Creates or updates a Gradio Space whose page shows a model of the Hub.

    Args:
        repo_id: The Space, OWNER/NAME. It is created if it does not exist.
        model: The Hub repository of the model, OWNER/NAME.

    Returns:
        The URL of the Space.

    Raises:
        RepositoryError: You are not logged in, or the Hub refuses or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder, _clear_errors(repo_id):
        files = _space_files(model, pathlib.Path(folder))
        api = huggingface_hub.HfApi()
        space = api.create_repo(repo_id, repo_type="space", space_sdk="gradio", exist_ok=True)
        api.add_space_variable(repo_id, "RESNEXT_MODEL", model)
        api.create_commit(
            repo_id,
            [huggingface_hub.CommitOperationAdd(name, file) for name, file in files.items()],
            commit_message=f"Show {model}",
            repo_type="space",
        )
    return str(space)


def _space_files(model: str, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The files of a Space by their names there. The generated ones are written to the folder."""
    requirements, readme = _project()
    header = readme.split("---\n", 2)[1]  # title, SDK and app_file, in YAML
    texts = {
        "app.py": _SPACE_APP,
        "requirements.txt": "\n".join(requirements) + "\n",
        "README.md": f"---\n{header}models:\n- {json.dumps(model)}\n---\n\nShows `{model}`.\n",
    }
    files = {}
    for name, text in texts.items():
        files[name] = folder / name
        files[name].write_text(text, encoding="utf-8")
    for file in sorted(_PACKAGE.rglob("*")):
        inside = file.relative_to(_PACKAGE)
        if file.is_file() and _NOT_IN_A_SPACE.isdisjoint(inside.parts):
            files[f"resnext/{inside.as_posix()}"] = file
    return files


def _project() -> tuple[list[str], str]:
    """The page's requirements and README.md, from the checkout or the metadata of the installed package."""
    root = _PACKAGE.parent
    if (root / "pyproject.toml").is_file():
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        requirements = project["dependencies"] + project["optional-dependencies"]["page"]
        return sorted(requirements), (root / "README.md").read_text(encoding="utf-8")
    metadata = importlib.metadata.metadata("resnext")
    requirements = []
    for line in metadata.get_all("Requires-Dist"):
        requirement, _, marker = line.partition(";")
        if marker.strip() in ("", 'extra == "page"'):
            requirements.append(requirement.strip())
    return sorted(requirements), metadata["Description"]


@contextlib.contextmanager
def _clear_errors(repo_id: str) -> Iterator[None]:
    """Turns the errors of a push into a RepositoryError whose message is one sentence for the user."""
    try:
        yield
    except errors.HFValidationError as error:
        raise RepositoryError(
            f"{repo_id!r} is not a valid repository id, such as OWNER/NAME: {error}"
        ) from None
    except errors.LocalTokenNotFoundError:
        raise RepositoryError(f"To push to {repo_id}, log in with `hf auth login` or set HF_TOKEN.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise RepositoryError(
                f"The Hub does not let you write to {repo_id} (HTTP {status}): log in with `hf auth login` "
                "and a token that has write access."
            ) from None
        raise RepositoryError(
            f"The Hub did not accept the push to {repo_id} (HTTP {status}): try again."
        ) from None
    except (httpx2.HTTPError, OSError) as error:
        raise RepositoryError(
            f"The Hub cannot be reached to push to {repo_id} ({type(error).__name__}): try again."
        ) from None
