"""Train ResNeXt with Keras, serve it with OpenVINO, and share it on the Hugging Face Hub in timm's format."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnext.classifier import Classifier, Prediction
    from resnext.config import ModelConfig
    from resnext.errors import ResNeXtError
    from resnext.keras_model import build_model
    from resnext.pretrained import from_pretrained, save_pretrained

# OpenVINO (2026.4) and NNCF report every import to Google Analytics, unasked, if this package is importable.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__version__ = "0.2.0"
__all__ = [
    "Classifier",
    "ModelConfig",
    "Prediction",
    "ResNeXtError",
    "__version__",
    "build_model",
    "from_pretrained",
    "save_pretrained",
]

# A module is imported when its name is first used, so that classifying never imports TensorFlow.
_MODULES = {
    "Classifier": "resnext.classifier",
    "ModelConfig": "resnext.config",
    "Prediction": "resnext.classifier",
    "ResNeXtError": "resnext.errors",
    "build_model": "resnext.keras_model",
    "from_pretrained": "resnext.pretrained",
    "save_pretrained": "resnext.pretrained",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'resnext' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
