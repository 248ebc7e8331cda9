"""A visitor who teaches: in a browser, or through the queue's protocol for the private events of the tab."""

import io
import json
import uuid
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.helpers.pages import PATIENCE

COLORS = {"Red": (200, 30, 30), "Green": (30, 180, 40)}


class Visitor:
    """A visitor in a tab of a browser of their own.

    Args:
        address: The address of the page.
    """

    def __init__(self, address: str):
        self.client = httpx.Client(base_url=f"{address}gradio_api/", timeout=120)
        self.session = uuid.uuid4().hex
        config = httpx.get(f"{address}config", timeout=60).json()
        components = {component["id"]: component for component in config["components"]}
        self._values = {number: one["props"].get("value") for number, one in components.items()}
        lesson = next(
            number
            for number, one in components.items()
            if 'class="lesson"' in str(one["props"].get("html_template"))
        )
        self._act = self._event(config, lesson, "click")
        tried = next(
            number
            for number, one in components.items()
            if "tried" in (one["props"].get("elem_classes") or ())
        )
        self._try = self._event(config, tried, "change")
        self._classify = next(one for one in config["dependencies"] if one["api_name"] == "classify")

    @staticmethod
    def _event(config: dict, component: int, name: str) -> dict:
        return next(one for one in config["dependencies"] if [component, name] in one["targets"])

    def close(self) -> None:
        """Leaves the page."""
        self.client.close()

    def act(self, **action: Any) -> dict:
        """Does something with classes or pictures; returns all classes."""
        return self._ask(self._act, {}, {**action, "open": []})[1]

    def add(self, number: int, *pictures: bytes) -> dict:
        """Adds pictures, the contents of image files, to a class; returns all classes."""
        return self.act(**{"do": "add", "class": number, "files": [self.upload(one) for one in pictures]})

    def try_photograph(self, photograph: bytes) -> dict[str, float]:
        """The classes of a photograph with their probabilities."""
        return _confidences(self._ask(self._try, {1: self._file(photograph)})[1]["value"])

    def classify(self, photograph: bytes) -> dict[str, float]:
        """The classes of the page's own model for a photograph."""
        return _confidences(self._ask(self._classify, {0: self._file(photograph)})[0])

    def upload(self, content: bytes, name: str = "picture.jpg") -> str:
        """Uploads a file; returns its path on the server."""
        answer = self.client.post("upload", files={"files": (name, content)})
        answer.raise_for_status()
        return answer.json()[0]

    def _file(self, content: bytes) -> dict:
        return {"path": self.upload(content), "meta": {"_type": "gradio.FileData"}}

    def _ask(self, event: dict, inputs: dict[int, Any], event_data: Any = None) -> list:
        data = [self._values[component] for component in event["inputs"]]
        for place, value in inputs.items():
            data[place] = value
        body = {"data": data, "fn_index": event["id"], "session_hash": self.session, "event_data": event_data}
        self.client.post("queue/join", json=body).raise_for_status()
        with self.client.stream("GET", "queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if message.get("msg") == "process_completed":
                    if not message["success"]:
                        raise ValueError(message["output"])
                    return message["output"]["data"]
        raise ValueError("the page ended the stream without an answer")


def _confidences(label: dict | None) -> dict[str, float]:
    return {row["label"]: row["confidence"] for row in (label or {}).get("confidences") or ()}


def painting(color: str, seed: int) -> dict:
    """A picture of a color with noise, as Playwright uploads it."""
    noise = np.random.default_rng(seed).integers(-30, 30, (60, 80, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.array(COLORS[color]) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return {"name": f"{color}-{seed}.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def name_and_fill(page, place: int, color: str, count: int = 3, name: str = "") -> None:
    """Renames a class and adds pictures to it, from the keyboard where a browser lets one."""
    from playwright.sync_api import expect

    field = page.locator(".taught input[type=text]").nth(place)
    field.fill(name or color)
    field.press("Enter")
    button = page.locator(".taught .add").nth(place)
    button.focus()
    with page.expect_file_chooser() as chooser:
        button.press("Enter")
    chooser.value.set_files([painting(color, seed) for seed in range(count)])
    expect(page.locator(".taught").nth(place).locator("li")).to_have_count(count, timeout=2 * PATIENCE)
