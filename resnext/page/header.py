"""The page's header: the model that it shows."""

import html
from typing import Any

from huggingface_hub import constants

from resnext.page.i18n import join_sentences, translate, translate_error
from resnext.page.models import Model, without_folders
from resnext.shapes import network_modules


def masthead(model: Model, language: str = "en") -> str:
    """The name and the properties of a model, as HTML."""
    about = facts(model)
    chips = [
        about["architecture"],
        translate(
            language,
            "cardinality {cardinality}, bottleneck width {width}",
            cardinality=about["cardinality"],
            width=about["bottleneck_width"],
        ),
        translate(language, "{millions}M parameters", millions=f"{about['parameters'] / 1e6:.1f}"),
        translate(language, "{size} × {size} pixels", size=about["image_size"]),
        translate(language, "{classes} classes", classes=f"{len(about['classes']):,}"),
    ]
    items = [html.escape(chip) for chip in chips]
    if about["revision"]:
        address = html.escape(
            f"{constants.ENDPOINT}/{model.classifier.repository.name}/tree/{about['revision']}"
        )
        commit = html.escape(translate(language, "commit {commit} on the Hub", commit=about["revision"][:7]))
        items.append(f'<a href="{address}" target="_blank" rel="noopener">{commit}</a>')
    listed = "".join(f"<li>{item}</li>" for item in items)
    title = html.escape(model.name).replace("/", "/<wbr>")
    return f'<header class="masthead"><h1>{title}</h1><ul>{listed}</ul></header>'


def notice(model: Model, language: str = "en") -> str:
    """Warnings about an open model, as plain text; usually empty."""
    repository = model.classifier.repository
    sentences = []
    for text in (repository.notice, model.classifier.notice):
        if text:
            sentences.append(translate_error(language, without_folders(text, repository.name)))
    return join_sentences(language, sentences)


def facts(model: Model) -> dict[str, Any]:
    """The properties of a model, for programs."""
    config = model.classifier.config
    repository = model.classifier.repository
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
