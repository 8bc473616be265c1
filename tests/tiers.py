"""`make test`: every tier after the other, whatever the one before did, and at the end how many of each ran.

The last line is alone and always of one form: ``N passed, N failed, N skipped``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "test-results"
# a tier that hangs is ended: minutes it may take at most
TIERS = {"unit": 5, "contract": 10, "integration": 30, "browser": 15}

#: tiers whose tests wait for whole platforms on two cores, and how many failures may still be chance
RETRIED, RETRIED_AT_MOST = ("integration", "browser"), 8


@dataclass(frozen=True)
class Outcome:
    """``why`` says why a tier could not run, or did not end."""

    tier: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    why: str = ""


def main(arguments: Sequence[str]) -> int:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    tiers, options = list(arguments[:split]) or list(TIERS), list(arguments[split + 1 :])
    if unknown := [tier for tier in tiers if tier not in TIERS]:
        print(f"No tier is called {', '.join(unknown)}: there are {', '.join(TIERS)}.")
        return 2
    RESULTS.mkdir(exist_ok=True)
    outcomes = [second_try(run_tier(tier, options), options) for tier in tiers]
    print_table(outcomes)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def second_try(first: Outcome, options: Sequence[str]) -> Outcome:
    """In the tiers that start whole platforms, a few failed tests are run once more, alone; what passes then counts as passed
    and is named as unsteady, so that nobody takes it for sound."""
    if first.tier not in RETRIED or first.why or not 0 < first.failed <= RETRIED_AT_MOST:
        return first
    report = RESULTS / f"{first.tier}-again.xml"
    again = failed_tests(RESULTS / f"{first.tier}.xml")
    second = run_tier(first.tier, options, again, report)
    still = set(failed_tests(report))
    unsteady = [test for test in again if test not in still]
    if second.why or not unsteady:
        return first
    why = f"passed only at a second try: {', '.join(unsteady)}"
    return Outcome(first.tier, first.passed + len(unsteady), len(still), first.skipped, first.seconds + second.seconds, why)


def failed_tests(report: Path) -> list[str]:
    """The node ids of a report's failed tests."""
    found = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            found.append(f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}")
    return list(dict.fromkeys(found))


def run_tier(tier: str, options: Sequence[str], only: Sequence[str] = (), report: Path | None = None) -> Outcome:
    print(f"\n=== {tier}{' again' if only else ''} ===", flush=True)
    why = cannot_run(tier)
    if why:
        print(why)
        return Outcome(tier, why=why)
    report = report or RESULTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    tests = list(only) or [f"tests/{tier}"]
    command = [sys.executable, "-m", "pytest", *tests, f"--junitxml={report}", "-o", f"junit_suite_name={tier}", "-q", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    ended = ""
    try:
        process.wait(TIERS[tier] * 60)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as reason:
        ended = "interrupted" if isinstance(reason, KeyboardInterrupt) else f"ended after {TIERS[tier]} minutes"
        end(process)
    counted = read_report(report, tier, time.monotonic() - began)
    if ended:
        return Outcome(tier, counted.passed, counted.failed + 1, counted.skipped, counted.seconds, f"did not finish: {ended}")
    if process.returncode not in (0, 1, 5) and not counted.failed:
        return Outcome(
            tier, counted.passed, counted.failed + 1, counted.skipped, counted.seconds, f"pytest ended with {process.returncode}"
        )
    return counted


def end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt first, so that fixtures stop what they started."""
    for number, seconds in ((2, 60), (9, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def cannot_run(tier: str) -> str:
    """A sentence when this machine lacks what the tier stands on; empty when it can run."""
    if not any((ROOT / "tests" / tier).rglob("test_*.py")):
        return f"The {tier} tier has no tests."
    if tier in ("integration", "browser") and shutil.which("bwrap") is None:
        return f"The {tier} tier cannot run: bubblewrap is missing (`sudo apt-get install -y bubblewrap`)."
    if tier == "browser" and shutil.which("chromium") is None:
        return "The browser tier cannot run: Chromium is missing (`sudo apt-get install -y chromium`)."
    return ""


def read_report(report: Path, tier: str, seconds: float) -> Outcome:
    try:
        suites = ElementTree.parse(report).getroot().iter("testsuite")
        counts = [{name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")} for suite in suites]
    except (OSError, ElementTree.ParseError):
        return Outcome(tier, failed=1, seconds=seconds, why="no report was written")
    failed = sum(count["failures"] + count["errors"] for count in counts)
    skipped = sum(count["skipped"] for count in counts)
    total = sum(count["tests"] for count in counts)
    return Outcome(tier, max(0, total - failed - skipped), failed, skipped, seconds)


def print_table(outcomes: Sequence[Outcome]) -> None:
    print(f"\n{'tier':<14}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for outcome in outcomes:
        row = f"{outcome.tier:<14}{outcome.passed:>8}{outcome.failed:>8}{outcome.skipped:>9}{outcome.seconds:>9.0f}"
        print(f"{row}   {outcome.why}" if outcome.why else row)
    passed, failed, skipped = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("passed", "failed", "skipped"))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
