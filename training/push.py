"""Pushes a model repository to the Hugging Face Hub: one commit, which keeps what its owner wrote there."""

import contextlib
import dataclasses
import io
import json
import pathlib
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator

import httpx2
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, errors, utils
from huggingface_hub.utils import logging
from huggingface_hub.utils.sha import git_hash, sha_fileobj

from resnext.atomic import write_atomically
from resnext.card import MAX_EVALUATION_BYTES, generate
from resnext.config import ModelConfig
from resnext.errors import RepositoryError, printable
from resnext.hub_errors import Task, client_errors, explain_fault, login_token
from resnext.hub_push import discard_new, read_user, upload_contents
from resnext.hub_requests import StalledError, error_chain, http_status, with_retries
from resnext.int8 import GRAPH, NOTES, WEIGHTS, is_stale
from resnext.readme import Card, Generated, merge, render
from resnext.recipe_file import JSON_ERRORS
from resnext.repository import NEEDED, Repository, load_tensors, own_files, plain_name
from resnext.results import EVALUATION, FIGURES, read_evaluation
from resnext.shapes import tensor_shapes
from resnext.weights import check_shapes, weights_file

from .run_folder import PRIVATE, RunFolder

_README = "README.md"
_KEPT_README = "README.local.md"
_TRAINING_FIGURES = {"figures/batch.png", "figures/curves.png"}  # the others are of an evaluation
_PUSHES = "pushes.json"  # in the private folder: what a person had written in each card that was pushed
# Of reading the Hub's head and committing to it, as another commit may come between: whether it is the last.
ROUNDS = (False, True)
_ROLES_WITHOUT_WRITING = {"read"}
_NAME = re.compile(r"[\w.-]+", re.ASCII)
_REFUSALS = {
    403: (
        "The Hub does not let you write there",
        "log in with `hf auth login` and a token that has write access",
    ),
    404: ("The repository or a part of it is not on the Hub", "push again"),
    409: ("The repository is being changed on the Hub", "push again"),
    413: ("The push is too large for the Hub", "delete large figures or examples, then push again"),
}

Report = Callable[[str], object]


@dataclasses.dataclass(frozen=True)
class PushOptions:
    """How a repository is pushed.

    Args:
        private: Whether the repository is to be private. One that is public already is refused.
        message: The first line of the commit. Default: "Upload", and the folder's name.
        revision: The branch to commit to, which is created if it does not exist. Default: the main branch.
        tag: A tag for the commit.
        license: The license that the card states, as the Hub names it. Default: the one it states already.
        create_pr: Whether to open a pull request instead of committing.
        dry_run: Whether to say what would be pushed, and push nothing.

    Raises:
        RepositoryError: Two of them exclude each other, or a name is not valid.
    """

    private: bool = False
    message: str | None = None
    revision: str | None = None
    tag: str | None = None
    license: str | None = None
    create_pr: bool = False
    dry_run: bool = False

    def __post_init__(self):
        if self.create_pr and self.revision:
            raise RepositoryError(
                "A pull request is opened against main: leave --revision or --create-pr out."
            )
        if self.create_pr and self.tag:
            raise RepositoryError("A pull request cannot be tagged: leave --tag or --create-pr out.")
        if self.message is not None and not self.message.strip():
            raise RepositoryError("--message is empty: give the first line of the commit, or leave it out.")
        for option, value in (("--revision", self.revision), ("--tag", self.tag)):
            if value is not None and (not _NAME.fullmatch(value) or ".." in value or value.endswith(".lock")):
                raise RepositoryError(
                    f"{option} {value!r} is not a valid name: use letters, digits, '.', '_' and '-'."
                )


@dataclasses.dataclass(frozen=True)
class _Head:
    """The state of a branch on the Hub.

    Args:
        commit: The commit at its head; None if the repository does not exist.
        private: Whether the repository is private.
        files: Size and hash of each file by its path.
        card: Its README.md, if it has one.
        branch_exists: Whether the branch exists, or only the repository.
    """

    commit: str | None = None
    private: bool = False
    files: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)
    card: Card | None = None
    branch_exists: bool = True


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What a commit consists of.

    Args:
        card: The text of the new README.md.
        add: The contents to add or change by their paths in the repository.
        delete: The paths to delete.
        notices: What the user should know.
        own_card: The local card, if its own text is not pushed because the Hub's was changed, too.
        has_local_words: Whether what a person wrote in the card is what the local card has.
    """

    card: str
    add: dict[str, pathlib.Path | bytes]
    delete: list[str]
    notices: list[str]
    own_card: bytes | None = None
    has_local_words: bool = False


def push(
    folder: pathlib.Path,
    repo_id: str,
    options: PushOptions = PushOptions(),
    *,
    report: Report = print,
    notify: Report | None = None,
    ask_license: Callable[[], str] | None = None,
    snapshot_of: pathlib.Path | None = None,
) -> str | None:
    """Pushes a model repository to the Hub as one commit, and makes its model card name the Hub repository.

    What its owner wrote on the Hub is kept: only generated sections and metadata of its card change. A stale
    int8 graph and stale test results, which are of other weights, are not pushed. A push that fails leaves
    nothing on the Hub, and writes nothing here.

    Args:
        folder: The model repository, with at least config.json and model.safetensors.
        repo_id: The Hub repository, OWNER/NAME. It is created if it does not exist.
        options: How it is pushed.
        report: Called with each line of a dry run, and if there is nothing to push.
        notify: Called with each line that the user should know. Default: `report`.
        ask_license: Asks the user for the license, if no card states one and it was not asked for before.
        snapshot_of: The folder that `folder` has files of. Its card, which its owner may be editing, is left
            as it is.

    Returns:
        The URL of the commit or pull request; None if there was nothing to push, or in a dry run.

    Raises:
        ResNeXtError: The folder is incomplete or does not fit together, the login is missing, or the Hub
            refuses or cannot be reached.
    """
    repo_id = plain_name(repo_id)
    _check_folder(folder)
    run = RunFolder(folder)
    with run.lock(), quiet_client():
        run.repair()
        run.sweep()
        pushing = _Push(folder, repo_id, options, report, notify or report, ask_license, snapshot_of)
        return pushing.run()


def check_push(
    repo_id: str,
    options: PushOptions = PushOptions(),
    ask_license: Callable[[], str] | None = None,
) -> str | None:
    """Checks what a later push needs, before anything is trained.

    Args:
        repo_id: The Hub repository, OWNER/NAME.
        options: How it will be pushed.
        ask_license: Asks the user for the license, if the card on the Hub states none.

    Returns:
        The license, if it is known.

    Raises:
        RepositoryError: The name is invalid, the login is missing or invalid, the repository is not one that
            it may write to, the license is not known to the Hub, or the Hub cannot be reached.
    """
    repo_id = plain_name(repo_id)
    with quiet_client():
        api = _log_in(repo_id, options)
        head = _read_head(api, repo_id, options)
        _check_visibility(repo_id, head, options)
        chosen = options.license or (head.card.metadata.get("license") if head.card else None)
        if not chosen and ask_license:
            chosen = ask_license().strip()
        chosen = chosen if chosen and isinstance(chosen, str) else None
        metadata = {"license": chosen} if chosen else {"tags": []}
        _validate(render(Generated(metadata, {})), repo_id)
    return chosen


def command_line(folder: pathlib.Path, repo_id: str, options: PushOptions) -> str:
    """The arguments of the command line that pushes a folder by hand."""
    words = ["push", str(folder), repo_id, *["--private"] * options.private]
    words += ["--license", options.license] if options.license else []
    return shlex.join(words)


class _Push:
    """One push.

    Args:
        folder: The model repository, which is locked.
        repo_id: The Hub repository.
        options: How it is pushed.
        report: Called with each line of a dry run, and if there is nothing to push.
        notify: Called with each line that the user should know.
        ask_license: Asks the user for the license.
        snapshot_of: The folder that this one has files of.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        repo_id: str,
        options: PushOptions,
        report: Report,
        notify: Report,
        ask_license: Callable[[], str] | None,
        snapshot_of: pathlib.Path | None,
    ):
        self.folder = folder
        self.repo_id = repo_id
        self.options = options
        self.report = report
        self.notify = notify
        self.ask_license = ask_license
        self.license = options.license
        self.tag = options.tag
        self.snapshot_of = snapshot_of
        self.record_file = (snapshot_of or folder) / PRIVATE / _PUSHES
        self.record = _read_record(self.record_file)
        # Read before the first request, so that an invalid file is reported without one.
        self.local_card = _read_local_card(folder)
        generate(folder, repo_id)
        self.stale = _stale_files(folder)

    def run(self) -> str | None:
        """Pushes, and returns the URL."""
        self.api = _log_in(self.repo_id, self.options)
        sent = False
        for last in ROUNDS:
            head = _read_head(self.api, self.repo_id, self.options)
            _check_visibility(self.repo_id, head, self.options)
            if head.commit is None and self.options.create_pr:
                raise RepositoryError(
                    f"{self.repo_id} does not exist, so it can have no pull request: leave --create-pr out."
                )
            plan = self._plan(head)
            unchanged = not plan.add and not plan.delete and head.branch_exists
            self._check_tag(head, unchanged)
            if self.options.dry_run:
                self._describe(head, plan)
                return None
            if unchanged:
                return self._finish_unchanged(head, plan, sent)
            _validate(plan.card, self.repo_id)
            try:
                url, commit = self._commit(head, plan)
                break
            except MovedError as moved:
                sent = True
                if last:
                    raise RepositoryError(moved.explain(self.repo_id, "the push", "push again")) from None
        self._finish(plan)
        self._tag(commit)
        return url

    def _plan(self, head: _Head) -> _Plan:
        """What differs from the Hub."""
        chosen, own, notices = self._choose_card(head)
        self._choose_license(chosen, notices)
        generated = generate(self.folder, self.repo_id, self.license)
        text = merge(chosen, generated) if chosen else render(generated)
        local: dict[str, pathlib.Path | bytes] = {_README: text.encode()}
        for path in own_files(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if name != _README and name not in self.stale:
                local[name] = path
        add = {
            name: content for name, content in local.items() if not _is_same(content, head.files.get(name))
        }
        delete = []
        if EVALUATION in local:  # a new evaluation replaces the pictures and figures of the old one
            pictures = (name for name in head.files if pathlib.PurePosixPath(name).match("mistakes/*.jpg"))
            figures = (f"figures/{name}" for name in FIGURES if f"figures/{name}" in head.files)
            delete = sorted(name for name in (*pictures, *figures) if name not in local)
        same = bool(chosen and self.local_card and chosen.fingerprint() == self.local_card.fingerprint())
        return _Plan(text, add, delete, notices, own, same)

    def _choose_card(self, head: _Head) -> tuple[Card | None, bytes | None, list[str]]:
        """The card whose own text is kept: the Hub's, unless only the local one was changed since a push."""
        local = self.local_card
        if head.card is None or local is None:
            return head.card or local, None, []
        # A list; of earlier versions, its only element.
        pushed = self.record.get("cards", {}).get(self._card_key(), ())
        here, there = local.fingerprint(), head.card.fingerprint()
        if here == there or here in pushed or local.is_generated:
            return head.card, None, []
        if there in pushed or head.card.is_generated:
            return local, None, []
        notice = (
            f"README.md was changed both here and in {self.repo_id} on the Hub: the Hub's words are kept, "
            f"and yours are in {self.folder / _KEPT_README}."
        )
        return head.card, (self.folder / _README).read_bytes(), [notice]

    def _card_key(self) -> str:
        return f"{self.repo_id}@{self.options.revision or 'main'}"

    def _choose_license(self, card: Card | None, notices: list[str]) -> None:
        if self.license or (card and card.metadata.get("license")):
            return
        if self.ask_license and not self.record.get("license_asked") and not self.options.dry_run:
            self.license = self.ask_license().strip() or None
            self.record["license_asked"] = True
        if not self.license:
            notices.append(
                f"The card of {self.repo_id} states no license: add one with --license, such as apache-2.0."
            )

    def _describe(self, head: _Head, plan: _Plan) -> None:
        """The report of a dry run."""
        if head.commit is None:
            kind = "private" if self.options.private else "public"
            self.report(f"Would create the {kind} repository {self.repo_id}.")
        elif not head.branch_exists:
            self.report(f"Would create the branch {self.options.revision}.")
        for name, content in plan.add.items():
            verb = "change" if name in head.files else "add"
            self.report(f"Would {verb} {name} ({_size(content):,} bytes).")
        for name in plan.delete:
            self.report(f"Would delete {name}.")
        if not plan.add and not plan.delete:
            self.report(f"{self.repo_id} has this content already: nothing would be pushed.")
        if self.options.tag:
            self.report(f"Would tag the commit {self.options.tag}.")
        for notice in plan.notices:
            self.notify(notice)

    def _finish_unchanged(self, head: _Head, plan: _Plan, sent: bool) -> str | None:
        assert head.commit is not None
        self._finish(plan)
        self._tag(head.commit)
        if sent:  # the commit was made, and its answer was lost
            return f"{self.api.endpoint}/{self.repo_id}/commit/{head.commit}"
        self.report(f"{self.repo_id} has this content already: nothing was pushed.")
        return None

    def _finish(self, plan: _Plan) -> None:
        """Writes the local card as it was pushed, and what to compare it with next time.

        Raises:
            RepositoryError: That failed.
        """
        for notice in plan.notices:
            self.notify(notice)
        try:
            self._write_card(plan)
        except OSError as error:
            raise RepositoryError(
                f"{self.repo_id} was pushed, but its card cannot be written to {self.folder} "
                f"({error.strerror}): correct that, then push again."
            ) from None

    def _write_card(self, plan: _Plan) -> None:
        if self.snapshot_of and not plan.has_local_words:
            return  # the card there does not have the Hub's words yet
        if plan.own_card is not None:
            write_atomically(self.folder / _KEPT_README, plan.own_card)
        write_atomically(self.folder / _README, plan.card)
        if not self.options.create_pr:
            pushed = {Card.parse(plan.card.encode(), _README).fingerprint()}
            if self.snapshot_of and self.local_card:  # which stays without the license, for example
                pushed.add(self.local_card.fingerprint())
            self.record["cards"] = {**self.record.get("cards", {}), self._card_key(): sorted(pushed)}
        write_atomically(self.record_file, json.dumps(self.record) + "\n")

    def _commit(self, head: _Head, plan: _Plan) -> tuple[str, str]:
        """Makes the commit, with what it needs: the repository and the branch."""
        created = head.commit is None
        branched = bool(self.options.revision) and (created or not head.branch_exists)
        parent = head.commit
        additions = self._read(plan)
        try:
            parent = parent or self._create_repository()
            if branched:
                self._ask(lambda: self.api.create_branch(self.repo_id, branch=self.options.revision))
            return self._upload(parent, plan, additions)
        except _ConflictError:  # made by somebody else meanwhile, or by a request whose answer was lost
            raise MovedError(sent=False) from None
        except (RepositoryError, KeyboardInterrupt):
            if parent:
                self._undo(created, branched, parent)
            raise

    def _read(self, plan: _Plan) -> list[CommitOperationAdd]:
        """Reads the files to add, before anything is made on the Hub."""
        additions = []
        for name, content in plan.add.items():
            try:
                additions.append(CommitOperationAdd(name, content))
            except (OSError, ValueError) as error:  # ValueError: it is not a file any more
                reason = getattr(error, "strerror", None) or "it was removed"
                raise RepositoryError(
                    f"{self.folder / name} cannot be read ({reason.lower()}), so nothing was pushed to "
                    f"{self.repo_id}: correct that, then push again."
                ) from None
        return additions

    def _create_repository(self) -> str:
        self._ask(lambda: self.api.create_repo(self.repo_id, private=self.options.private))
        head = _read_head(self.api, self.repo_id, dataclasses.replace(self.options, revision=None))
        if head.commit is None:
            raise RepositoryError(f"{self.repo_id} was created on the Hub, but is not there: push again.")
        return head.commit

    def _upload(self, parent: str, plan: _Plan, additions: list[CommitOperationAdd]) -> tuple[str, str]:
        deletions = [CommitOperationDelete(name) for name in plan.delete]
        where = {"revision": self.options.revision, "create_pr": self.options.create_pr}

        def commit():
            return self.api.create_commit(
                self.repo_id,
                [*additions, *deletions],
                commit_message=self.options.message or f"Upload {self.folder.resolve().name}",
                parent_commit=parent,
                **where,
            )

        upload_contents(self._ask, self.api, self.repo_id, additions, **where)
        info = self._ask(commit)
        return info.pr_url or info.commit_url, info.oid

    def _undo(self, created: bool, branched: bool, parent: str) -> None:
        """Removes what this push has created for a commit that failed, if it is still empty."""
        if created:
            discard_new(self._ask, self.api, self.repo_id)
        if created or not branched:
            return
        with contextlib.suppress(RepositoryError):
            if _read_head(self.api, self.repo_id, self.options).commit == parent:
                self._ask(lambda: self.api.delete_branch(self.repo_id, branch=self.options.revision))

    def _check_tag(self, head: _Head, unchanged: bool) -> None:
        """Refuses a tag that is another commit's, and leaves out one that is there already."""
        if not self.tag or head.commit is None:
            return
        refs = self._ask(lambda: self.api.list_repo_refs(self.repo_id))
        there = next((ref.target_commit for ref in refs.tags if ref.name == self.tag), None)
        if there and unchanged and there == head.commit:
            self.tag = None
        elif there:
            raise RepositoryError(f"{self.repo_id} has a tag {self.tag} already: choose another --tag.")

    def _tag(self, commit: str) -> None:
        if not self.tag:
            return
        task = Task(f"{self.repo_id} has the commit {commit[:7]}, but not the tag {self.tag}", _REFUSALS)
        _ask(lambda: self.api.create_tag(self.repo_id, tag=self.tag, revision=commit), self.repo_id, task)

    def _ask(self, ask: Callable):
        return _ask(ask, self.repo_id)


class MovedError(Exception):
    """The head of the branch is not what it was.

    Args:
        sent: Whether that may be because this commit was made, and its answer was lost.
    """

    def __init__(self, *, sent: bool):
        super().__init__()
        self.sent = sent

    def explain(self, name: str, task: str, step: str) -> str:
        """Why a commit was given up after the last of `ROUNDS`, and what to do.

        Args:
            name: The repository.
            task: What the commit was for, such as "the push".
            step: The next step.
        """
        if self.sent:
            return f"The connection to the Hub broke twice during {task} of {name}: {step}."
        return f"{name} was changed on the Hub twice during {task}, and nothing was overwritten: {step}."


def check_moved(error: BaseException) -> None:
    """Raises MovedError if the head of the branch may have moved, so that it has to be read again.

    Args:
        error: One of `client_errors`.
    """
    status = http_status(error)
    if _is_commit(error) and (status == 412 or status is None):
        raise MovedError(sent=status is None) from None


class _ConflictError(RepositoryError):
    """What is to be created exists."""


def _check_folder(folder: pathlib.Path) -> None:
    """Checks that the weights are there and fit config.json, and that all files can be published."""
    weights = weights_file(folder)
    if weights.name not in NEEDED and weights.is_file():
        raise RepositoryError(
            f"{folder} has its weights in {weights.name}, which other programs do not look for: rename it to "
            "model.safetensors, then push again."
        )
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise RepositoryError(f"{folder} has no {missing[0]}: make a model repository with the fit command.")
    for file in own_files(folder):
        if any("\ud800" <= character <= "\udfff" for character in file.name):
            raise RepositoryError(
                f"The name of {printable(str(file))} is not UTF-8: rename the file, then push again."
            )
    config = ModelConfig.read(folder / "config.json")
    tensors = load_tensors(Repository(str(folder), folder), config)
    check_shapes(
        tensors, tensor_shapes(config.architecture, config.num_classes), folder / "model.safetensors"
    )


def _read_local_card(folder: pathlib.Path) -> Card | None:
    path = folder / _README
    return Card.parse(path.read_bytes(), str(path)) if path.exists() else None


def _read_record(path: pathlib.Path) -> dict:
    try:
        return dict(json.loads(path.read_bytes()))
    except JSON_ERRORS:
        return {}


def _stale_files(folder: pathlib.Path) -> set[str]:
    """The files that belong to other weights."""
    files = {GRAPH, WEIGHTS, NOTES} if is_stale(folder) else set()
    evaluation = read_evaluation(folder, MAX_EVALUATION_BYTES)
    if evaluation and evaluation.is_stale(folder):
        pictures = {*folder.glob("figures/*"), *folder.glob("mistakes/*")}
        files |= {EVALUATION, *(path.relative_to(folder).as_posix() for path in pictures)}
        files -= _TRAINING_FIGURES
    return files


def _size(content: pathlib.Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _is_same(content: pathlib.Path | bytes, there: tuple[int, str] | None) -> bool:
    """Whether a file has the size and the hash (SHA-256 in LFS, otherwise Git's) that the Hub announces."""
    if there is None or there[0] != _size(content):
        return False
    if len(there[1]) == 40:
        return git_hash(content if isinstance(content, bytes) else content.read_bytes()) == there[1]
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        return sha_fileobj(file).hex() == there[1]


def _log_in(repo_id: str, options: PushOptions) -> huggingface_hub.HfApi:
    """The Hub's client, once name and login are checked."""
    if "@" in repo_id:
        raise RepositoryError(f"{repo_id!r} names a revision: give OWNER/NAME, and a branch with --revision.")
    owner, _, name = repo_id.partition("/")
    if not owner or not name:
        raise RepositoryError(f"{repo_id!r} is not a valid repository id: give OWNER/NAME.")
    try:
        utils.validate_repo_id(repo_id)
    except errors.HFValidationError as error:
        raise RepositoryError(
            f"{repo_id!r} is not a valid repository id, such as OWNER/NAME: {error}"
        ) from None
    if not login_token(f"push to {repo_id}"):
        raise RepositoryError(f"To push to {repo_id}, log in with `hf auth login` or set HF_TOKEN.")
    api = huggingface_hub.HfApi()

    def ask() -> tuple[set[str], str]:
        user = read_user(api)
        names = {user["name"], *(organization["name"] for organization in user.get("orgs", ()))}
        role = ((user.get("auth") or {}).get("accessToken") or {}).get("role", "")
        return {str(name).casefold() for name in names}, str(role)

    names, role = _ask(ask, repo_id)
    if role in _ROLES_WITHOUT_WRITING:
        raise RepositoryError(
            f"Nothing was pushed to {repo_id}, because your token can only read: make one with write access "
            "at huggingface.co/settings/tokens, then log in with `hf auth login`."
        )
    if owner.casefold() not in names and not options.create_pr:
        raise RepositoryError(
            f"Nothing was pushed to {repo_id}, because your account is neither {owner} nor in an "
            "organization of that name: push to a repository of your own, or add --create-pr."
        )
    return api


def _read_head(api: huggingface_hub.HfApi, repo_id: str, options: PushOptions) -> _Head:
    """Reads what the Hub has: the head of the branch, its files and its card."""

    def ask(revision: str | None) -> _Head | None:
        try:
            info = api.model_info(repo_id, revision=revision, files_metadata=True)
        except errors.RevisionNotFoundError:
            return None
        except errors.RepositoryNotFoundError:
            return _Head()
        if info.id.casefold() != repo_id.casefold():
            raise RepositoryError(f"{repo_id} is called {info.id} on the Hub now: push to that name.")
        files = {
            str(file.rfilename): (int(file.size or 0), str(file.lfs.sha256 if file.lfs else file.blob_id))
            for file in info.siblings
        }
        if not re.fullmatch("[0-9a-f]{40}", info.sha):
            raise ValueError("the commit is not a hash")
        return _Head(info.sha, bool(info.private), files)

    head = _ask(lambda: ask(options.revision), repo_id)
    if head is None:  # a new branch begins at the head of main
        head = dataclasses.replace(_ask(lambda: ask(None), repo_id), branch_exists=False)
    if _README not in head.files:
        return head

    def download() -> bytes:
        with tempfile.TemporaryDirectory() as folder, no_progress_bars():
            path = api.hf_hub_download(repo_id, _README, revision=head.commit, local_dir=folder)
            return pathlib.Path(path).read_bytes()

    content = _ask(download, repo_id)
    if not _is_same(content, head.files[_README]):
        raise RepositoryError(f"README.md of {repo_id} arrived damaged, so nothing was pushed: push again.")
    return dataclasses.replace(head, card=Card.parse(content, f"README.md of {repo_id} on the Hub"))


def _check_visibility(repo_id: str, head: _Head, options: PushOptions) -> None:
    if options.private and head.commit is not None and not head.private:
        raise RepositoryError(
            f"{repo_id} is public, so nothing was pushed: make it private in its settings on the Hub, choose "
            "another name, or leave --private out."
        )


def _validate(card: str, repo_id: str) -> None:
    """Lets the Hub check the metadata of a card, before anything is changed there."""

    def ask() -> str:
        try:
            huggingface_hub.ModelCard(card).validate()
        except ValueError as error:
            if not isinstance(error.__context__, errors.HfHubHTTPError):
                raise
            return _said_of_card(str(error))
        return ""

    fault = _ask(ask, repo_id)
    if fault:
        raise RepositoryError(
            f"Nothing was pushed to {repo_id}, because the Hub does not accept the metadata of its card "
            f"({fault}): correct README.md, or give another --license."
        )


def _said_of_card(answer: str) -> str:
    try:
        values = json.loads(answer)
        said = "; ".join(str(one["message"]) for one in values.get("errors", ())) or str(values["error"])
    except JSON_ERRORS:
        said = "without a reason"
    return printable(" ".join(said.split()))[:300]


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """Switches the progress bars of the Hub's client off."""
    were_off = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            utils.enable_progress_bars()


@contextlib.contextmanager
def quiet_client() -> Iterator[None]:
    """Keeps the Hub's client from printing warnings, which show addresses, and progress bars."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", message="Warnings while validating metadata")
    try:
        with contextlib.nullcontext() if sys.stderr.isatty() else no_progress_bars():
            yield
    finally:
        logging.set_verbosity(level)


def _ask(ask: Callable, repo_id: str, task: Task | None = None):
    task = task or Task(f"nothing was pushed to {repo_id}", _REFUSALS)
    return with_retries(ask, repo_id, lambda _: _explained(task), uploading=True)


@contextlib.contextmanager
def _explained(task: Task) -> Iterator[None]:
    """Turns the errors of the Hub's client into a RepositoryError."""
    try:
        yield
    except client_errors() as error:
        check_moved(error)
        kind = _ConflictError if http_status(error) == 409 else RepositoryError
        raise kind(explain_fault(error, task)) from None


def _is_commit(error: BaseException) -> bool:
    """Whether it is the error of a commit that was refused, or whose request or answer was lost."""
    lost = (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError, httpx2.ReadTimeout, StalledError)
    for one in error_chain(error):
        if isinstance(one, (*lost, httpx2.HTTPStatusError, errors.HfHubHTTPError)):
            with contextlib.suppress(RuntimeError):  # an error without its request
                return "/commit/" in one.request.url.path and "create_pr" not in one.request.url.params
    return False
