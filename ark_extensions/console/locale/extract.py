"""Finds every msgid in the project and brings `ark.po` up to date: ``python -m ark_extensions.console.locale.extract``.

Why not `pybabel extract`: our sentences live in ``Sentence("…")``, in errors of the domain and in tables of constants
(``Sentence(TABLE[reason])``, or a name that ends in ``SENTENCES``); all of them are found here from the syntax tree,
without importing anything.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment, nodes

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("ark_extensions", "ark_spawner", "hub_config")
PO = Path(__file__).parent / "zh" / "LC_MESSAGES" / "ark.po"
#: calls whose first argument is a msgid
_ERRORS = "ArkError Malformed InvalidField NotFound Forbidden Conflict SoldOut InsufficientBalance Unavailable Refused"
#: of the services' own
_ERRORS += " Full Exists NoParent Leaves ChecksumMismatch Busy Offset Locked"
_ERRORS += " PreconditionFailed TooLarge Unauthenticated Stopped ElsewhereError UnsupportedBody"
CALLS = frozenset(["_", "gettext", "Sentence", "say", *_ERRORS.split()])
FIELD = re.compile(r"\{(\w+)\}")


def _strings(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _strings(node.body)
        yield from _strings(node.orelse)


def _callee(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""


def tables_said(tree: ast.AST) -> set[str]:
    """Names of tables whose values are said: ``Sentence(TABLE[reason])``."""
    first = (n.args[0] for n in ast.walk(tree) if isinstance(n, ast.Call) and _callee(n) in CALLS and n.args)
    return {a.value.id for a in first if isinstance(a, ast.Subscript) and isinstance(a.value, ast.Name)}


def from_python(text: str) -> Iterator[tuple[int, str]]:
    """(line, msgid) of each marked string in a module."""
    tree = ast.parse(text)
    said = tables_said(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _callee(node) in CALLS:
            first = node.args[0] if node.args else next((k.value for k in node.keywords if k.arg == "msgid"), None)
            if first is not None:
                yield from ((node.lineno, s) for s in _strings(first))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict | ast.Tuple | ast.List):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and (t.id in said or t.id.endswith("SENTENCES")) for t in targets):
                values = node.value.values if isinstance(node.value, ast.Dict) else node.value.elts
                for value in values:
                    yield from ((value.lineno, s) for s in _strings(value))


def from_template(text: str) -> Iterator[tuple[int, str]]:
    """(line, msgid) of each ``_("…")`` in a Jinja template."""
    for node in Environment(autoescape=True).parse(text).find_all(nodes.Call):
        if isinstance(node.node, nodes.Name) and node.node.name == "_" and node.args and isinstance(node.args[0], nodes.Const):
            yield node.lineno, node.args[0].value


def extract() -> dict[str, list[tuple[str, int]]]:
    """msgid → where it stands, over all packages and templates."""
    found: dict[str, list[tuple[str, int]]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if "__pycache__" in path.parts or path.suffix not in (".py", ".html"):
                continue
            reader = from_python if path.suffix == ".py" else from_template
            for line, msgid in reader(path.read_text("utf-8")):
                found.setdefault(msgid, []).append((str(path.relative_to(ROOT)), line))
    found.pop("", None)
    return found


def fields(text: str) -> set[str]:
    """The named fields of a sentence."""
    return set(FIELD.findall(text))


def catalog() -> Catalog:
    """The catalogue as it is on disk."""
    with PO.open("rb") as file:
        return read_po(file, locale="zh")


def main() -> None:
    """Add what is new (untranslated), drop what is gone, keep every translation that is there."""
    old = {m.id: m for m in catalog()} if PO.exists() else {}
    new = Catalog(locale="zh", project="ark", fuzzy=False, header_comment="# 方舟控制台的中文。由 locale/extract.py 维护条目，译文由人写。")
    for msgid, places in sorted(extract().items(), key=lambda item: (item[1][0], item[0])):
        known = old.get(msgid)
        new.add(msgid, known.string if known else "", locations=[(path, 0) for path in sorted({p for p, _line in places})])
    written = PO.with_name(f"{PO.name}.{os.getpid()}")  # beside and renamed: a run that is cut off, or a second one, loses no translation
    with written.open("wb") as out:
        write_po(out, new, width=140, sort_output=False, omit_header=False, include_lineno=False)
    written.replace(PO)
    missing = [m.id for m in new if m.id and not m.string]
    print(f"{len(new)} sentences, {len(missing)} without a translation")
    for text in missing:
        print("  ", text)


if __name__ == "__main__":
    main()
