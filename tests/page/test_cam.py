"""The explanation of a prediction over its photograph."""

import base64
import dataclasses
import io
import re
import types

import numpy as np
import pytest
from PIL import Image

from resnext.classifier import Output
from resnext.config import Preprocessing
from resnext.page import cam
from resnext.page.models import Classification


@pytest.mark.parametrize(
    "mode, box, layer",
    [
        ("center", (20, 10, 60, 80), (64, 64)),
        ("squash", (10, 10, 80, 80), (64, 64)),
        ("border", (10, 0, 80, 100), (64, 60)),
    ],
)
def test_the_frame_surrounds_the_input_of_the_network(tiny_config, mode, box, layer):
    config = dataclasses.replace(tiny_config, preprocessing=Preprocessing(64, 0.8, crop_mode=mode))
    model = types.SimpleNamespace(
        classifier=types.SimpleNamespace(config=config, class_activation_map=lambda answer, label: np.eye(2)),
        labels=config.label_names,
    )
    classification = Classification(
        Output(*[np.zeros(3)] * 3), np.zeros((64, 64, 3), np.uint8), b"JPEG", (160, 120), 0.1, 0.2
    )
    page = cam.explanation_html(model, classification, 0, "en")
    assert [float(number) for number in re.findall(r"(?:left|top|width|height):([\d.]+)%", page)] == list(box)
    drawn = page.split('class="frame"')[1].split("base64,")[1].split('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(drawn))).size == layer
