"""The tab that learns new classes from a visitor's pictures, tries them, and gives the model away."""

import functools
import html
import json
import math
import pathlib
import re
import tempfile
import time
from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from resnext.errors import ImageError, RepositoryError, TeachingError
from resnext.page.archives import Entry, files_in
from resnext.page.i18n import join_sentences, request_language, translate, translate_error, translate_lazy
from resnext.page.login import can_log_in, is_from_page, login_button, push_folder
from resnext.page.markup import Picture, data_url, headline, sentence, title
from resnext.page.models import INT8, Model
from resnext.page.tabs.classify import UNSURE, image_error, in_words
from resnext.page.tabs.contract import PRIVATE, UNQUEUED, Page, Tab
from resnext.page.theme import read_static
from resnext.page.uploads import take_uploads, uploaded
from resnext.repository import BACKBONE, bundled_title, is_repo_id
from resnext.results import Evaluation
from resnext.teach import (
    LEAVE_ONE_OUT,
    MAX_ALL_BYTES,
    MAX_BYTES,
    MAX_CLASSES,
    MAX_PICTURES,
    Lesson,
    Lessons,
    Misfit,
    Network,
    Solution,
    default_network,
    write_model,
    zip_folder,
    zip_pictures,
)

BARS = 5
_BACKBONE = bundled_title(BACKBONE)
_PATTERN = "Class {number}"
# Seconds after a visitor's last change, or after they closed the page, until the pictures are forgotten.
_KEPT = 3600
_SHOWN = 12  # the newest pictures of a class, unless the visitor asks for all
_MAX_MISFITS = 12
_MAX_FAULTS = 3  # sentences on files that could not be added
_DEFAULT_NAME = "my-classes"
_SECONDS_BETWEEN_FRAMES = 0.5
_MAX_CAMERA_SECONDS = 300
_NOTHING_TRIED = "", gr.Label(visible=False)
_TITLE = '<h2 class="title">${value}</h2>'
_WAITING = '<p class="missing" role="status">${value}</p>'
_QUIET = '<p class="quiet">${value}</p>'
_TRIED = ("Photograph", "Camera")
_DARK_RATE = 0.5  # of a cell of the confusion matrix, above which its text is white
# What the script of the classes says.
_WORDS = (
    _PATTERN,
    "Name of the class",
    "Add pictures",
    "Camera",
    "Record",
    "Stop",
    "Close",
    "Add a class",
    "Add a ZIP of class folders",
    "Start over",
    "Remove the class {name}",
    "Remove picture {number} of {name}",
    "Show all {count}",
    "{count} pictures",
    "1 picture",
    "or drop them here",
    "Adding {count} …",
    "{name} could not be uploaded: it may be larger than 64 MB.",
    "The camera cannot be used: allow it in the browser, on a page with https.",
    "All classes and pictures will be removed.",
)
_AS_THEY_ARE = {name: f"{{{name}}}" for name in ("name", "number", "count")}
_CLICK_DOWNLOAD = read_static("click_download.js")


class TeachTab(Tab):
    """Classes and their pictures on the left; their results, a trial and the model on the right."""

    name = "teach"
    label = "Teach"

    def __init__(self, models):
        super().__init__(models)
        self.lessons = Lessons(MAX_ALL_BYTES)

    def build(self, page: Page):
        lesson = gr.State(time_to_live=_KEPT, delete_callback=_forget)
        with gr.Row(elem_classes="teach"):
            with gr.Column(scale=3, min_width=320):
                introduction = gr.HTML(_introduction("en"))
                if can_log_in():
                    # At the top, to be used first: it loads the page again, so that the pictures are gone.
                    login_button()
                classes = gr.HTML(
                    {"version": 0, "words": _words("en")},
                    html_template='<div class="lesson"></div>',
                    js_on_load=read_static("teach.js"),
                    apply_default_css=False,
                )
                network = gr.Dropdown(
                    [_BACKBONE],
                    value=_BACKBONE,
                    label=translate_lazy("Features from"),
                    info=translate_lazy("The bundled network knows many kinds of things, and is fast."),
                    interactive=True,
                    elem_classes="features-from",
                )
            with gr.Column(scale=2, min_width=320):
                waiting = _lazy("Add a picture to two classes, and the results appear here.", _WAITING)
                results = gr.HTML(js_on_load=read_static("pick.js"))
                with gr.Column(visible=False) as ready:
                    photograph, tried = self._build_trial(lesson)
                    name = self._build_download(lesson)
                    if can_log_in():
                        self._build_push(lesson, name)

        shown = (lesson, classes, results, ready, waiting)
        queued = {"api_visibility": "private", "show_progress": "minimal", "show_progress_on": results}
        for event in (classes.click, results.click):
            # Gradio drops an event of mode "once" that comes while it finishes the one before.
            acted = event(self.act, (lesson, network), shown, trigger_mode="multiple", **queued)
            acted.success(self.try_photograph, (lesson, photograph), tried, **PRIVATE)
            acted.failure(self.show_classes, lesson, classes, **UNQUEUED)
        changed = network.input(self.change_network, (lesson, network), shown, **queued)
        changed.success(self.try_photograph, (lesson, photograph), tried, **PRIVATE)
        return introduction, classes, network

    def _build_trial(self, lesson: gr.State) -> tuple[gr.Image, tuple]:
        """Makes what tries the classes; returns the photograph, and the answer and the bars."""
        _lazy("Try it", _TITLE)
        source = gr.Radio(
            [(translate_lazy(name), name) for name in _TRIED],
            value=_TRIED[0],
            label=translate_lazy("Try it"),
            show_label=False,
            container=False,
            elem_classes="try-with",
        )
        photograph = gr.Image(
            label=translate_lazy("Photograph"),
            type="filepath",
            sources=["upload", "clipboard"],
            height=220,
            elem_classes="tried",
            buttons=[],
        )
        take_uploads(photograph)
        camera = gr.Image(
            label=translate_lazy("Camera"),
            sources=["webcam"],
            streaming=True,
            type="pil",
            height=260,
            visible=False,
            elem_classes="tried",
        )
        answer = gr.HTML()
        bars = gr.Label(
            label=translate_lazy("Most likely classes"),
            show_heading=False,
            visible=False,
            elem_classes="likeliest",
        )
        tried = (answer, bars)
        classified = photograph.change(
            self.try_photograph,
            (lesson, photograph),
            tried,
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=bars,
        )
        classified.failure(lambda: None, None, photograph, **UNQUEUED)
        camera.stream(
            self.try_frame,
            (lesson, camera),
            tried,
            stream_every=_SECONDS_BETWEEN_FRAMES,
            time_limit=_MAX_CAMERA_SECONDS,
            **PRIVATE,
        )
        source.input(choose_source, source, (photograph, camera, *tried), **UNQUEUED)
        return photograph, tried

    def _build_download(self, lesson: gr.State) -> gr.Textbox:
        """Makes what gives the model and the pictures away; returns the model's name."""
        _lazy("Take it home", _TITLE)
        name = gr.Textbox(_DEFAULT_NAME, label=translate_lazy("Name of the model"), max_length=60)
        with gr.Row():
            model = gr.Button(translate_lazy("Download model"), variant="primary", size="md", min_width=140)
            pictures = gr.Button(translate_lazy("Download pictures"), size="md", min_width=140)
        # The style sheet hides it: a script clicks it when it has its file.
        file = gr.DownloadButton(elem_classes="taught-file")
        _lazy("Unpack the model, then show it, or fine-tune it with the unpacked pictures:", _QUIET)
        commands = gr.HTML(_commands(_DEFAULT_NAME))
        for button, download in ((model, self.download_model), (pictures, self.download_pictures)):
            made = button.click(
                download,
                (lesson, name),
                (file, commands),
                api_visibility="private",
                show_progress="minimal",
                show_progress_on=commands,
            )
            made.success(None, None, None, js=_CLICK_DOWNLOAD, **PRIVATE)
        return name

    def _build_push(self, lesson: gr.State, name: gr.Textbox) -> None:
        """Makes what pushes the model to the Hub with the visitor's own login."""
        private = gr.Checkbox(label=translate_lazy("Only I can see it"), value=True)
        push = gr.Button(translate_lazy("Push to the Hub"), size="sm")
        answer = gr.HTML()
        push.click(
            self.push,
            (lesson, name, private),
            answer,
            api_visibility="private",
            show_progress="minimal",
        )

    def show(self, model: Model, language: str):
        names = [name for name in self.models.names(model) if not name.endswith(INT8)]
        choices = list(dict.fromkeys([_BACKBONE, *names]))
        view = {"version": 0, "words": _words(language)}
        return _introduction(language), view, gr.Dropdown(choices=choices)

    def act(self, lesson: Lesson | None, network: str, event: gr.EventData, request: gr.Request) -> tuple:
        """Does what the visitor asks for with a class or picture.

        Returns:
            The lesson, the classes, the results as HTML, and whether these and the trial are shown or a hint.
        """
        language = request_language(request)
        action = event._data if isinstance(event._data, dict) else {}
        lesson = self._open(lesson, language)
        try:
            lesson.use(self._network(network))
            faults = self._do(lesson, action, language)
        except TeachingError as error:
            faults = [str(error)]
        return self._shown(lesson, language, faults, action.get("open"))

    def _do(self, lesson: Lesson, action: dict, language: str) -> list[str]:
        """Does one thing, and returns sentences on what was not done."""
        number = _number(action.get("class"))
        match action.get("do"):
            case "add":
                return _add(lesson, number, _paths(action))
            case "archive":
                return _add_folders(lesson, _paths(action))
            case "class":
                lesson.add_unnamed_class(translate(language, _PATTERN, number="{number}"))
            case "rename":
                lesson.rename_class(number, str(action.get("name")))
            case "remove class":
                lesson.remove_class(number)
            case "remove":
                lesson.remove_picture(_number(action.get("picture")))
            case "start over":
                lesson.clear()
                _begin(lesson, language)
        return []

    def change_network(self, lesson: Lesson | None, network: str, request: gr.Request) -> tuple:
        """Computes the features of all pictures with another network; returns what `act` returns."""
        language = request_language(request)
        lesson = self._open(lesson, language)
        lesson.use(self._network(network))
        return self._shown(lesson, language, [], None)

    def show_classes(self, lesson: Lesson | None, request: gr.Request) -> dict:
        """The classes as they are, after an error."""
        return _view(self._open(lesson, request_language(request)), [], None)

    def _open(self, lesson: Lesson | None, language: str) -> Lesson:
        """The visitor's lesson; a new one with two empty classes if there is none, or if it was forgotten."""
        if lesson is None:
            lesson = self.lessons.begin(default_network())
        with lesson.lock:
            if not lesson.classes:
                _begin(lesson, language)
        return lesson

    def _network(self, name: str) -> Network:
        if name == _BACKBONE:
            return default_network()
        model = self.models.get(name)
        return model.cached("network", lambda: Network(model.name, model.classifier))

    def _shown(self, lesson: Lesson, language: str, faults: list[str], opened: Any) -> tuple:
        solution = lesson.solve()
        faults = [translate_error(language, fault) for fault in faults]
        results = "" if solution is None else _results(lesson, solution, language)
        ready = solution is not None
        view = _view(lesson, faults, opened)
        return lesson, view, results, gr.Column(visible=ready), gr.HTML(visible=not ready)

    def try_photograph(
        self, lesson: Lesson | None, photograph: str | None, request: gr.Request
    ) -> tuple[str, gr.Label]:
        """The sentence on a photograph, and its most likely classes."""
        language = request_language(request)
        if lesson is None or photograph is None:
            return _NOTHING_TRIED
        try:
            return _answer(lesson, photograph, language)
        except ImageError as error:
            raise image_error(error, photograph, language) from None

    def try_frame(
        self, lesson: Lesson | None, frame: Image.Image | None, request: gr.Request
    ) -> tuple[str, gr.Label]:
        """The sentence on a picture of the camera, and its most likely classes."""
        if lesson is None or frame is None:
            return _NOTHING_TRIED
        return _answer(lesson, frame, request_language(request))

    def download_model(self, lesson: Lesson | None, name: str, request: gr.Request) -> tuple:
        """The model repository as a ZIP file, and how to use it."""
        language = request_language(request)
        name = _file_name(name)
        with tempfile.TemporaryDirectory() as folder:
            _write(lesson, pathlib.Path(folder, name), language)
            path = _downloads() / f"{name}.zip"
            zip_folder(pathlib.Path(folder, name), path)
        return gr.DownloadButton(value=str(path)), _commands(name)

    def download_pictures(self, lesson: Lesson | None, name: str, request: gr.Request) -> tuple:
        """The pictures as a ZIP file of class folders, and how to train with them."""
        language = request_language(request)
        path = _downloads() / "pictures.zip"
        zip_pictures(self._open(lesson, language), path)
        return gr.DownloadButton(value=str(path)), _commands(_file_name(name))

    def push(
        self,
        lesson: Lesson | None,
        name: str,
        private: bool,
        request: gr.Request,
        token: gr.OAuthToken | None,
    ) -> str:
        """Pushes the model to a new repository of the visitor, who has logged in; returns HTML."""
        language = request_language(request)
        if token is None or not is_from_page(request):
            text = (
                "You are not signed in, or no longer. Signing in at the top of this tab loads the page "
                "again: download the pictures first, and add the ZIP file of them afterwards."
            )
            return _said(language, text)
        name = _file_name(name)
        if not is_repo_id(name):
            return _said(language, "The Hub does not accept the name {name}: choose another one.", name=name)
        with tempfile.TemporaryDirectory() as folder:
            _write(lesson, pathlib.Path(folder), language)
            try:
                url = push_folder(pathlib.Path(folder), name, token.token, private)
            except RepositoryError as error:
                return _said(language, str(error), name=name)
        text = html.escape(translate(language, "The model is on the Hub:"))
        link = html.escape(url)
        return f'<p role="status">{text} <a href="{link}" target="_blank" rel="noopener">{link}</a></p>'


def choose_source(source: str) -> tuple:
    """Shows the photograph or the camera, and forgets what was tried with the other one."""
    camera = source == _TRIED[1]
    return gr.Image(visible=not camera, value=None), gr.Image(visible=camera), *_NOTHING_TRIED


def _forget(lesson: Lesson | None) -> None:
    if lesson is not None:
        lesson.clear()


def _begin(lesson: Lesson, language: str) -> None:
    for _ in range(2):
        lesson.add_unnamed_class(translate(language, _PATTERN, number="{number}"))


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _paths(action: dict) -> list[str]:
    paths = action.get("files")
    return [uploaded(path) for path in paths] if isinstance(paths, list) else []


def _add(lesson: Lesson, number: int, paths: list[str]) -> list[str]:
    """Adds files, and those in ZIP archives, to one class; returns sentences on what was not added."""
    return _add_files(lesson, number, files_in(paths, MAX_PICTURES))


def _add_folders(lesson: Lesson, paths: list[str]) -> list[str]:
    """Adds the files in ZIP archives, each to the class of its folder."""
    faults, folders = [], {}
    for name, source in files_in(paths, MAX_CLASSES * MAX_PICTURES):
        folder = _folder(source)
        if isinstance(source, ImageError):
            faults.append(_error_about(name, source, source))
        elif not isinstance(source, Entry):
            faults.append(f"{name} is not a ZIP file: pack the class folders into one.")
        elif not folder:
            faults.append(f"{name} is in no class folder: pack a folder for each class.")
        else:
            folders.setdefault(folder, []).append((name, source))
    # The empty classes that every lesson begins with make room.
    for one in [one for one in lesson.classes if folders and not one.pictures]:
        lesson.remove_class(one.number)
    for folder, files in folders.items():
        try:
            number = lesson.class_named(folder).number
        except TeachingError as error:
            faults.append(str(error))
            continue
        faults += _add_files(lesson, number, files)
    return faults


def _folder(source: Any) -> str:
    if not isinstance(source, Entry):
        return ""
    return pathlib.PurePosixPath(source.info.filename.replace("\\", "/")).parent.name


def _add_files(lesson: Lesson, number: int, files: list[tuple[str, Any]]) -> list[str]:
    results = lesson.add_pictures(number, [functools.partial(_read, *file) for file in files])
    faults = [
        _error_about(name, source, ImageError(result))
        for (name, source), result in zip(files, results)
        if result
    ]
    if same := results.count(""):
        faults.append(f"{same} of the pictures were there already.")
    return list(dict.fromkeys(faults))


def _read(name: str, source: str | bytes | Entry | ImageError) -> str | bytes:
    if isinstance(source, ImageError):
        raise source
    return source.read(name) if isinstance(source, Entry) else source


def _words(language: str) -> dict[str, str]:
    return {word: translate(language, word, **_AS_THEY_ARE) for word in _WORDS}


def _view(lesson: Lesson, faults: list[str], opened: Any) -> dict:
    """What the script of the classes shows."""
    opened = opened if isinstance(opened, list) else []
    if len(faults) > _MAX_FAULTS:
        faults = [*faults[:_MAX_FAULTS], f"… ({len(faults) - _MAX_FAULTS})"]
    with lesson.lock:
        classes = []
        for one in lesson.classes:
            shown = one.pictures if one.number in opened else one.pictures[-_SHOWN:]
            first = len(one.pictures) - len(shown) + 1
            pictures = [
                {"number": picture.number, "place": place, "source": data_url(picture.thumbnail)}
                for place, picture in enumerate(shown, first)
            ]
            classes.append(
                {"number": one.number, "name": one.name, "count": len(one.pictures), "pictures": pictures}
            )
        return {"version": time.time_ns() // 1000, "classes": classes, "faults": faults}


def _introduction(language: str) -> str:
    how = (
        "Name two or more classes and add a few pictures to each. The model learns after every picture: "
        "there is nothing to start."
    )
    where = (
        "No other visitor can see your pictures. This server keeps them while you teach, and deletes them "
        "an hour after you leave. At most {classes} classes, {pictures} pictures of each, {megabytes} MB."
    )
    limits = {"classes": MAX_CLASSES, "pictures": MAX_PICTURES, "megabytes": MAX_BYTES >> 20}
    return (
        title(translate(language, "Teach your own classes"))
        + sentence(translate(language, how), "lead")
        + sentence(translate(language, where, **limits), "quiet")
    )


def _results(lesson: Lesson, solution: Solution, language: str) -> str:
    """How well the pictures are recognized, as HTML."""
    parts = [title(translate(language, "How well it works"))]
    evaluation = solution.evaluation
    if evaluation is None:
        text = translate(language, "Add a second picture to a class to see how well it is recognized.")
        return "".join([*parts, sentence(text, "quiet", live=True)])
    method = _method(evaluation, language)
    correct = int(np.trace(evaluation.confusion_matrix))
    numbers = {method: f"{evaluation.top1:.0%}", translate(language, "pictures"): str(lesson.count)}
    text = translate(
        language,
        "{correct} of {count} pictures were classified correctly by a classifier that was fitted without "
        "them. Pictures that are nearly the same make this too optimistic.",
        correct=correct,
        count=evaluation.samples,
    )
    sentences = [text]
    if solution.untested:
        names = ", ".join(solution.untested)
        sentences.append(translate(language, "Not tested, with one picture each: {names}.", names=names))
    parts += [headline(numbers), sentence(join_sentences(language, sentences), "quiet", live=True)]
    parts.append(confusion_table(evaluation, language))
    if solution.misfits:
        parts.append(_misfits(solution, language))
    return "".join(parts)


def _method(evaluation: Evaluation, language: str) -> str:
    if evaluation.method == LEAVE_ONE_OUT:
        return translate(language, "leave-one-out accuracy")
    return translate(language, "cross-validation accuracy")


def confusion_table(evaluation: Evaluation, language: str) -> str:
    """A small confusion matrix as an HTML table: true classes are rows, predicted classes are columns."""
    name = html.escape(translate(language, "Confusion matrix"))
    corner = html.escape(translate(language, "true ↓ predicted →"))
    labels = [html.escape(label) for label in evaluation.classes]
    head = "".join(f'<th scope="col" title="{label}"><span>{label}</span></th>' for label in labels)
    rows = []
    for label, row in zip(labels, evaluation.confusion_matrix):
        total = max(int(row.sum()), 1)
        cells = "".join(
            f'<td style="--rate: {math.sqrt(count / total):.2f}"{_cell_kind(count, total)}>{count or ""}</td>'
            for count in map(int, row)
        )
        rows.append(f'<tr><th scope="row" title="{label}"><span>{label}</span></th>{cells}</tr>')
    return (
        f'<div class="scroll small-matrix" tabindex="0" role="region" aria-label="{name}"><table>'
        f'<thead><tr><th class="corner">{corner}</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )


def _cell_kind(count: int, total: int) -> str:
    return ' class="dark-cell"' if count / total > _DARK_RATE else ""


def _misfits(solution: Solution, language: str) -> str:
    """The pictures that do not fit, each with a button that removes it."""
    figures = []
    for misfit in solution.misfits[:_MAX_MISFITS]:
        caption = translate(language, "{label}, looks like {likelier}", **_names(misfit))
        remove = html.escape(translate(language, "Remove this picture of {label}", label=misfit.label))
        pick = html.escape(json.dumps({"do": "remove", "picture": misfit.picture.number}))
        figures.append(
            f"<figure>{Picture(misfit.picture.thumbnail, caption).html}"
            f'<button type="button" data-pick="{pick}" aria-label="{remove}" title="{remove}">×</button>'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    heading = html.escape(translate(language, "Pictures that do not fit"))
    return f'<h3 class="title">{heading}</h3><div class="misfits">{"".join(figures)}</div>'


def _names(misfit: Misfit) -> dict[str, str]:
    return {"label": misfit.label, "likelier": misfit.likelier}


def _answer(lesson: Lesson, source: str | Image.Image, language: str) -> tuple[str, gr.Label]:
    result = lesson.classify(source)
    if result is None:
        return _NOTHING_TRIED
    labels, probabilities = result.labels, result.probabilities
    order = np.argsort(-probabilities, kind="stable")[:BARS]
    best = order[0]
    if result.unknown:
        state = " unknown"
        text = "This does not look like any of the {classes} classes."
        text = translate(language, text, classes=len(labels))
    else:
        state = " unsure" if probabilities[best] < UNSURE else ""
        text = in_words(labels[best], float(probabilities[best]), len(labels), language)
    answer = f'<p class="answer{state}" role="status">{html.escape(text)}</p>'
    bars = {labels[index]: float(probabilities[index]) for index in order}
    return answer, gr.Label(bars, visible=True)


def _write(lesson: Lesson | None, folder: pathlib.Path, language: str) -> None:
    """Writes the model repository, or says to the visitor why there is none."""
    try:
        if lesson is None:
            raise TeachingError("Two classes need a picture first: add one to each.")
        write_model(lesson, folder)
    except TeachingError as error:
        text = html.escape(translate_error(language, str(error)), quote=False)
        raise gr.Error(text, print_exception=False) from None


def _downloads() -> pathlib.Path:
    """A new folder for a file to download, which Gradio deletes together with the uploads."""
    return pathlib.Path(tempfile.mkdtemp(prefix="taught-", dir=get_upload_folder()))


def _file_name(name: str) -> str:
    """The name of a model as that of a folder and of a repository."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name or "").strip("-.")[:60] or _DEFAULT_NAME


def _commands(name: str) -> str:
    """How to use the downloads, as HTML."""
    lines = (
        f"resnext app --model {name}",
        f"resnext fit pictures --output {name}-2 --pretrained {name}",
    )
    code = html.escape("\n".join(lines))
    return f'<pre class="commands" tabindex="0"><code>{code}</code></pre>'


def _said(language: str, text: str, **values: str) -> str:
    return sentence(translate(language, text, **values), "quiet", live=True)


def _lazy(text: str, template: str) -> gr.HTML:
    """A text that is translated in the browser."""
    return gr.HTML(translate_lazy(text), html_template=template, apply_default_css=False, js_on_load=None)


def _error_about(name: str, source: bytes | str | Entry | ImageError, error: ImageError) -> str:
    """What is wrong with a file, by the name that the visitor gave it and without the server's folder."""
    # str(error) may be shortened in the middle of the path.
    text = error.args[0]
    text = text.replace(source, name) if isinstance(source, str) else text.replace("The image", name, 1)
    return str(ImageError(text))
