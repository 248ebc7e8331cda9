"""ResNeXt for Keras and OpenVINO, in timm's format: train it, push it to the Hugging Face Hub, classify with it."""

import importlib
import sys

# Importing OpenVINO (2026.4) or NNCF reports it to Google Analytics through this package, unless it is not there. Nobody was asked.
sys.modules.setdefault("openvino_telemetry", None)

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
