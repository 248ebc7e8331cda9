"""`fit --on HARDWARE`: the same training as a Hugging Face Job, which ends with the pushed repository."""

import contextlib
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import huggingface_hub
from huggingface_hub import Volume

import resnext
from resnext.errors import RepositoryError
from resnext.hub import Task, client_errors, explain_fault, login_token

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
    api = huggingface_hub.HfApi()
    dataset = f"{repo_id}-job"
    with _explained(Task(f"no job was started for {repo_id}")):
        api.create_repo(dataset, repo_type="dataset", private=True, exist_ok=True)
        report(f"Uploading the photographs and this project to the private data set {dataset}.")
        _upload(api, dataset, data, f"photographs/{data.resolve().name}")
        _upload(api, dataset, _CODE, "project/resnext", _LEFT_OUT)
        if not (_CODE / "training").is_dir():  # a checkout
            _upload(api, dataset, pathlib.Path(__file__).parent, "project/resnext/training", _LEFT_OUT)
        job = api.run_uv_job(
            "python",
            script_args=["-m", "resnext", *arguments],
            dependencies=_requirements(hardware),
            env={"PYTHONPATH": f"{_MOUNT}/project"},
            secrets={"HF_TOKEN": login_token("start a job")},
            flavor=hardware,
            volumes=[Volume(type="dataset", source=dataset, mount_path=_MOUNT)],
            timeout=_TIMEOUT,
        )
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the client's functions for jobs are experimental
            yield
    except client_errors() as error:
        raise RepositoryError(explain_fault(error, task)) from None


def photographs_folder(data: pathlib.Path) -> str:
    """The path of a folder of photographs in the job."""
    return f"{_MOUNT}/photographs/{data.resolve().name}"


def _upload(
    api: huggingface_hub.HfApi,
    dataset: str,
    folder: pathlib.Path,
    target: str,
    left_out: Sequence[str] = (),
) -> None:
    api.upload_folder(
        repo_id=dataset,
        repo_type="dataset",
        folder_path=folder,
        path_in_repo=target,
        ignore_patterns=list(left_out),
        delete_patterns="*",
        commit_message=f"Upload {target}",
    )


def _requirements(hardware: str) -> list[str]:
    """What `fit` needs there: on a GPU, TensorFlow with CUDA's libraries."""
    requirements, _ = requirements_and_readme("train")
    if hardware.startswith("cpu"):
        return requirements
    return [line.replace("tensorflow>", "tensorflow[and-cuda]>") for line in requirements]
