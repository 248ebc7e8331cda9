"""Opens the page's default model in time, and in the background what the Hub could not give yet."""

import itertools
import pathlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from resnext.errors import ResNeXtError
from resnext.page.models import BUNDLED_NAME, Models, is_hub_id, without_folders
from resnext.page.runs import Run
from resnext.repository import BUNDLED, bundled_title, plain_name

# Seconds that the start of a page waits for its model. Its imports take a few more.
PATIENCE = 8.0
# Seconds between looks at the folder of a run.
_LOOK_AGAIN = 2.0
_STANDS_IN = "Until then, this page shows the bundled model."


def open_models(
    model: str | None,
    more: Iterable[str] = (),
    *,
    watch: pathlib.Path | None = None,
    refresh: float | None = None,
    patience: float = PATIENCE,
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    **options,
) -> Models:
    """Opens the page's default model, whatever the Hub does.

    If that takes too long or fails, the copy that was last downloaded stands in, or else the bundled model.
    The default model then opens by itself as soon as the Hub gives it.

    Args:
        model: A folder or repository id; the bundled model if None.
        more: Further models to offer.
        watch: The output folder of a `fit`, which need not exist yet: it is the default model, and followed.
        refresh: Seconds between questions to the Hub for new commits of the open models; None for none.
        patience: Seconds to wait for the default model.
        report: Prints a line for the page's owner.
        options: Options of `Models`.
    """
    if watch is not None:
        # A relative path could be the name of a Hub repository.
        watch = watch.expanduser().resolve()
        model = str(watch)
    model = plain_name(model) if model else None
    models = Models([model, *more, *map(bundled_title, BUNDLED)], **options)
    upkeep = Upkeep(models, refresh, report)
    if watch is not None:
        models.run = Run(watch)
        upkeep.open_run()
    elif model is None or not is_hub_id(model):
        upkeep.open_folder()
    else:
        upkeep.open_from_hub(patience)
    return models


class Upkeep:
    """Opens models in the background, and replaces them by newer commits.

    Args:
        models: The models of the page.
        refresh: Seconds between questions for new commits, or None.
        report: Prints a line for the page's owner.
    """

    def __init__(self, models: Models, refresh: float | None, report: Callable[[str], None]):
        self.models = models
        self.refresh = refresh
        self.report = report
        self._said: dict[str, str] = {}
        self._stamp: tuple = ()
        self._lock = threading.Lock()
        # Whether the owner was told that another model stands in for the default one.
        self._stands_in = False

    def open_folder(self) -> None:
        """Opens a default model that is on this machine; the bundled model stands in for an invalid one."""
        models = self.models
        try:
            models.open(models.first)
        except ResNeXtError as error:
            if models.first == BUNDLED_NAME:
                raise
            models.warning = self._stand_in(str(error))
            self.report(models.warning)
            models.open(None)
        self._start(self._follow)

    def open_run(self) -> None:
        """Opens the weights of a followed run, if it has any yet, and follows it."""
        models = self.models
        models.warning = f"The training in {models.first} has no weights yet. {_STANDS_IN}"
        self.look_at_run()
        if models.warning:
            self.report(models.warning)
        models.open(None)
        self._start(self._follow_run)
        self._start(self._follow)

    def _follow_run(self) -> None:
        while True:
            time.sleep(_LOOK_AGAIN)
            self.look_at_run()

    def look_at_run(self) -> None:
        """Reads how far the followed run has come, and loads its weights if they have changed."""
        models = self.models
        stamp = models.run.look()
        if stamp == self._stamp or not all(stamp[0]):
            return
        self._stamp = stamp
        try:
            models.reload(stamp)
        except ResNeXtError as error:
            self._say_once(models.first, str(error))
        else:
            models.warning = ""

    def open_from_hub(self, patience: float) -> None:
        """Opens a default model that is on the Hub, and retries in the background."""
        tried = threading.Event()
        models = self.models
        models.warning = self._stand_in(f"{models.first} is still being downloaded.")
        self._start(self._open_default, tried)
        if not tried.wait(patience):
            reason = f"The Hub did not answer within {patience:.0f} seconds."
            copy = models.open_copy(models.first, reason)
            if copy:
                models.warning = ""
                self._say_once(models.first, copy.notice)
        with self._lock:
            if models.warning:
                self.report(models.warning)
                self._stands_in = True
        models.open(None)

    def _open_default(self, tried: threading.Event) -> None:
        """Opens the newest commit of the default model, as often as it takes, and then follows it.

        Args:
            tried: Is set after the first try.
        """
        try:
            for pause in itertools.chain([0], _pauses()):
                time.sleep(pause)
                if self._try_default():
                    break
                tried.set()
        finally:
            tried.set()
        self._follow()

    def _try_default(self) -> bool:
        """Opens the default model. Returns whether it is the newest commit with all of its files."""
        models = self.models
        try:
            found = models.renew(models.first)
        except ResNeXtError as error:
            if models.warning:
                models.warning = self._stand_in(str(error))
            return False
        with self._lock:
            if models.warning and self._stands_in:
                self.report(f"{models.first} is open now.")
            models.warning = ""
        self._say_once(models.first, found.notice)
        return found.current

    def _follow(self) -> None:
        """Asks for new commits for as long as the page runs."""
        while self.refresh:
            time.sleep(self.refresh)
            self.look()

    def look(self) -> None:
        """Asks once for new commits of the open models, and says why there is none, once for each reason."""
        for name in self.models.followed():
            try:
                said = self.models.renew(name).notice
            except ResNeXtError as error:
                said = f"{error} Until then, this page keeps the commit of {name} that is open."
            self._say_once(name, said)

    def _say_once(self, name: str, said: str) -> None:
        reason = re.sub(r"\bin \d+ s\b", "", said)  # the same at each look but for the seconds to wait
        # A model and its int8 form are one repository, with one reason.
        if reason and reason not in self._said.values():
            self.report(said)
        self._said[name] = reason

    def _stand_in(self, reason: str) -> str:
        source = self.models.sources[self.models.first]
        return f"{without_folders(reason, source)} {_STANDS_IN}"

    def _start(self, task: Callable[..., None], *arguments) -> None:
        threading.Thread(target=task, args=arguments, daemon=True, name="upkeep").start()


def _pauses() -> Iterator[float]:
    """Seconds between tries to open a model: short ones first, then a minute each."""
    return itertools.chain([5, 10, 20, 40], itertools.repeat(60))
