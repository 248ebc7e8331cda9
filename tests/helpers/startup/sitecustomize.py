"""Python runs this when a process of the tests starts.

TensorFlow and Keras import some packages only where they are installed: scikit-learn, which comes with
NNCF, JAX, which comes with the tests, pandas, which comes with Gradio, and pyplot. That is almost half of the
time in which TensorFlow is imported, and training uses none of them.

Gradio compares the file of type hints of each of its components with the component's source, and writes it
where it differs. That is 40% of the time in which Gradio is imported.
"""

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
    """Tells these modules that the package is not installed, and keeps Gradio from writing type hints."""

    def find_spec(self, fullname, path=None, target=None):
        if components := sys.modules.get("gradio.component_meta"):
            components.create_or_modify_pyi = lambda component, name, events: None
        for name in IMPORTERS.get(fullname, ()):
            importer = sys.modules.get(name)
            if importer is not None and importer.__spec__._initializing:
                raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


gc.set_threshold(
    50_000, 20, 100
)  # the graphs that TensorFlow builds are many small objects, few of them garbage
sys.modules["sklearn"] = None
sys.meta_path.insert(0, NotInstalled())
