"""The page's top: which model it shows, and what that is."""

import html
from typing import Any

from huggingface_hub import constants

from resnext.page.i18n import fault, say
from resnext.page.models import Model, without_folders
from resnext.shapes import network_modules


def masthead(model: Model, language: str = "en") -> str:
    """The model's name and what it is, as HTML."""
    about = facts(model)
    chips = [
        about["architecture"],
        say(
            language,
            "cardinality {cardinality}, bottleneck width {width}",
            cardinality=about["cardinality"],
            width=about["bottleneck_width"],
        ),
        say(language, "{millions} M parameters", millions=f"{about['parameters'] / 1e6:.1f}"),
        say(language, "{size} × {size} pixels", size=about["image_size"]),
        say(language, "{classes} classes", classes=f"{len(about['classes']):,}"),
    ]
    items = [html.escape(chip) for chip in chips]
    if about["revision"]:
        address = html.escape(
            f"{constants.ENDPOINT}/{model.classifier.repository.name}/tree/{about['revision']}"
        )
        commit = html.escape(say(language, "on the Hub at {commit}", commit=about["revision"][:7]))
        items.append(f'<a href="{address}" target="_blank" rel="noopener">{commit}</a>')
    listed = "".join(f"<li>{item}</li>" for item in items)
    title = html.escape(model.name).replace("/", "/<wbr>")
    return f'<header class="masthead"><h1>{title}</h1><ul>{listed}</ul></header>'


def notice(model: Model, language: str = "en") -> str:
    """What a visitor has to know of an open model before all else, as plain text; usually nothing."""
    repository, sentences = model.classifier.repository, []
    if repository.stale:
        text = "The Hub cannot be reached: this is the copy downloaded last, at commit {commit}."
        sentences.append(say(language, text, commit=repository.revision[:7]))
    if model.classifier.notice:
        sentences.append(fault(language, without_folders(model.classifier.notice, repository.name)))
    return " ".join(sentences)


def facts(model: Model) -> dict[str, Any]:
    """What a program may want to know of a model."""
    config, repository = model.classifier.config, model.classifier.repository
    architecture = config.architecture
    return {
        "model": model.name,
        "revision": repository.revision,
        "architecture": config.name,
        "cardinality": architecture.cardinality,
        "bottleneck_width": architecture.base_width,
        "parameters": sum(module.parameters for module in network_modules(architecture, config.num_classes)),
        "image_size": config.preprocessing.image_size,
        "precision": model.classifier.precision,
        "classes": list(config.label_names),
    }
