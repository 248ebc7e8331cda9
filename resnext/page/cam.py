"""Why a photograph got its answer: the class activation map over it, and the crop that the network saw."""

import html

import numpy as np
from PIL import Image

from resnext.page.i18n import say
from resnext.page.markup import Picture
from resnext.page.models import Look, Model
from resnext.preprocessing import seen_part

# From dark violet to yellow: points of matplotlib's "inferno".
_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])


def heat(model: Model, look: Look, label: int) -> Image.Image:
    """The class activation map as an RGBA picture of the crop's size: bright and opaque where it speaks for the class."""
    evidence = np.maximum(model.classifier.class_activation_map(look.output, label), 0)
    evidence = evidence / max(float(evidence.max()), 1e-9)
    size = look.pixels.shape[1::-1]
    evidence = np.asarray(
        Image.fromarray(evidence.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    ).clip(0, 1)
    stops = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(evidence, stops, _HEAT[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack([*channels, 255 * evidence], -1).astype(np.uint8), "RGBA")


def why(model: Model, look: Look, label: int, language: str) -> str:
    """The whole photograph with the map in the frame that the network saw, and that crop alone, as HTML."""
    preprocessing, name = model.classifier.config.preprocessing, model.classifier.config.label_names[label]
    across, down = seen_part(*look.photograph.size, preprocessing)
    wide, high = min(across, 1), min(down, 1)
    box = f"left:{50 - 50 * wide:.2f}%;top:{50 - 50 * high:.2f}%;width:{100 * wide:.2f}%;height:{100 * high:.2f}%"
    photograph = Picture(
        look.photograph, say(language, "Your photograph, with the places that speak for {label}", label=name)
    )
    size = preprocessing.image_size
    left, top = (
        int(size * (1 - wide / across) / 2),
        int(size * (1 - high / down) / 2),
    )  # margins are no part of the photograph
    layer = Picture(heat(model, look, label).crop((left, top, size - left, size - top)), "")
    caption = say(language, "What the network saw: {size} × {size} pixels", size=size)
    explanation = say(
        language,
        "The brighter, the more this place speaks for {label}. The frame is all that the network saw.",
        label=name,
    )
    return (
        f'<div class="why"><figure><div class="seen">{photograph.html}<div class="frame" style="{box}">{layer.html}</div></div>'
        f"<figcaption>{html.escape(explanation)}</figcaption></figure>"
        f"<figure>{Picture(Image.fromarray(look.pixels), caption).html}<figcaption>{html.escape(caption)}</figcaption></figure></div>"
    )


def overlay(model: Model, look: Look, label: int, opacity: float = 0.7) -> Image.Image:
    """The crop that the network saw with the map over it, RGB."""
    layer = heat(model, look, label)
    layer.putalpha(layer.getchannel("A").point(lambda alpha: round(alpha * opacity)))
    return Image.alpha_composite(Image.fromarray(look.pixels).convert("RGBA"), layer).convert("RGB")
