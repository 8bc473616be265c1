"""The floors of the house (docs/architecture.md) as failing checks: import-linter's contracts from pyproject.toml."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: on no floor, by contracts of their own: settings are read by every door, the others run where nothing else is installed
OWN_CONTRACT = {"settings", "environments", "supervisor", "workspace"}
#: who asks in which runtime this is, beside `ark doctor`; a cluster's own jobs follow from their answers
KNOW_THE_RUNTIME = {
    "hub_config/jupyterhub_config.py",
    "ark_extensions/volumes/__init__.py",
    "ark_extensions/nodes/__init__.py",
    "ark_extensions/ssh/connector.py",
}


def floors() -> list[set[str]]:
    """The contract's layers from above, a set of rooms each."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [set(re.findall(r"\w+", layer.replace("ark_extensions.", ""))) for layer in layers]


def test_imports_point_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(linter), "--no-cache"], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_no_two_modules_import_each_other() -> None:
    """Not by way of others either, nor for their types alone: of two such neither can be read first."""
    files = [path for room in ("ark_extensions", "ark_spawner", "hub_config") for path in (ROOT / room).rglob("*.py")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    imports = {name: imported_by(path, set(names)) - {name} for name, path in names.items()}
    while leaves := {name for name, further in imports.items() if not further & imports.keys()}:
        imports = {name: further for name, further in imports.items() if name not in leaves}
    assert not imports, "among these are some that import each other"


def imported_by(path: Path, modules: set[str]) -> set[str]:
    """Those of ``modules`` that a file takes something from: `from a import b` is b, where that is a module."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom) and node.module]
    taken = {(f"{node.module}.{alias.name}", node.module) for node in found for alias in node.names}
    return {inner if inner in modules else outer for inner, outer in taken} & modules


def test_every_part_has_its_floor() -> None:
    named = set().union(*floors())
    parts = {path.stem for path in (ROOT / "ark_extensions").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - {"__init__"} <= named | OWN_CONTRACT, "say in pyproject.toml on which floor it stands"


def test_the_map_shows_the_floors_of_the_contract_and_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    (picture,) = re.findall(r"## The floors\n\n```\n(.*?)```", text, re.DOTALL)
    drawn = [set(re.findall(r"\w+", re.split(r" {2,}", line.strip())[0])) for line in picture.splitlines()]
    assert drawn == floors()
    (rooms,) = re.findall(r"### The rooms\n(.*?)\n## ", text, re.DOTALL)
    unnamed = {
        name for name in set().union(*drawn) - {"loop", "stop_orders"} if not re.search(rf"`(ark_extensions/)?{name}(\.py)?`", rooms)
    }
    assert not unnamed, "each room says what is in it"


def test_few_places_know_their_runtime() -> None:
    product = [path for room in ("ark_extensions", "ark_spawner", "hub_config") for path in (ROOT / room).rglob("*.py")]
    asking = {str(path.relative_to(ROOT)) for path in product if re.search(r"settings\.runtime\b", path.read_text())}
    doctors = {name for name in asking if name.startswith("ark_extensions/cli/doctor")}
    assert asking - doctors == KNOW_THE_RUNTIME, "let an adapter answer it, or say why in docs/architecture.md"
