"""Model repositories and Spaces on the Hugging Face Hub."""

import contextlib
import json
import pathlib
import tempfile

import httpx2
import huggingface_hub
from huggingface_hub import errors

from resnext.errors import RepositoryError
from resnext.int8 import GRAPH, NOTES, WEIGHTS, is_stale
from resnext.repository import NEEDED, PATTERNS

from .card import write_card

ROOT = pathlib.Path(__file__).parent.parent
_TRAINING_ONLY = ("tensorflow", "matplotlib", "nncf")  # in requirements.txt, but of no use to a page


def push(folder: pathlib.Path, repo_id: str, *, private: bool = False, create_pr: bool = False) -> str:
    """Pushes a model repository to the Hub as one commit, with its card, which then names the Hub's repository.

    An int8 graph of other weights stays here.

    Args:
        folder: with config.json and model.safetensors at least.
        repo_id: OWNER/NAME; made if it is not there.
        private: make it private, if it is made.
        create_pr: open a pull request instead of committing to main.

    Returns:
        The commit's address.

    Raises:
        RepositoryError: the folder is incomplete, the login is missing, or the Hub refuses or cannot be reached.
    """
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise RepositoryError(f"{folder} has no {missing[0]}: make it by `python -m training fit` first.")
    write_card(folder, repo_id)
    with _clear_errors(repo_id):
        api = huggingface_hub.HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=PATTERNS,
            ignore_patterns=[GRAPH, WEIGHTS, NOTES] if is_stale(folder) else None,
            # An older evaluation's pictures go with it; without a new one, the Hub keeps both.
            delete_patterns="mistakes/*.jpg" if (folder / "evaluation.json").is_file() else None,
            commit_message=f"Upload {folder.resolve().name}",
            create_pr=create_pr,
        )
    return commit.pr_url or commit.commit_url


def make_space(repo_id: str, model: str) -> str:
    """Makes or updates a Gradio Space that shows a model of the Hub.

    Args:
        repo_id: OWNER/NAME of the Space.
        model: OWNER/NAME of the model repository.

    Returns:
        The Space's address.

    Raises:
        RepositoryError: the login is missing, or the Hub refuses or cannot be reached.
    """
    requirements = [
        line
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if not line.startswith(_TRAINING_ONLY)
    ]
    _, header, _ = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    with tempfile.TemporaryDirectory() as empty, _clear_errors(repo_id):
        readme, needs = pathlib.Path(empty, "README.md"), pathlib.Path(empty, "requirements.txt")
        readme.write_text(
            f"---\n{header}models:\n- {json.dumps(model)}\n---\n\nShows `{model}`.\n", encoding="utf-8"
        )
        needs.write_text("\n".join(requirements) + "\n")
        files = {"README.md": readme, "requirements.txt": needs, "app.py": ROOT / "app.py"}
        for file in sorted((ROOT / "resnext").rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                files[file.relative_to(ROOT).as_posix()] = file
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


@contextlib.contextmanager
def _clear_errors(repo_id: str):
    try:
        yield
    except errors.HFValidationError as error:
        raise RepositoryError(f"{repo_id!r} is no valid repository id, such as OWNER/NAME: {error}") from None
    except errors.LocalTokenNotFoundError:
        raise RepositoryError(f"To push to {repo_id}, log in with `hf auth login` or set HF_TOKEN.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise RepositoryError(
                f"The Hub does not let you write to {repo_id} (HTTP {status}): log in with `hf auth login` and a token that may write."
            ) from None
        raise RepositoryError(f"The Hub did not take {repo_id} (HTTP {status}): try again.") from None
    except (httpx2.HTTPError, OSError) as error:
        raise RepositoryError(
            f"The Hub cannot be reached to push {repo_id} ({type(error).__name__}): try again."
        ) from None
