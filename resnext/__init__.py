"""ResNeXt for Keras and OpenVINO, in timm's format: train it, push it to the Hugging Face Hub, classify with it."""

import importlib

# Name -> module. Imported when first used, so that classifying never imports TensorFlow.
_PUBLIC = {
    "Classifier": "resnext.classifier",
    "Prediction": "resnext.classifier",
    "from_pretrained": "resnext.pretrained",
    "save_pretrained": "resnext.pretrained",
    "ResNeXtError": "resnext.errors",
}
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'resnext' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
