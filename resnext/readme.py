"""README.md of a model repository: what is generated, and what a person wrote, which is kept."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable

import yaml
from huggingface_hub import repocard
from huggingface_hub.repocard_data import (
    EvalResult,
    eval_results_to_model_index,
    model_index_to_eval_results,
)
from huggingface_hub.utils import yaml_dump

from resnext.errors import RepositoryError

TAGS = ("image-classification", "resnext", "timm", "keras", "openvino")
TASK = "image-classification"
DATASET_TYPE = "imagefolder"
METRICS = {"accuracy": "Top-1 accuracy", "top_5_accuracy": "Top-5 accuracy"}
_NOTE = (
    "<!-- What stands between resnext:begin and resnext:end is written anew by each push, and so is the "
    "metadata above that it knows. Everything else is kept. A section whose two lines are deleted stays "
    "away. -->"
)
# A card of an earlier version has this line, or, if a person changed it, only the two lines around its
# section on the int8 graph.
_LEGACY = "<!-- Written by `python -m training`; remove this line to keep your own changes. -->"
_LEGACY_INT8 = ("<!-- int8: written by `python -m training quantize` -->", "<!-- int8: end -->")
_LEGACY_HEADINGS = {
    "## Results": "results",
    "## Int8 quantization": "int8",
    "## Training": "training",
    "## Use": "use",
}
_SECTION = re.compile(
    r"<!-- resnext:begin (?P<name>[\w-]+) -->(?P<text>.*?)<!-- resnext:end (?P=name) -->", re.DOTALL
)
# Metadata that is generated, where it is known. All other is a person's.
_GENERATED_KEYS = {
    "library_name",
    "pipeline_tag",
    "tags",
    "metrics",
    "model-index",
    "base_model",
    "base_model_relation",
}
_MAX_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Generated:
    """What is generated of a card.

    Args:
        metadata: The metadata.
        sections: The sections in their order; empty ones keep a place.
    """

    metadata: dict
    sections: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Card:
    """A card.

    Args:
        header: The text of its metadata as it stands in the file, with the lines around it; or "".
        metadata: The metadata.
        body: The rest.
    """

    header: str
    metadata: dict
    body: str

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Card":
        """Reads a card.

        Args:
            content: The content of the file.
            where: The file, as messages name it.

        Raises:
            RepositoryError: It is not UTF-8, or its metadata is not valid.
        """
        if len(content) > _MAX_BYTES:
            raise RepositoryError(f"{where} has more than 1 MB, which a card never has: shorten it.")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise RepositoryError(f"{where} is not UTF-8: save it in that encoding.") from None
        found = repocard.REGEX_YAML_BLOCK.search(text)
        try:
            metadata = (yaml.safe_load(found[2]) or {}) if found else {}
            if not isinstance(metadata, dict):
                raise ValueError("it is not a mapping")
            # Checks what the Hub's client checks.
            repocard.ModelCardData(**{str(key): value for key, value in metadata.items()})
        except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
            fault = str(getattr(error, "problem", None) or error).splitlines()[0]
            raise RepositoryError(
                f"{where} has invalid metadata ({fault}): correct the part between its lines of ---."
            ) from None
        return cls(found[0] if found else "", metadata, text[found.end() :] if found else text)

    @property
    def sections(self) -> set[str]:
        """The names of the generated sections that it has."""
        return {found["name"] for found in _SECTION.finditer(self.body)}

    @property
    def is_own(self) -> bool:
        """Whether a person wrote it. Only the section on the int8 graph may be generated."""
        return _LEGACY not in self.body and self.sections <= {"int8"}

    @property
    def is_generated(self) -> bool:
        """Whether a person has written nothing in it."""
        return not any(self._own_parts())

    def fingerprint(self) -> str:
        """A digest of what a person wrote: text, further metadata, and which generated sections are left."""
        content = json.dumps([*self._own_parts(), sorted(self.sections)], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()

    def _own_parts(self) -> tuple[list[str], dict, list]:
        text = _SECTION.sub("", _modernized(self.body, {})).replace(_NOTE, "")
        metadata = {key: value for key, value in self.metadata.items() if key not in _GENERATED_KEYS}
        if metadata.get("datasets") == [DATASET_TYPE]:
            del metadata["datasets"]
        return text.split(), metadata, [tag for tag in _as_list(self.metadata.get("tags")) if tag not in TAGS]


def render(generated: Generated) -> str:
    """The text of a new card."""
    sections = [_wrap(name, text) for name, text in generated.sections.items()]
    return f"{_header(generated.metadata)}{_NOTE}\n\n" + "\n\n".join(sections) + "\n"


def merge(card: Card, generated: Generated, *, keep_metadata: bool = False) -> str:
    """The text of a card in which only what is generated is written anew.

    Args:
        card: The card.
        generated: What is generated.
        keep_metadata: Whether its metadata stays as it is, too.
    """
    crlf = "\r\n" in card.body and card.body.count("\r\n") == card.body.count("\n")
    body = card.body.replace("\r\n", "\n") if crlf else card.body
    body = _merge_own(body, generated.sections["int8"]) if card.is_own else _merge_body(body, generated)
    metadata = card.metadata if keep_metadata else _merge_metadata(card.metadata, generated.metadata)
    header = card.header if metadata == card.metadata else _header(metadata)
    if crlf:
        body = body.replace("\n", "\r\n")
        header = header.replace("\r\n", "\n").replace("\n", "\r\n")
    return header + body


def _header(metadata: dict) -> str:
    return f"---\n{yaml_dump(metadata, sort_keys=False).strip()}\n---\n"


def _wrap(name: str, text: str) -> str:
    inside = f"\n\n{text}\n\n" if text else "\n"
    return f"<!-- resnext:begin {name} -->{inside}<!-- resnext:end {name} -->"


def _merge_body(body: str, generated: Generated) -> str:
    def replace(found: re.Match) -> str:
        name = found["name"]
        return _wrap(name, generated.sections[name]) if name in generated.sections else found[0]

    return _SECTION.sub(replace, _modernized(body, generated.sections))


def _merge_own(body: str, int8: str) -> str:
    """A person's own card with its section on the int8 graph replaced, added or removed."""
    begin, end = (re.escape(line) for line in _LEGACY_INT8)
    body = re.sub(f"{begin}.*?{end}", lambda _: _wrap("int8", ""), body, flags=re.DOTALL)
    if not int8 and "int8" not in {found["name"] for found in _SECTION.finditer(body)}:
        return body
    kept = _SECTION.sub("", body).rstrip()
    if not int8:
        return f"{kept}\n"
    if _SECTION.search(body):
        return _SECTION.sub(lambda _: _wrap("int8", int8), body)
    return f"{kept}\n\n{_wrap('int8', int8)}\n"


def _modernized(body: str, sections: dict[str, str]) -> str:
    """The body of a card of an earlier version with lines around its generated sections.

    Its generated sections are known by their headings. What a person has written under other headings, or
    between the introduction and the first heading, stays where it was.
    """
    if _LEGACY not in body:
        return body
    before, _, rest = body.partition(_LEGACY)
    parts, names = [before.rstrip() + f"\n{_NOTE}"], []
    for chunk in _split_at_headings(rest):
        heading = chunk.partition("\n")[0].strip()
        if heading in _LEGACY_HEADINGS:
            names.append(_LEGACY_HEADINGS[heading])
            parts.append(_wrap(names[-1], ""))
        elif heading.startswith("## "):
            parts.append(chunk.strip())
        else:
            names.append("introduction")
            parts.append(_wrap("introduction", ""))
            parts += [text for text in chunk.strip().split("\n\n") if not _is_introduction(text)]
    for name in [name for name in sections if name not in names]:
        known = [*sections]
        later = next((one for one in known[known.index(name) :] if one in names), None)
        parts.insert(parts.index(_wrap(later, "")) if later else len(parts), _wrap(name, ""))
        names.append(name)
    return "\n\n".join(parts).lstrip("\n") + "\n"


def _is_introduction(paragraph: str) -> bool:
    return not paragraph.strip() or paragraph.startswith(("# ", "A ResNeXt ("))


def _split_at_headings(text: str) -> list[str]:
    """The parts of a Markdown text that begin with a heading of the second level, and what comes before."""
    chunks, fenced = [""], False
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            chunks.append("")
        chunks[-1] += line
    return chunks


def _merge_metadata(theirs: dict, ours: dict) -> dict:
    merged = dict(theirs)
    rules: dict[str, Callable] = {
        "tags": _union,
        "metrics": _union,
        "datasets": lambda their, our: their or our,
        "license": lambda their, our: our,
    }
    for key, value in ours.items():
        if key != "model-index":
            merged[key] = rules.get(key, lambda their, our: our)(theirs.get(key), value)
    results = _merge_results(theirs.get("model-index"), ours.get("model-index"))
    if results:
        merged["model-index"] = results
    else:
        merged.pop("model-index", None)
    return merged


def _union(theirs: object, ours: list) -> list:
    known = _as_list(theirs)
    return known + [value for value in ours if value not in known]


def _as_list(value: object) -> list:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _merge_results(theirs: list | None, ours: list | None) -> list:
    """A model-index with our results, and all others that were there."""
    name, old = model_index_to_eval_results(theirs) if theirs else ("", [])
    if ours:
        name, new = model_index_to_eval_results(ours)
    else:
        new = []
    results = [*new, *(result for result in old if not _is_ours(result))]
    return eval_results_to_model_index(name, results) if results else []


def _is_ours(result: EvalResult) -> bool:
    return (
        result.dataset_type == DATASET_TYPE
        and result.task_type == TASK
        and METRICS.get(result.metric_type) == result.metric_name
    )
