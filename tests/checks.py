"""`make check`: style, types, layers, documents and translations; each is run, and the failed ones are named at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS = {
    "ruff check": [str(BIN / "ruff"), "check", "."],
    "ruff format": [str(BIN / "ruff"), "format", "--check", "."],
    "mypy --strict": [sys.executable, "-m", "mypy"],
    "import layers": [str(BIN / "lint-imports")],
    "architecture, documents, translations": [sys.executable, "-m", "pytest", "-q", "tests/architecture"],
}


def main() -> int:
    failed = []
    for name, command in CHECKS.items():
        print(f"=== {name} ===", flush=True)
        try:
            status = subprocess.run(command, cwd=ROOT, timeout=600, check=False).returncode
        except subprocess.TimeoutExpired:
            status = -1
        if status != 0:
            failed.append(name)
    print(f"\n{len(CHECKS) - len(failed)} of {len(CHECKS)} checks passed" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
