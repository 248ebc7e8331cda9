"""`fit --on HARDWARE`: the same training as a Hugging Face Job, which ends with the pushed repository."""

import contextlib
import functools
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, Volume
from huggingface_hub.utils import DEFAULT_IGNORE_PATTERNS, filter_repo_objects

import resnext
from resnext.errors import RepositoryError
from resnext.hub_errors import Task, client_errors, explain_fault, login_token
from resnext.hub_push import upload_contents
from resnext.hub_requests import with_retries

from .push import quiet_client
from .space import requirements_and_readme

_CODE = pathlib.Path(resnext.__file__).parent
_MOUNT = "/job"  # where the job sees the data set with the photographs and this project
_TIMEOUT = "1d"  # after which the Hub ends a job
_LEFT_OUT = ("**/__pycache__/**", "__pycache__/**", "flowers/**")  # of the project
_FINISHED = "COMPLETED"


def fit_on(
    hardware: str,
    data: pathlib.Path,
    arguments: Sequence[str],
    repo_id: str,
    report: Callable[[str], object] = print,
) -> None:
    """Runs `fit` as a Hugging Face Job, and streams its log.

    The photographs and this project are uploaded to a private data set, REPO-job, which the job mounts. A
    second job uploads only what has changed.

    Args:
        hardware: The name of the hardware, such as "a10g-small" (`hf jobs hardware`).
        data: The folder of photographs.
        arguments: The arguments of `fit`, in which DATA is written as `photographs_folder(data)`, with
            --push-to-hub and without --on.
        repo_id: The Hub repository that the job pushes to, OWNER/NAME.
        report: Called with each line of progress and of the log.

    Raises:
        RepositoryError: The Hub refuses, cannot be reached, or the job fails.
    """
    with quiet_client(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the client's functions for jobs are experimental
        job = _start(huggingface_hub.HfApi(), hardware, data, arguments, repo_id, report)
        _follow(huggingface_hub.HfApi(), job, hardware, report)


def _start(
    api: huggingface_hub.HfApi,
    hardware: str,
    data: pathlib.Path,
    arguments: Sequence[str],
    repo_id: str,
    report: Callable[[str], object],
) -> huggingface_hub.JobInfo:
    """Uploads what the job needs, and starts it."""
    dataset = f"{repo_id}-job"
    token = login_token("start a job")

    def ask(request: Callable, **options):
        task = Task(f"no job was started for {repo_id}")
        return with_retries(request, dataset, lambda _: _explained(task), uploading=True, **options)

    ask(lambda: api.create_repo(dataset, repo_type="dataset", private=True, exist_ok=True))
    if not ask(lambda: api.dataset_info(dataset)).private:
        raise RepositoryError(
            f"The data set {dataset} is public, so the photographs were not uploaded: make it private in its "
            "settings on the Hub, or delete it there."
        )
    report(f"Uploading the photographs and this project to the private data set {dataset}.")
    upload = functools.partial(_upload, ask, api, dataset)
    upload(data, f"photographs/{data.resolve().name}")
    upload(_CODE, "project/resnext", _LEFT_OUT)
    if not (_CODE / "training").is_dir():  # a checkout
        upload(pathlib.Path(__file__).parent, "project/resnext/training", _LEFT_OUT)
    return ask(
        lambda: api.run_uv_job(
            "python",
            script_args=["-m", "resnext", *arguments],
            dependencies=_requirements(hardware),
            env={"PYTHONPATH": f"{_MOUNT}/project"},
            secrets={"HF_TOKEN": token},
            flavor=hardware,
            volumes=[Volume(type="dataset", source=dataset, mount_path=_MOUNT)],
            timeout=_TIMEOUT,
        ),
        attempts=1,  # a job that was started although the answer is a fault must not run twice
    )


def _follow(
    api: huggingface_hub.HfApi,
    job: huggingface_hub.JobInfo,
    hardware: str,
    report: Callable[[str], object],
) -> None:
    """Streams the log of a job until it has ended."""
    report(f"Job {job.id} on {hardware}: {job.url}")
    with _explained(Task("the log ends here, but the job continues", step=_ways_to_continue(job.id))):
        try:
            for line in api.fetch_job_logs(job_id=job.id, follow=True):
                report(line)
        except KeyboardInterrupt:
            report(f"The job continues: {_ways_to_continue(job.id)}.")
            raise
        status = api.inspect_job(job_id=job.id).status
    if status.stage != _FINISHED:
        reason = f" ({status.message})" if status.message else ""
        raise RepositoryError(
            f"Job {job.id} ended as {status.stage}{reason}: its log is above and at {job.url}. Start it "
            "again with the same command."
        )


def _ways_to_continue(job: str) -> str:
    return f"follow it with `hf jobs logs {job}`, or end it with `hf jobs cancel {job}`"


@contextlib.contextmanager
def _explained(task: Task) -> Iterator[None]:
    """Turns the errors of the Hub's client into a RepositoryError."""
    try:
        yield
    except client_errors() as error:
        raise RepositoryError(explain_fault(error, task)) from None


def photographs_folder(data: pathlib.Path) -> str:
    """The path of a folder of photographs in the job."""
    return f"{_MOUNT}/photographs/{data.resolve().name}"


def _upload(
    ask: Callable,
    api: huggingface_hub.HfApi,
    dataset: str,
    folder: pathlib.Path,
    target: str,
    left_out: Sequence[str] = (),
) -> None:
    """Makes a folder of the data set the same as one here, in steps that can each be repeated."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    ignored = [*DEFAULT_IGNORE_PATTERNS, *left_out]
    files = {
        f"{target}/{name}": folder / name for name in filter_repo_objects(names, ignore_patterns=ignored)
    }
    there = ask(lambda: api.list_repo_files(dataset, repo_type="dataset"))
    gone = [name for name in there if name.startswith(f"{target}/") and name not in files]
    additions = [CommitOperationAdd(name, file) for name, file in files.items()]
    deletions = [CommitOperationDelete(name) for name in gone]
    upload_contents(ask, api, dataset, additions, repo_type="dataset")
    ask(
        lambda: api.create_commit(
            dataset, [*additions, *deletions], commit_message=f"Upload {target}", repo_type="dataset"
        )
    )


def _requirements(hardware: str) -> list[str]:
    """What `fit` needs there: on a GPU, TensorFlow with CUDA's libraries."""
    requirements, _ = requirements_and_readme("train")
    if hardware.startswith("cpu"):
        return requirements
    return [line.replace("tensorflow>", "tensorflow[and-cuda]>") for line in requirements]
