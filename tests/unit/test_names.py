"""The names of tests, which are read in one line of a terminal."""

import ast
import pathlib

TESTS = pathlib.Path(__file__).parents[1]
MAX_LENGTH = 70


def test_names_of_tests_have_at_most_70_characters():
    names = [
        node.name
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 1000
    assert [name for name in names if len(name) > MAX_LENGTH] == []
