"""The page's command line: opens the models and serves the page. Gradio is imported only when it runs."""

import importlib.util
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnext.errors import ConfigError
from resnext.page.hosting import (
    check_address,
    check_certificate,
    check_upload_folder,
    reach_itself_directly,
    read_accounts,
)

if TYPE_CHECKING:
    import gradio as gr

# After every event, Gradio (6.31) computes statistics of all events so far, which this page never shows: with
# 10,000 events that takes 10 ms. Gradio's queue reads these settings when a page is built.
_STATISTICS_OFF = {
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
}
for _name, _value in _STATISTICS_OFF.items():
    os.environ.setdefault(_name, _value)


def main(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option(
            envvar="RESNEXT_MODEL",
            help="Folder or Hub repository (OWNER/NAME, OWNER/NAME@REVISION); default: the bundled "
            "flowers model.",
        ),
    ] = None,
    models: Annotated[
        str,
        typer.Option(envvar="RESNEXT_MODELS", help="More models for the page's list, separated by commas."),
    ] = "",
    watch: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="RUN",
            file_okay=False,
            help="Follow the training that `fit` does in this folder: its curves, the time left, and its "
            "best weights until now, which classify.",
        ),
    ] = None,
    allow_any_model: Annotated[
        bool,
        typer.Option(
            "--allow-any-model",
            help="Let visitors open any public Hub repository, which is downloaded to this machine.",
        ),
    ] = False,
    models_in_memory: Annotated[
        int,
        typer.Option(min=1, help="Number of models kept in memory; the least recently used is closed."),
    ] = 3,
    refresh: Annotated[
        int | None,
        typer.Option(
            envvar="RESNEXT_REFRESH",
            min=1,
            metavar="SECONDS",
            help="Ask the Hub this often for new commits of the open models, and show them without a "
            "restart.",
        ),
    ] = None,
    feedback_repo: Annotated[
        str | None,
        typer.Option(
            envvar="RESNEXT_FEEDBACK_REPO",
            metavar="OWNER/NAME",
            help="Let visitors say which class is right, and store that with their photograph and consent in "
            "this data set on the Hub, which is made private.",
        ),
    ] = None,
    teach: Annotated[
        bool,
        typer.Option(
            "--teach/--no-teach",
            envvar="RESNEXT_TEACH",
            help="Let visitors teach classes of their own, which are kept in memory.",
        ),
    ] = True,
    host: Annotated[
        str,
        typer.Option(envvar="GRADIO_SERVER_NAME", help="Address to listen on, 0.0.0.0 for all."),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            envvar="GRADIO_SERVER_PORT",
            min=1,
            max=65535,
            help="Port to listen on; default: the first free one from 7860.",
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            envvar="GRADIO_ROOT_PATH",
            help="Path, or whole address, at which a web server in front of the page shows it, such as "
            "/resnext.",
        ),
    ] = "",
    auth: Annotated[
        list[str] | None,
        typer.Option(
            metavar="USER:PASSWORD",
            help="Let in only visitors who log in with this account; may be repeated. Others on this machine "
            "can read a command line: prefer --auth-file.",
        ),
    ] = None,
    auth_file: Annotated[
        pathlib.Path | None,
        typer.Option(
            envvar="RESNEXT_AUTH_FILE",
            help="File with a USER:PASSWORD in each line.",
        ),
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            "--share", help="Also show the page at a public address for a week, through Gradio's server."
        ),
    ] = False,
    ssl_certfile: Annotated[
        pathlib.Path | None,
        typer.Option(help="Certificate for HTTPS, in PEM format; needs --ssl-keyfile."),
    ] = None,
    ssl_keyfile: Annotated[
        pathlib.Path | None, typer.Option(help="Private key of the certificate, in PEM format.")
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Also serve the endpoints as tools of the Model Context Protocol.")
    ] = False,
):
    """Serve a web page that classifies photographs with a ResNeXt and shows how it was trained and tested."""
    if mcp and importlib.util.find_spec("mcp") is None:
        raise typer.BadParameter("it needs another package: pip install 'gradio[mcp]'.", param_hint="'--mcp'")
    if watch and model:
        raise typer.BadParameter("the page shows the run, not --model: give one.", param_hint="'--watch'")
    options = _serving_options(root_path, auth or [], auth_file, share, ssl_certfile, ssl_keyfile)
    host = host.strip("[]")
    check_address(host, port)
    check_upload_folder()
    reach_itself_directly(host)
    # Gradio would take an IPv6 address in it for one of IPv4.
    os.environ.pop("GRADIO_SERVER_NAME", None)
    from resnext.hub import use_writable_cache
    from resnext.page.lazy_import import import_when_used

    import_when_used("pandas")
    from resnext.page.feedback import Feedback
    from resnext.page.layout import build_page
    from resnext.page.upkeep import open_models
    from resnext.repository import is_repo_id

    prog = context.find_root().info_name

    def report(line: str) -> None:
        print(f"{prog}: {line}", file=sys.stderr, flush=True)

    if feedback_repo and not ("/" in feedback_repo and is_repo_id(feedback_repo)):
        raise typer.BadParameter(f"{feedback_repo!r} is not OWNER/NAME.", param_hint="'--feedback-repo'")
    more = [name.strip() for name in models.split(",") if name.strip()]
    if moved := use_writable_cache([name for name in (model, *more) if name]):
        report(moved)
    offered = open_models(
        model or None,
        more,
        watch=watch,
        refresh=refresh,
        report=report,
        allow_any=allow_any_model,
        most=models_in_memory,
    )
    if feedback_repo:
        offered.feedback = Feedback(feedback_repo, report)
        offered.feedback.start()
    try:
        serve(build_page(offered, teach=teach), host, port, mcp_server=mcp or None, **options)
    finally:
        # Not when Python exits: then the client cannot start the threads of an upload any more.
        if offered.feedback:
            offered.feedback.close()


def _serving_options(
    root_path: str,
    auth: list[str],
    auth_file: pathlib.Path | None,
    share: bool,
    ssl_certfile: pathlib.Path | None,
    ssl_keyfile: pathlib.Path | None,
) -> dict[str, Any]:
    """The options of Gradio's `launch` for these options of the command line, checked."""
    if root_path and not root_path.startswith(("/", "http://", "https://")):
        raise typer.BadParameter("it has to begin with / or https://.", param_hint="'--root-path'")
    if (ssl_certfile is None) != (ssl_keyfile is None):
        raise typer.BadParameter("HTTPS needs both.", param_hint="'--ssl-certfile' and '--ssl-keyfile'")
    options: dict[str, Any] = {}
    if root_path.strip("/"):
        options["root_path"] = root_path.rstrip("/")
    if accounts := read_accounts(auth, auth_file):
        options["auth"] = accounts
    if share:
        options["share"] = True
    if ssl_certfile and ssl_keyfile:
        check_certificate(ssl_certfile, ssl_keyfile)
        # Gradio asks its own address at the start, which the certificate need not name.
        options |= {
            "ssl_certfile": str(ssl_certfile),
            "ssl_keyfile": str(ssl_keyfile),
            "ssl_verify": False,
        }
    return options


def serve(
    page: "gr.Blocks", host: str | None = None, port: int | None = None, **options
) -> tuple[Any, str, str]:
    """Serves the page over HTTP.

    Args:
        page: A page made by `build_page`.
        host: The address to listen on; GRADIO_SERVER_NAME or 127.0.0.1 if left out.
        port: The port to listen on; the first free one from 7860 if left out.
        options: Further options of Gradio's `launch`.

    Returns:
        What Gradio's `launch` returns: the FastAPI application, the local address and the public address.

    Raises:
        ConfigError: No port can be opened.
    """
    from gradio.route_utils import FnIndexInferError
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware

    from resnext.page.i18n import I18N
    from resnext.page.login import LoginFaults
    from resnext.page.previews import Previews
    from resnext.page.programs import KnownEvents, no_such_endpoint
    from resnext.page.theme import CSS, THEME

    try:
        return page.launch(
            server_name=f"[{host}]" if host and ":" in host else host,
            server_port=port,
            theme=THEME,
            css=CSS,
            i18n=I18N,
            footer_links=["api"],
            max_file_size="64mb",
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            # Otherwise Gradio asks its own page, and ends if that takes 3 seconds, as on a busy machine.
            _frontend=False,
            # Gradio keeps 0.2 MB of each visitor for an hour.
            state_session_capacity=1000,
            # Gradio compresses its scripts, but not the page itself: 260 kB, of which 33 kB remain.
            app_kwargs={
                "exception_handlers": {FnIndexInferError: no_such_endpoint},
                "middleware": [
                    Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5),
                    Middleware(Previews),
                    Middleware(KnownEvents),
                    Middleware(LoginFaults),
                ],
            },
            **options,
        )
    except OSError as error:
        if error.errno is not None:
            raise
        raise ConfigError(
            "All ports that were tried are in use: choose another --port (GRADIO_SERVER_PORT)."
        ) from None
