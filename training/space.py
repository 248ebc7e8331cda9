"""Makes Spaces on the Hugging Face Hub whose page shows models of the Hub."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import os
import pathlib
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import huggingface_hub
from huggingface_hub import errors, repocard

import resnext
from resnext.errors import RepositoryError
from resnext.hub import Listing, choose_files, list_files
from resnext.hub_errors import Task, client_errors, explain_fault, login_token
from resnext.hub_push import HUB_FILES, discard_new, read_user, upload_contents
from resnext.hub_requests import with_retries
from resnext.repository import OPTIONAL, is_repo_id, plain_name

from .push import ROUNDS, MovedError, check_moved

_T = TypeVar("_T")
_PACKAGE = pathlib.Path(resnext.__file__).parent
# Folders of the package that a Space does without. `training` is in it only where the package is installed.
_NOT_IN_A_SPACE = {"__pycache__", "training"}
# The list of the files that this command has put into a Space, so that a later version removes its own only.
_OWN_FILES = "resnext/space_files.txt"
_MAX_PRELOADED = 200  # files of a model
# Lets visitors log in, and the page create repositories for them; it cannot open any other of theirs.
_OAUTH_SCOPE = "contribute-repos"
# The variables of a Space that the command sets only sometimes.
_OPTIONAL_VARIABLES = frozenset({"RESNEXT_MODELS", "RESNEXT_TEACH"})
# Fields of the Space's README.md that the command sets again each time. The owner's others are kept.
_OWN_FIELDS = ("sdk", "sdk_version", "python_version", "app_file")
_REFUSALS = {
    403: ("The Hub does not let you write there", "use a token that has write access, or another owner"),
    404: (
        "The Space or a part of it is not on the Hub for you",
        "run the command again, or use another token",
    ),
}
# The newest versions of these packages are larger: with them, a Space's packages have more than 500 MB
# (tests/benchmarks/space.py).
_SMALL = {"numpy": "<2.2", "openvino": "<2025.1", "pandas": "<2.3"}
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/spaces/([^/?#]+/[^/?#]+).*")
_OWN_TEXT = re.compile(r"\s*Shows `[^`]+`(, `[^`]+`)*\.\s*")
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


@dataclasses.dataclass(frozen=True)
class SpaceOptions:
    """What a Space is made of.

    Args:
        models: The Hub repositories, OWNER/NAME or OWNER/NAME@REVISION. The page shows the first one.
        private: Whether a Space that is created is private.
        hardware: The Hub's name of the hardware, such as "cpu-upgrade"; None to leave it as it is.
        sleep_time: Seconds without visitors after which the Space sleeps, -1 for never; None to leave it.
        secrets: Names of secrets. Their values are read from the environment, HF_TOKEN also from the login.
        title: The title of the Space; None to leave it as it is.
        teach: Whether visitors may teach classes of their own, and push them with their own login.
    """

    models: Sequence[str]
    private: bool = False
    hardware: str | None = None
    sleep_time: int | None = None
    secrets: Sequence[str] = ()
    title: str | None = None
    teach: bool = True


@dataclasses.dataclass(frozen=True)
class _Space:
    """A Space on the Hub.

    Args:
        commit: The newest commit.
        files: The names of its files.
        readme: Its README.md.
        own_files: The names of the files that this command has put there.
    """

    commit: str
    files: frozenset[str]
    readme: str
    own_files: frozenset[str]


def make_space(
    repo_id: str,
    options: SpaceOptions,
    dry_run: pathlib.Path | None = None,
    report: Callable[[str], None] = print,
) -> str:
    """Creates or updates a Gradio Space whose page shows models of the Hub.

    Everything is checked before anything is sent. What the owner wrote into the Space's README.md is kept.

    Args:
        repo_id: The Space, OWNER/NAME. It is created if it does not exist.
        options: What it is made of.
        dry_run: A folder to write the files to. Then nothing is sent.
        report: Prints a line for the user.

    Returns:
        The URL of the Space, or the folder.

    Raises:
        RepositoryError: A model cannot be shown, the login is missing, or the Hub refuses or does not answer.
    """
    repo_id = _ADDRESS.sub(r"\1", repo_id.strip())
    if "/" not in repo_id or not is_repo_id(repo_id):
        raise RepositoryError(f"{repo_id!r} is not the name of a Space: give OWNER/NAME.")
    listings = {name: _find_model(name) for name in dict.fromkeys(map(plain_name, options.models))}
    secrets = {name: _secret(name) for name in options.secrets}
    ask = functools.partial(_ask, repo_id)
    api = huggingface_hub.HfApi()
    with tempfile.TemporaryDirectory() as folder:
        if dry_run is None:
            ask(lambda: read_user(api))
        space = ask(lambda: _find_space(api, repo_id, options.private))
        _check_secrets(api, repo_id, listings, secrets, known=space is not None, dry_run=dry_run is not None)
        files = _space_files(listings, options, space, dry_run or pathlib.Path(folder))
        if dry_run is not None:
            _copy(files, dry_run)
            variables = _listed(_variables(listings, options.teach))
            report(f"Nothing was sent. The page reads these variables: {variables}.")
            return str(dry_run)
        try:
            url = ask(
                lambda: api.create_repo(
                    repo_id,
                    repo_type="space",
                    space_sdk="gradio",
                    private=options.private or None,
                    exist_ok=True,
                )
            )
            _configure(api, repo_id, options, _variables(listings, options.teach), secrets)
            _fill(api, repo_id, options, listings, space, pathlib.Path(folder))
        except (RepositoryError, KeyboardInterrupt):
            if space is None:
                discard_new(ask, api, repo_id, "space")
            raise
    return str(url)


def _ask(repo_id: str, request: Callable[[], _T]) -> _T:
    """Makes a request of the Hub's client, again if the Hub is busy or has a fault."""
    return with_retries(request, repo_id, _explained, uploading=True)


def _fill(
    api: huggingface_hub.HfApi,
    repo_id: str,
    options: SpaceOptions,
    listings: dict[str, Listing],
    space: _Space | None,
    folder: pathlib.Path,
) -> None:
    """Commits the files of a Space. If its head moves, they are made again from what is there then.

    The client makes no commit if the Space has them all: the first one was made, and its answer was lost.
    """
    for last in ROUNDS:
        files = _space_files(listings, options, space, folder)
        try:
            _commit(api, repo_id, files, space, f"Show {', '.join(listings)}")
            return
        except MovedError as moved:
            if last:
                raise RepositoryError(moved.explain(repo_id, "the update", "run the command again")) from None
        space = _ask(repo_id, lambda: _find_space(api, repo_id, options.private))


def _commit(
    api: huggingface_hub.HfApi,
    repo_id: str,
    files: dict[str, pathlib.Path],
    space: _Space | None,
    message: str,
) -> None:
    """Commits files to a Space, and removes those that an earlier version of this command has put there."""
    ask = functools.partial(_ask, repo_id)
    dropped = (space.own_files & space.files) - files.keys() if space else set()
    additions = [huggingface_hub.CommitOperationAdd(name, file) for name, file in files.items()]
    deletions = [huggingface_hub.CommitOperationDelete(name) for name in sorted(dropped)]
    upload_contents(ask, api, repo_id, additions, repo_type="space")
    ask(
        lambda: api.create_commit(
            repo_id,
            [*additions, *deletions],
            commit_message=message,
            repo_type="space",
            parent_commit=space.commit if space else None,
        )
    )


def _find_model(name: str) -> Listing:
    """Checks that a model can be shown by a Space, which sees only the Hub."""
    if os.path.isdir(os.path.expanduser(name)):
        raise RepositoryError(
            f"{name} is a folder here, which a Space cannot see: push it with `resnext push {name} "
            "OWNER/NAME`, and name that repository."
        )
    repo_id, _, revision = name.partition("@")
    if "/" not in repo_id or not is_repo_id(repo_id):
        raise RepositoryError(f"{name[:200]!r} is not a Hub repository such as OWNER/NAME.")
    return list_files(repo_id, revision or None)


def _secret(name: str) -> str:
    login = login_token("give the Space a token") if name == "HF_TOKEN" else None
    value = os.environ.get(name) or login
    if not value:
        raise RepositoryError(f"The secret {name} has no value: set the environment variable of this name.")
    return value


def _check_secrets(
    api: huggingface_hub.HfApi,
    repo_id: str,
    listings: dict[str, Listing],
    secrets: dict[str, str],
    *,
    known: bool,
    dry_run: bool,
) -> None:
    """Refuses a Space that could not read its models."""
    restricted = [name for name, listing in listings.items() if listing.restricted]
    if not restricted or "HF_TOKEN" in secrets or dry_run:
        return
    if known and "HF_TOKEN" in _ask(repo_id, lambda: api.get_space_secrets(repo_id)):
        return
    raise RepositoryError(
        f"{restricted[0]} is private or gated, so the Space needs a token that may read it: add --secret "
        "HF_TOKEN, which takes HF_TOKEN or your login's."
    )


def _find_space(api: huggingface_hub.HfApi, repo_id: str, private: bool) -> _Space | None:
    """The Space as it is on the Hub, or None if there is none."""
    try:
        info = api.space_info(repo_id)
    except errors.RepositoryNotFoundError:
        return None
    if private and not info.private:
        raise RepositoryError(
            f"The Space {repo_id} is public already: leave --private out, or make it private on the Hub."
        )
    commit = str(info.sha)
    files = frozenset(str(file.rfilename) for file in info.siblings or ())
    foreign = sorted(files - HUB_FILES["space"])
    if foreign and not any(name.startswith("resnext/") for name in files):
        raise RepositoryError(
            f"The Space {repo_id} holds something else already, such as {foreign[0]}, which is not "
            "overwritten: choose another name, or delete its files on the Hub."
        )

    def read(name: str) -> str:
        if name not in files:
            return ""
        with tempfile.TemporaryDirectory() as folder:
            path = api.hf_hub_download(repo_id, name, repo_type="space", revision=commit, local_dir=folder)
            try:
                return pathlib.Path(path).read_text("utf-8")
            except UnicodeDecodeError:
                raise RepositoryError(
                    f"The {name} of the Space {repo_id} is not UTF-8: save it as UTF-8, or delete it."
                ) from None

    return _Space(commit, files, read("README.md"), frozenset(read(_OWN_FILES).split("\n")) - {""})


def _variables(listings: dict[str, Listing], teach: bool) -> dict[str, str]:
    first, *more = listings
    variables = {"RESNEXT_MODEL": first, **({"RESNEXT_MODELS": ",".join(more)} if more else {})}
    return variables if teach else {**variables, "RESNEXT_TEACH": "0"}


def _listed(variables: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in variables.items())


def _configure(
    api: huggingface_hub.HfApi,
    repo_id: str,
    options: SpaceOptions,
    variables: dict[str, str],
    secrets: dict[str, str],
) -> None:
    """Sets what is not a file. Each change restarts the Space, so what is as it should be is left alone."""
    ask = functools.partial(_ask, repo_id)
    present = {
        name: variable.value for name, variable in ask(lambda: api.get_space_variables(repo_id)).items()
    }
    for name, value in variables.items():
        if present.get(name) != value:
            ask(functools.partial(api.add_space_variable, repo_id, name, value))
    for name in sorted(_OPTIONAL_VARIABLES & (present.keys() - variables.keys())):
        ask(functools.partial(api.delete_space_variable, repo_id, name))
    for name, value in secrets.items():
        ask(functools.partial(api.add_space_secret, repo_id, name, value))
    if options.hardware is not None:
        hardware = huggingface_hub.SpaceHardware(options.hardware)
        ask(lambda: api.request_space_hardware(repo_id, hardware, sleep_time=options.sleep_time))
    elif options.sleep_time is not None:
        ask(lambda: api.set_space_sleep_time(repo_id, options.sleep_time))


def _space_files(
    listings: dict[str, Listing], options: SpaceOptions, space: _Space | None, folder: pathlib.Path
) -> dict[str, pathlib.Path]:
    """The files of a Space by their names there. The generated ones are written to the folder."""
    requirements, readme = requirements_and_readme("page")
    requirements = _limit(requirements, _SMALL)
    files = {}
    for file in sorted(_PACKAGE.rglob("*")):
        inside = file.relative_to(_PACKAGE)
        if file.is_file() and _NOT_IN_A_SPACE.isdisjoint(inside.parts):
            files[f"resnext/{inside.as_posix()}"] = file
    texts = {
        "app.py": _SPACE_APP,
        "requirements.txt": "\n".join(requirements) + "\n",
        "README.md": _readme(readme, listings, options, space.readme if space else ""),
    }
    texts[_OWN_FILES] = "\n".join(sorted([*files, *texts, _OWN_FILES])) + "\n"
    for name, text in texts.items():
        files[name] = folder / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_text(text, encoding="utf-8")
    return files


def _readme(project: str, listings: dict[str, Listing], options: SpaceOptions, owners: str) -> str:
    """README.md of a Space: its configuration, and a text.

    Args:
        project: The project's README.md, whose header configures a Space.
        listings: The files of each model on the Hub.
        options: What the Space is made of.
        owners: The Space's README.md so far, of which the owner may have written anything; empty if new.
    """
    defaults = _card(project).data.to_dict()
    card = _card(owners) if owners.strip() else huggingface_hub.SpaceCard("---\n{}\n---\n")
    # The Hub makes a README.md of its own for a new Space.
    configured = "models" in card.data.to_dict()
    for field, value in defaults.items():
        if field in _OWN_FIELDS or (not configured and field not in card.data.to_dict()):
            card.data[field] = value
    if options.title is not None:
        card.data["title"] = options.title
    _set_login(card, options.teach)
    card.data["models"] = list(dict.fromkeys(name.partition("@")[0] for name in listings))
    preloaded = [_preload(name, listing) for name, listing in listings.items() if not listing.restricted]
    card.data["preload_from_hub"] = preloaded or None
    if not card.text.strip() or _OWN_TEXT.fullmatch(card.text):
        card.text = f"\nShows {', '.join(f'`{name}`' for name in listings)}.\n"
    return str(card)


def _set_login(card: huggingface_hub.SpaceCard, wanted: bool) -> None:
    """Turns the login of visitors on, or off if the owner has asked for nothing else by it."""
    scopes = list(card.data.get("hf_oauth_scopes") or [])
    if wanted:
        card.data["hf_oauth"] = True
        card.data["hf_oauth_scopes"] = list(dict.fromkeys([*scopes, _OAUTH_SCOPE]))
    elif scopes == [_OAUTH_SCOPE]:
        card.data["hf_oauth"] = card.data["hf_oauth_scopes"] = None


def _card(text: str) -> huggingface_hub.SpaceCard:
    """A README.md with its header as data."""
    try:
        return huggingface_hub.SpaceCard(text)
    except (ValueError, TypeError, repocard.yaml.YAMLError):
        raise RepositoryError(
            "The header of the Space's README.md is not valid YAML: correct it on the Hub, or delete it."
        ) from None


def _preload(name: str, listing: Listing) -> str:
    """An entry of `preload_from_hub`: the files that the page reads, and the commit that has them all."""
    names = ["config.json", listing.weights, *choose_files(listing.sizes, OPTIONAL)]
    # The entry separates with spaces and commas.
    names = [file for file in names if not re.search(r"[\s,]", file)][:_MAX_PRELOADED]
    return f"{name.partition('@')[0]} {','.join(names)} {listing.commit}"


def _copy(files: dict[str, pathlib.Path], folder: pathlib.Path) -> None:
    for name, file in files.items():
        target = folder / name
        if target != file:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def requirements_and_readme(extra: str) -> tuple[list[str], str]:
    """The requirements with an extra, and README.md, from the checkout or the installed package's metadata.

    Args:
        extra: The extra of pyproject.toml, such as "page".
    """
    root = _PACKAGE.parent
    if (root / "pyproject.toml").is_file():
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        requirements = project["dependencies"] + project["optional-dependencies"][extra]
        return sorted(requirements), (root / "README.md").read_text(encoding="utf-8")
    metadata = importlib.metadata.metadata("resnext")
    requirements = []
    for line in metadata.get_all("Requires-Dist"):
        requirement, _, marker = line.partition(";")
        if marker.strip() in ("", f'extra == "{extra}"'):
            requirements.append(requirement.strip())
    return sorted(requirements), metadata["Description"]


def _limit(requirements: Sequence[str], limits: Mapping[str, str]) -> list[str]:
    """Adds upper bounds to requirements, sorted.

    Args:
        requirements: Requirements, such as "numpy>=2.1".
        limits: The bound of each package, such as {"numpy": "<2.2"}. Packages that only others require are
            added.
    """
    lines = {re.split(r"[^\w.-]", line, maxsplit=1)[0]: line for line in requirements}
    for name, bound in limits.items():
        lines[name] = f"{lines[name]},{bound}" if name in lines else f"{name}{bound}"
    return sorted(lines.values())


@contextlib.contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Turns the errors of the Hub's client into a RepositoryError."""
    try:
        yield
    except errors.LocalTokenNotFoundError:
        raise RepositoryError(
            f"To make the Space {repo_id}, log in with `hf auth login` or set HF_TOKEN."
        ) from None
    except errors.HFValidationError:
        raise RepositoryError(f"{repo_id!r} is not the name of a Space: give OWNER/NAME.") from None
    except client_errors() as error:
        check_moved(error)
        task = Task(f"the Space {repo_id} was not updated", _REFUSALS)
        raise RepositoryError(explain_fault(error, task)) from None
