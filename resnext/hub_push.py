"""What commits to the Hugging Face Hub have in common: their user, large files, and new repositories."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import huggingface_hub
from huggingface_hub import CommitOperationAdd, errors

from resnext.errors import RepositoryError
from resnext.hub_requests import bounded_transfer

# What the Hub puts into a new repository of each type.
HUB_FILES = {
    "model": frozenset({".gitattributes"}),
    "space": frozenset({".gitattributes", "README.md"}),
}
_MAX_UPLOADS = 200  # files of one request; the client repeats requests of more than 256


def read_user(api: huggingface_hub.HfApi) -> dict:
    """What the Hub knows of the user of the token.

    Raises:
        KeyError, TypeError: The answer is not one of a Hub.
    """
    try:
        user = api.whoami()
    except errors.HfHubHTTPError as error:
        if error.response.status_code != 404:
            raise
        user = {}  # not a Hub: each of them knows its users
    return {**user, "name": user["name"]}  # an error is raised here, where it has no context


def upload_contents(
    ask: Callable,
    api: huggingface_hub.HfApi,
    repo_id: str,
    additions: list[CommitOperationAdd],
    **where,
) -> None:
    """Uploads the large files of a commit before it is made, so that each of its steps can be repeated.

    Args:
        ask: Makes a request, and repeats it where that may help.
        api: The client.
        repo_id: The repository.
        additions: The files of the commit.
        where: What else names the commit's place, such as `revision`.
    """
    distinct = {addition.upload_info.sha256: addition for addition in additions}
    # Files of equal content follow when it is there, or the client sends it for each of them.
    copies = [addition for addition in additions if distinct[addition.upload_info.sha256] is not addition]
    for part in (*_parts([*distinct.values()]), *_parts(copies)):
        size = sum(addition.upload_info.size for addition in part)
        with bounded_transfer(f"uploading to {repo_id}", size):
            ask(functools.partial(api.preupload_lfs_files, repo_id, part, free_memory=False, **where))


def _parts(additions: list[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    for first in range(0, len(additions), _MAX_UPLOADS):
        yield additions[first : first + _MAX_UPLOADS]


def discard_new(ask: Callable, api: huggingface_hub.HfApi, repo_id: str, repo_type: str = "model") -> bool:
    """Deletes a repository that was created for a commit which failed, if it is still empty.

    Args:
        ask: Makes a request, and repeats it where that may help.
        api: The client.
        repo_id: The repository.
        repo_type: Its type, "model" or "space".

    Returns:
        Whether it has files: then the commit was made, and its answer was lost, or somebody else's was.
    """
    with contextlib.suppress(RepositoryError):
        if not HUB_FILES[repo_type].issuperset(
            ask(lambda: api.list_repo_files(repo_id, repo_type=repo_type))
        ):
            return True
        ask(lambda: api.delete_repo(repo_id, repo_type=repo_type, missing_ok=True))
    return False
