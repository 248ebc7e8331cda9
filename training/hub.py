"""Pushes model repositories to the Hugging Face Hub."""

import contextlib
import pathlib
from collections.abc import Iterator

import httpx2
import huggingface_hub
from huggingface_hub import errors, utils

from resnext.errors import RepositoryError
from resnext.int8 import GRAPH, NOTES, WEIGHTS, is_stale
from resnext.repository import NEEDED, PATTERNS
from resnext.results import EVALUATION, read_evaluation

from .card import MAX_EVALUATION_BYTES, write_card
from .run_folder import RunFolder


def push(folder: pathlib.Path, repo_id: str, *, private: bool = False, create_pr: bool = False) -> str:
    """Pushes a model repository to the Hub as one commit, and makes its model card name the Hub repository.

    A stale int8 graph and stale test results, which are of other weights, are not pushed.

    Args:
        folder: The model repository, with at least config.json and model.safetensors.
        repo_id: The Hub repository, OWNER/NAME. It is created if it does not exist.
        private: Whether a repository that is created is private.
        create_pr: Whether to open a pull request instead of committing to the main branch.

    Returns:
        The URL of the commit or pull request.

    Raises:
        RepositoryError: The folder is incomplete, the login is missing, or the Hub refuses or is offline.
    """
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise RepositoryError(f"{folder} has no {missing[0]}: make a model repository with the fit command.")
    run = RunFolder(folder)
    with run.lock():
        run.repair()
        run.sweep()
        write_card(folder, repo_id)
        with _clear_errors(repo_id):
            api = huggingface_hub.HfApi()
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                allow_patterns=list(PATTERNS),
                ignore_patterns=_stale_files(folder),
                # A new evaluation replaces the pictures of the old one. Without one, the Hub keeps both.
                delete_patterns="mistakes/*.jpg" if (folder / "evaluation.json").is_file() else None,
                commit_message=f"Upload {folder.resolve().name}",
                create_pr=create_pr,
            )
    return commit.pr_url or commit.commit_url


def check_push(repo_id: str) -> None:
    """Checks what a later push needs, before anything is trained: a valid name, a login and the Hub.

    Args:
        repo_id: The Hub repository, OWNER/NAME.

    Raises:
        RepositoryError: The name is invalid, the login is missing or invalid, or the Hub is offline.
    """
    with _clear_errors(repo_id):
        utils.validate_repo_id(repo_id)
        if "/" not in repo_id:
            raise RepositoryError(f"{repo_id!r} is not a valid repository id: give OWNER/NAME.")
        huggingface_hub.HfApi().whoami()


def _stale_files(folder: pathlib.Path) -> list[str]:
    files = [GRAPH, WEIGHTS, NOTES] if is_stale(folder) else []
    evaluation = read_evaluation(folder, MAX_EVALUATION_BYTES)
    if evaluation and evaluation.is_stale(folder):
        files += [EVALUATION, "figures/heatmap.png", "figures/samples.png", "mistakes/*"]
    return files


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
