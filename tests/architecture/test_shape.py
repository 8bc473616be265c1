"""The house rules of form, as failing checks: files and functions of a size that one reads at a sitting, and a
docstring on every module."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
#: a migration is written once and never edited, so its length costs no reader anything
EXEMPT_FROM_LENGTH = ("ark_extensions/storage/migrations/",)
FORBIDDEN_NAMES = {"utils", "helpers", "manager", "common", "util", "helper", "misc"}


def project_files(*suffixes: str) -> list[str]:
    """Files that git knows or would add: what is committed, and what is about to be."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    names = sorted(set(listing.stdout.splitlines()))
    return [n for n in names if (not suffixes or n.endswith(suffixes)) and (ROOT / n).is_file()]


PYTHON = project_files(".py")


@pytest.mark.parametrize("name", PYTHON)
def test_a_file_can_be_read_at_a_sitting(name: str) -> None:
    if name.startswith(EXEMPT_FROM_LENGTH):
        return
    lines = (ROOT / name).read_text().count("\n")
    assert lines <= MAX_FILE_LINES, f"{name} has {lines} lines; divide it at a seam"


@pytest.mark.parametrize("name", PYTHON)
def test_functions_are_short(name: str) -> None:
    if name.startswith(EXEMPT_FROM_LENGTH):
        return
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{name}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("name", PYTHON)
def test_every_module_says_why_it_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{name} has no docstring"


@pytest.mark.parametrize("name", PYTHON)
def test_names_say_what_they_hold(name: str) -> None:
    parts = set(Path(name).with_suffix("").parts)
    assert not parts & FORBIDDEN_NAMES, f"{name}: name it after what it does"
