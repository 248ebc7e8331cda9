"""Imports of large packages that wait until they are used."""

import importlib.util
import sys
import threading
import types


def import_when_used(name: str) -> None:
    """Puts a module in place of a package, which imports the package when the first of its names is used.

    Gradio imports pandas at its start, for caches of data frames, which this page does not have: 33 MB and
    0.3 s. (`importlib.util.LazyLoader` does not help: in Python 3.11, a second import of the package loads
    it.)

    Args:
        name: A package, such as "pandas". One that is imported already, or not installed, is left alone.
    """
    spec = importlib.util.find_spec(name)
    if name in sys.modules or spec is None or spec.loader is None:
        return
    module = types.ModuleType(name)
    module.__spec__ = spec
    lock, loader = threading.RLock(), spec.loader
    loading = False

    def load(attribute: str) -> object:
        nonlocal loading
        with lock:  # other threads wait for the whole package
            if not loading:
                loading = True
                vars(module).update(vars(importlib.util.module_from_spec(spec)))
                loader.exec_module(module)
                del module.__getattr__
        try:
            return vars(module)[attribute]
        except KeyError:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from None

    module.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = module
