"""The page's words in two languages."""

import ast

import pytest

from resnext.errors import ImageError, RepositoryError
from resnext.page.i18n import CHINESE, translate, translate_error
from resnext.page.models import Models
from resnext.preprocessing import open_image
from tests.helpers.paths import ROOT


def test_chinese_sentences_have_the_placeholders_of_the_english_ones():
    for english, chinese in CHINESE.items():
        values = {word.partition("}")[0]: "1" for word in english.split("{")[1:]}
        assert translate("en", english, **values)
        assert translate("zh", english, **values)
        assert {word.partition("}")[0] for word in chinese.split("{")[1:]} <= set(values)


def test_every_word_of_the_page_has_a_translation_and_none_is_unused():
    translated, constants = set(), set()
    for file in (ROOT / "resnext" / "page").rglob("*.py"):
        if file.name == "i18n.py":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                constants.add(node.value)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("translate", "translate_lazy"):
                translated |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    assert len(translated) > 50
    assert translated - set(CHINESE) == set()
    assert set(CHINESE) - constants == set()


def test_a_known_error_is_translated_and_another_stays_english():
    error = open_error(b"no image")
    assert translate_error("zh", error) == "The image 无法作为图像读取：不是已知的图像格式。"
    assert translate_error("en", error) == error
    for kind in ("empty", "a web page", "a ZIP file", "a pointer of Git LFS: run `git lfs pull`"):
        translated = translate_error("zh", f"a.jpg cannot be read as an image: it is {kind}.")
        assert not translated.endswith("文件已损坏。")
    with pytest.raises(RepositoryError) as refusal:
        Models([None]).open("some{one}/net")
    assert translate_error("zh", str(refusal.value)) == "本页不提供 some{one}/net：请从列表中选择。"
    assert translate_error("zh", "Something else.") == "Something else."
    for file in ("/models/net/config.json", "config.json of a/b (commit 0123456)"):
        message = translate_error("zh", f"{file} is not valid JSON (it is empty): name another model.")
        assert message.startswith(f"{file.split()[0]} 缺失或无效")


def open_error(content: bytes) -> str:
    with pytest.raises(ImageError) as refusal:
        open_image(content)
    return str(refusal.value)
