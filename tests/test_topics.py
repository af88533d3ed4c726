"""What every topic must have, whatever it is about."""

import ast

import mypy.api
import pytest

from scripts.discover import Topic, discover
from scripts.problems import ROOT

PROJECT = discover(ROOT)
SECTIONS = ["Intuition", "Definition", "Derivation", "From scratch", "In the frameworks", "Experiment"]
SECTIONS += ["Conventions differ", "Pitfalls", "Exercises", "Further reading"]
TOPICS = pytest.mark.parametrize("topic", PROJECT.topics.values(), ids=list(PROJECT.topics))


def names_in(tree: ast.Module) -> set[str]:
    """Every name, attribute and string that a file mentions."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.Constant(value=str(name)) | ast.alias(name=name):
                found.add(name)
            case ast.Import(names=names):
                found |= {name.name for name in names}
            case ast.ImportFrom(module=str(name)):
                found.add(name)
    return found


@TOPICS
def test_every_from_scratch_function_is_compared_with_the_frameworks(topic: Topic) -> None:
    files = sorted((ROOT / "modules" / topic.path).glob("test_*.py"))
    mentioned: set[str] = set()
    for file in files:
        mentioned |= names_in(ast.parse(file.read_text("utf-8")))
    for framework in topic.frameworks:
        assert any(framework in name for name in mentioned), f"{topic.path}: no comparison with {framework}"
    for snippet in topic.snippets.values():
        if snippet.stem.endswith("_numpy") and not snippet.stem.startswith("exercise"):
            functions = {name for name in snippet.symbols if not name.startswith("_") and "." not in name}
            assert functions <= mentioned, f"{snippet.path}: not tested: {sorted(functions - mentioned)}"


@TOPICS
def test_sections_stand_in_the_order_of_the_skeleton(topic: Topic) -> None:
    assert topic.page
    found = [line[3:].strip() for line in topic.page.body.split("\n") if line.startswith("## ")]
    assert set(found) <= set(SECTIONS), f"unknown: {set(found) - set(SECTIONS)}"
    assert found == sorted(found, key=SECTIONS.index)


@TOPICS
def test_functions_say_what_they_take_and_give(topic: Topic) -> None:
    for snippet in topic.snippets.values():
        for name, node in snippet.symbols.items():
            if isinstance(node, ast.FunctionDef) and not name.startswith("_") and "." not in name:
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                assert node.returns and all(a.annotation for a in arguments), f"{snippet.path}: {name} is not typed"
                assert ast.get_docstring(node), f"{snippet.path}: {name} has no docstring"


@TOPICS
def test_types_of_the_from_scratch_functions(topic: Topic) -> None:
    files = [str(snippet.file) for snippet in topic.snippets.values() if snippet.stem.endswith("_numpy")]
    printed, wrong, status = mypy.api.run(["--config-file", str(ROOT / "modules/mypy.ini"), *files])
    assert status == 0, printed + wrong
