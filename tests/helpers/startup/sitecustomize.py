"""Python runs this when a process of the tests starts.

TensorFlow and Keras import some packages only where they are installed: scikit-learn, which comes with
NNCF, JAX, which comes with the tests, pandas, which comes with Gradio, and pyplot. That is almost half of the
time in which TensorFlow is imported, and training uses none of them.

Gradio compares the file of type hints of each of its components with the component's source, and writes it
where it differs. That is 40% of the time in which Gradio is imported.

TensorFlow keeps the Python stack of each operation of a graph, for its error messages. That is almost a tenth
of the time in which a tiny network is trained.
"""

import functools
import gc
import importlib.abc
import sys

# The modules that try to import a package, by package.
IMPORTERS = {
    "jax": ("tensorflow.lite.python.util", "keras.src.callbacks.orbax_checkpoint"),
    "matplotlib.pyplot": ("keras.src.visualization.plot_image_gallery",),
    "pandas": ("keras.src.trainers.data_adapters.array_slicing",),
}


class NotInstalled(importlib.abc.MetaPathFinder):
    """Tells these modules that the package is not installed, keeps Gradio from writing type hints, and lets
    TensorFlow look at one stack only.
    """

    def find_spec(self, fullname, path=None, target=None):
        if components := sys.modules.get("gradio.component_meta"):
            components.create_or_modify_pyi = lambda component, name, events: None
        stacks = sys.modules.get("tensorflow.python.util.tf_stack")
        if hasattr(stacks, "extract_stack") and not hasattr(stacks.extract_stack, "cache_info"):
            stacks.extract_stack = functools.cache(stacks.extract_stack)
        for name in IMPORTERS.get(fullname, ()):
            importer = sys.modules.get(name)
            if importer is not None and importer.__spec__._initializing:
                raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


gc.set_threshold(
    50_000, 20, 100
)  # the graphs that TensorFlow builds are many small objects, few of them garbage
sys.modules["sklearn"] = None
sys.meta_path.insert(0, NotInstalled())
