"""The floors of the house (docs/architecture.md) as failing checks: import-linter's contracts from pyproject.toml."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: on no floor, by contracts of their own: settings are read by every door, the others run where nothing else is installed
OWN_CONTRACT = {"settings", "environments", "supervisor", "workspace"}


def test_imports_point_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(linter), "--no-cache"], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_every_part_has_its_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    named = set(re.findall(r"ark_extensions\.(\w+)", " ".join(layers)))
    parts = {path.stem for path in (ROOT / "ark_extensions").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - {"__init__"} <= named | OWN_CONTRACT, "say in pyproject.toml on which floor it stands"
