"""``python -m tests.mutations [WORD …]``: break a copy of the product on purpose, one break at a time, and run the nearest tests.

A break counts as noticed when a test fails with it and passes without it. The copy is a clone of the last commit in a scratch
directory: nothing of the checkout is touched. Words choose breaks by their name. Ends with 1 when fewer than 19 of 20 were noticed, or
when a break does not fit the code any more.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutations.breaks import BREAKS, Break
from tests.mutations.second_look import SECOND_LOOK

ROOT = Path(__file__).resolve().parents[2]
WANTED = 0.95
SECONDS = 900


def main(words: Sequence[str]) -> int:
    chosen = [one for one in (*BREAKS, *SECOND_LOOK) if not words or any(word in one.name for word in words)]
    noticed = 0
    with tempfile.TemporaryDirectory(prefix="ark-doubt-") as place:
        clone = Path(place) / "ark"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        for one in chosen:
            began = time.monotonic()
            what = doubt(clone, one)
            noticed += what.startswith("tests/")
            print(f"| {one.name} | `{one.file}` | {what} |", flush=True)
            print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"\n{noticed} of {len(chosen)} breaks were noticed")
    return 0 if noticed >= WANTED * len(chosen) else 1


def doubt(clone: Path, one: Break) -> str:
    """The test that noticed, or why there is none."""
    file = clone / one.file
    whole = file.read_text()
    if whole.count(one.old) != 1 or one.old == one.new:
        return f"stale: what is to be broken is there {whole.count(one.old)} times"
    file.write_text(whole.replace(one.old, one.new))
    try:
        failed = run(clone, one.tests)
    finally:
        file.write_text(whole)
    if failed is None:
        return "not noticed"
    return "inconclusive: fails unbroken too, " + failed if run(clone, (failed,)) else failed


def run(clone: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails."""
    environment = {**os.environ, "PYTHONPATH": str(clone)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"{tests[0]} (hangs)"
    found = re.search(r"^(?:FAILED|ERROR) (\S+?::.+?|\S+\.py)(?: - .*)?$", done.stdout, re.MULTILINE)
    if found is None and done.returncode not in (0, 5):
        return f"{tests[0]} (pytest ended with {done.returncode})"
    return found[1] if found else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
