"""What set-up and supervisor say is said in Chinese too, with the same fields."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from ark_extensions.environments import PROJECT
from ark_extensions.supervisor.words import CHINESE, language, phrase
from hub_config.bootstrap.builds import TITLES

SPEAKERS = ("ark_extensions/supervisor", "ark_extensions/cli", "hub_config/bootstrap")


def constants(tree: ast.Module) -> dict[str, str]:
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found.update({target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)})
    return found


def spoken() -> set[str]:
    """Every first argument of ``phrase``: literal, or a constant of the module or of the words."""
    found = set(TITLES.values()) | set(re.findall(r'progress\("(.+?)"\)', (PROJECT / "ark_extensions/catalogue/demo.py").read_text()))
    shared = constants(ast.parse((PROJECT / "ark_extensions/supervisor/words.py").read_text()))
    for file in [file for folder in SPEAKERS for file in sorted((PROJECT / folder).glob("*.py"))]:
        tree = ast.parse(file.read_text())
        known = {**shared, **constants(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "phrase":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    found.add(str(first.value))
                elif isinstance(first, ast.Name) and first.id in known:
                    found.add(known[first.id])
    return found


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_sentence_has_a_chinese_one_with_the_same_fields() -> None:
    assert not spoken() - set(CHINESE), "sentences without a translation"
    assert not set(CHINESE) - spoken(), "translations of sentences that nobody says"
    wrong = [msgid for msgid, text in CHINESE.items() if fields(msgid) != fields(text)]
    assert not wrong


@pytest.mark.parametrize(
    ("variables", "expected"), [({"LANG": "zh_CN.UTF-8"}, "zh"), ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"), ({}, "en")]
)
def test_the_language_is_the_terminals(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_a_path_with_braces_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert phrase("The end of {log}:", log=Path("/a/{b}")) == "The end of /a/{b}:"
