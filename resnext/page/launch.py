"""The page's command line: opens the models and serves the page. Gradio is imported only when it runs."""

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
        str | None,
        typer.Option(
            help="Address to listen on, 0.0.0.0 for all; default: GRADIO_SERVER_NAME, otherwise 127.0.0.1."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port to listen on; default: GRADIO_SERVER_PORT, otherwise the first free one from 7860.",
        ),
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Also serve the endpoints as tools of the Model Context Protocol.")
    ] = False,
):
    """Serve a web page that classifies photographs with a ResNeXt and shows how it was trained and tested."""
    if mcp and importlib.util.find_spec("mcp") is None:
        raise typer.BadParameter("it needs another package: pip install 'gradio[mcp]'.", param_hint="'--mcp'")
    from resnext.hub import use_writable_cache
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
        refresh=refresh,
        report=report,
        allow_any=allow_any_model,
        most=models_in_memory,
    )
    if feedback_repo:
        offered.feedback = Feedback(feedback_repo, report)
        offered.feedback.start()
    try:
        serve(build_page(offered, teach=teach), host, port, mcp_server=mcp or None)
    finally:
        # Not when Python exits: then the client cannot start the threads of an upload any more.
        if offered.feedback:
            offered.feedback.close()


def serve(
    page: "gr.Blocks", host: str | None = None, port: int | None = None, **options
) -> tuple[Any, str, str]:
    """Serves the page over HTTP.

    Args:
        page: A page made by `build_page`.
        host: The address to listen on; GRADIO_SERVER_NAME or 127.0.0.1 if left out.
        port: The port to listen on; GRADIO_SERVER_PORT or the first free one from 7860 if left out.
        options: Further options of Gradio's `launch`.

    Returns:
        What Gradio's `launch` returns: the FastAPI application, the local address and the public address.
    """
    from resnext.page.i18n import I18N
    from resnext.page.theme import CSS, THEME

    return page.launch(
        server_name=host,
        server_port=port,
        theme=THEME,
        css=CSS,
        i18n=I18N,
        footer_links=["api"],
        max_file_size="64mb",
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        # Gradio keeps 0.2 MB of each visitor for an hour.
        state_session_capacity=1000,
        **options,
    )
