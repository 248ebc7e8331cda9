"""The explanation of a prediction: the class activation map over the photograph, and the network's input."""

import html

import numpy as np
from PIL import Image

from resnext.page.i18n import translate
from resnext.page.markup import Picture
from resnext.page.models import Classification, Model
from resnext.preprocessing import seen_part

# Points of matplotlib's color map "inferno", from dark violet to yellow.
_INFERNO = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])


def evidence_map(model: Model, classification: Classification, label: int) -> Image.Image:
    """Draws the class activation map of one class.

    Args:
        model: The model that classified the photograph.
        classification: Its result.
        label: The index of the class.

    Returns:
        An RGBA image of the size of the network's input, brighter and more opaque where the evidence for the
        class is stronger. Evidence against the class is transparent.
    """
    evidence = np.maximum(model.classifier.class_activation_map(classification.output, label), 0)
    evidence = evidence / max(float(evidence.max()), 1e-9)
    small = Image.fromarray(evidence.astype(np.float32))
    size = classification.pixels.shape[1::-1]
    evidence = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    stops = np.linspace(0, 1, len(_INFERNO))
    channels = [np.interp(evidence, stops, _INFERNO[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack([*channels, 255 * evidence], -1).astype(np.uint8), "RGBA")


def evidence_overlay(
    model: Model, classification: Classification, label: int, opacity: float = 0.7
) -> Image.Image:
    """The network's input with the class activation map over it, RGB."""
    layer = evidence_map(model, classification, label)
    layer.putalpha(layer.getchannel("A").point(lambda alpha: round(alpha * opacity)))
    pixels = Image.fromarray(classification.pixels).convert("RGBA")
    return Image.alpha_composite(pixels, layer).convert("RGB")


def explanation_html(model: Model, classification: Classification, label: int, language: str) -> str:
    """The photograph with the map inside the network's frame, and the network's input, as HTML."""
    preprocessing = model.classifier.config.preprocessing
    name = model.labels[label]
    size = preprocessing.image_size
    # The parts of the width and of the height that the network sees; above 1 where it sees margins, too.
    across, down = seen_part(*classification.size, preprocessing)
    width = min(across, 1)
    height = min(down, 1)
    # The margins of the map do not lie on the photograph.
    left = int(size * (1 - width / across) / 2)
    top = int(size * (1 - height / down) / 2)
    layer = evidence_map(model, classification, label).crop((left, top, size - left, size - top))
    frame = (
        f"left:{50 - 50 * width:.2f}%;top:{50 - 50 * height:.2f}%;"
        f"width:{100 * width:.2f}%;height:{100 * height:.2f}%"
    )
    alt = translate(language, "Your photograph with the class activation map for {label}", label=name)
    text = translate(
        language,
        "Class activation map: the brighter an area, the stronger its evidence for {label}. "
        "The network sees only what is inside the frame.",
        label=name,
    )
    caption = translate(language, "Network input: {size} × {size} pixels", size=size)
    return (
        f'<div class="why"><figure><div class="seen">{Picture(classification.photograph, alt).html}'
        f'<div class="frame" style="{frame}">{Picture(layer, "").html}</div></div>'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
        f"<figure>{Picture(Image.fromarray(classification.pixels), caption).html}"
        f"<figcaption>{html.escape(caption)}</figcaption></figure></div>"
    )
