"""An untrusted README as HTML: nothing runs, nothing is loaded from elsewhere, and nothing takes long."""

import re
import time

import pytest
from PIL import Image

from resnext.page import markdown
from resnext.page.tabs.card import download_lines
from tests.page.repositories import HOSTILE_CARD


def readme(folder, text: str, **options) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_bytes(text.encode())
    return markdown.render_card(folder, "en", **options)


def picture(path, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 100).save(path, "PNG")
    return path


@pytest.mark.parametrize(
    "name",
    [
        "flowers (bundled)",
        "tiny-imagenet (bundled)",
        "my model",
        "someone/flowers",
        "someone/flowers@v2",
        'odd " \\ name',
    ],
)
def test_the_lines_that_download_the_weights_are_valid_python(name):
    lines = download_lines(name, 'weights "1".safetensors')
    for line in lines.values():
        compile(line, "line", "exec")
    assert ("huggingface_hub" in lines) == (name.startswith("someone/"))
    text = "".join(lines.values())
    assert "OWNER" not in text
    assert any(word in text for word in ("flowers", "tiny-imagenet", "name", "my model"))
    if "huggingface_hub" in lines:
        assert r'"weights \"1\".safetensors"' in lines["huggingface_hub"]
    if "@" in name:
        assert 'revision="v2"' in lines["huggingface_hub"]
        assert "hf_hub:someone/flowers@v2" in lines["timm"]


def test_a_hostile_card_neither_runs_nor_loads_anything(tmp_path):
    shown = readme(tmp_path, HOSTILE_CARD)
    assert set(re.findall(r"<(\w+)", shown)) <= {
        *[
            "article",
            "h2",
            "h3",
            "p",
            "a",
            "div",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "pre",
            "code",
            "span",
            "br",
        ]
    }
    assert not re.search(r"<[^>]*\s(on\w+|src)=", shown)
    assert set(re.findall(r'href="([^"]+)"', shown)) == {"https://example.com", "#card-results"}
    assert re.search(
        r'<a href="https://example.com" target="_blank" rel="noopener noreferrer nofollow">', shown
    )
    assert "license" not in shown
    assert "Written by" not in shown
    assert "display: none" not in shown
    assert "Hostile card" in shown
    assert "&lt;script&gt;window.hacked = 7" in shown
    assert 'id="card-results"' in shown


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff---\r\na: b\r\n---\r\n# T",
        "---\na: |\n  --- x\n---\n# T",
        "---\n---\n# T",
        "---\na: b\n...\n# T",
    ],
)
def test_front_matter_is_hidden_in_any_form(tmp_path, text):
    assert readme(tmp_path, text) == '<article class="card"><h2 id="card-t">T</h2>\n</article>'


def test_only_pictures_of_the_repository_are_shown(tmp_path):
    folder = tmp_path / "repository"
    picture(folder / "figures" / "a b.png")
    secret = picture(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(secret)
    (folder / "text.png").write_text("no picture")
    (folder / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Image.new("1", (6000, 6000)).save(folder / "wide.png")
    drawn = readme(
        folder,
        '![one](<figures/a b.png>)\n\n<p align="center"><img alt="two &amp; 2" src="figures/a%20b.png"></p>',
    )
    assert re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"', drawn) == [
        "one",
        "two &amp; 2",
    ]
    others = [
        "../secret.png",
        str(secret),
        "link.png",
        "text.png",
        "page.svg",
        "wide.png",
        "%00",
        "figures",
        "file://" + str(secret),
        "a" * 5000,
    ]
    for source in others:
        assert "<img" not in readme(folder, f"![alt]({source})\n\n<img src='{source}'>"), source


def test_pictures_of_a_hub_snapshot_are_links_to_blobs(tmp_path):
    folder = tmp_path / "models--a--b" / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    blob = picture(tmp_path / "models--a--b" / "blobs" / "1234")
    (folder / "a.png").symlink_to(blob)
    assert "<img" in readme(folder, "![a](a.png)")
    link = readme(
        folder, "[file](recipe.json) [up](../x)", files_on_hub="https://huggingface.co/a/b/blob/main/"
    )
    assert 'href="https://huggingface.co/a/b/blob/main/recipe.json"' in link
    assert link.count("href") == 1


def test_pictures_are_limited_to_a_few_megabytes(tmp_path):
    size = picture(tmp_path / "a.png", (900, 900)).stat().st_size
    assert 500_000 < size < markdown.MAX_BYTES
    assert readme(tmp_path, "![a](a.png)\n" * 50).count("<img") == markdown.MAX_PICTURE_BYTES // size


def test_a_huge_readme_is_cut_with_a_notice(tmp_path):
    shown = readme(tmp_path, "word " * 300_000 + "end")
    assert "longer than 1 MiB" in shown
    assert len(shown) < 1.1 * markdown.MAX_BYTES
    assert "end" not in shown
    assert "1 MiB" not in readme(tmp_path, "word")


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "![" * 100_000, "a\n" * 200_000, "- a\n" * 90_000, "<!--" * 50_000, ">" * 200_000]
)
def test_markdown_made_to_be_slow_is_shown_as_text_in_time(tmp_path, monkeypatch, text):
    monkeypatch.setattr(markdown, "PATIENCE", 0.3)
    start = time.perf_counter()
    shown = readme(tmp_path, text)
    assert time.perf_counter() - start < 3
    assert shown.startswith('<article class="card">')
    assert shown.endswith("</article>")
    if text.startswith("["):
        assert "takes too long to render" in shown
        assert "[[[[" in shown


def test_a_repository_without_a_readme_says_so(tmp_path):
    assert "no README.md" in markdown.render_card(tmp_path, "en")
    assert "README.md" in markdown.render_card(tmp_path, "zh")
