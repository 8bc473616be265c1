"""`make test`: every tier, whatever the one before did, and at the end how many of each ran.

The fast tier comes first and alone. The others start whole platforms and wait more than they compute, so their lanes (parts of a
tier, each a pytest of its own with its own ports and directories) run beside each other. A lane's output is shown whole when it
has ended, and stays in ``test-results/``. The last line is alone and always of one form: ``N passed, N failed, N skipped``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

from tests.kubernetes import build as kubernetes

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "test-results"
#: a lane that hangs is ended: minutes that one of the tier may take at most
TIERS = {"unit": 5, "contract": 15, "integration": 30, "browser": 20, "cluster": 30}
#: tiers that run alone: what they promise is their speed
ALONE = ("unit",)
#: tiers that run after all others: a Kubernetes beside them would take their machine
LAST = ("cluster",)
#: lanes of a tier by the names of their modules; what is in none of them is a lane of its own
LANES = {
    "unit": {"a-m": ("test_[a-m]*.py",)},
    "integration": {
        "kills": ("test_crash.py", "test_loops.py", "test_up*.py"),
        "ssh": ("test_ssh_*.py",),
        "money": ("test_money_*.py",),
        "operator": ("test_backup.py", "test_one_life.py"),
        "pods": ("test_kube_*.py",),
    },
}
#: lanes at once, and those that take longest, which begin first
BESIDE = 3
LONGEST = ("integration-kills", "browser", "integration")


@dataclass(frozen=True)
class Lane:
    """One pytest run. ``tests``: what it is given."""

    tier: str
    name: str
    tests: tuple[str, ...]

    @property
    def report(self) -> Path:
        return RESULTS / f"{self.name}.xml"

    @property
    def log(self) -> Path:
        return RESULTS / f"{self.name}.log"


@dataclass(frozen=True)
class Outcome:
    """Of a lane, or of a tier. ``why`` says why it could not run, or did not end; ``names`` are the tests that failed."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    why: str = ""
    names: tuple[str, ...] = ()


@dataclass
class Run:
    lane: Lane
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def main(arguments: Sequence[str]) -> int:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    tiers, options = list(arguments[:split]) or list(TIERS), list(arguments[split + 1 :])
    if unknown := [tier for tier in tiers if tier not in TIERS]:
        print(f"No tier is called {', '.join(unknown)}: there are {', '.join(TIERS)}.")
        return 2
    RESULTS.mkdir(exist_ok=True)
    outcomes: dict[str, list[Outcome]] = {tier: [] for tier in tiers}
    lanes: list[Lane] = []
    for tier in tiers:
        if why := cannot_run(tier):
            print(why)
            outcomes[tier].append(Outcome(tier, why=why))
        else:
            lanes += lanes_of(tier)
    first, last = ([lane for lane in lanes if lane.tier in tiers_of] for tiers_of in (ALONE, LAST))
    for beside in (first, [lane for lane in lanes if lane not in (*first, *last)], last):
        if beside is last and last and (why := build_cluster()):
            print(why)
            outcomes["cluster"].append(Outcome("cluster", why=why))
            continue
        for lane, outcome in run_lanes(beside, options):
            outcomes[lane.tier].append(outcome)
    print_table(outcomes)
    return 1 if any(outcome.failed for found in outcomes.values() for outcome in found) else 0


def lanes_of(tier: str) -> list[Lane]:
    """A module that nobody has put into a lane is in the last one, named like the tier: none is forgotten."""
    left = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / tier).rglob("test_*.py"))
    lanes = []
    for name, patterns in LANES.get(tier, {}).items():
        found = tuple(path for path in left if any(fnmatch(path.rsplit("/", 1)[1], pattern) for pattern in patterns))
        left = [path for path in left if path not in found]
        if found:
            lanes.append(Lane(tier, f"{tier}-{name}", found))
    return [Lane(tier, tier, tuple(left)), *lanes] if left else lanes


def run_lanes(lanes: Sequence[Lane], options: Sequence[str]) -> Iterable[tuple[Lane, Outcome]]:
    """At most ``BESIDE`` at once."""
    waiting = sorted(lanes, key=lambda lane: LONGEST.index(lane.name) if lane.name in LONGEST else len(LONGEST))
    running: list[Run] = []
    shown = len(waiting) == 1
    interrupted = False
    while waiting or running:
        try:
            while waiting and len(running) < BESIDE and not interrupted:
                running.append(begin(waiting.pop(0), options, shown=shown))
            time.sleep(0.2)
        except KeyboardInterrupt:
            interrupted = True
            waiting = []
        for run in list(running):
            late = run.seconds > TIERS[run.lane.tier] * 60
            if run.process.poll() is None and not late and not interrupted:
                continue
            running.remove(run)
            yield run.lane, finish(run, "interrupted" if interrupted else f"ended after {TIERS[run.lane.tier]} minutes", shown=shown)


def begin(lane: Lane, options: Sequence[str], *, shown: bool) -> Run:
    """``shown``: its output is seen as it comes."""
    print(f"\n=== {lane.name} ===" if shown else f"{lane.name} begins", flush=True)
    lane.report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", *lane.tests, f"--junitxml={lane.report}", "-o", f"junit_suite_name={lane.name}", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with lane.log.open("wb") as log:
        out = None if shown else log
        process = subprocess.Popen([*command, *options], cwd=ROOT, env=environment, start_new_session=True, stdout=out, stderr=out)
    return Run(lane, process)


def finish(run: Run, why: str, *, shown: bool) -> Outcome:
    """What a run has come to. One that has not ended is ended, for the reason ``why``."""
    hung = run.process.poll() is None
    if hung:
        end(run.process)
    counted = read_report(run.lane, run.seconds)
    if not shown:
        print(f"\n=== {run.lane.name} ({run.seconds:.0f} s) ===\n{run.lane.log.read_text(errors='replace').rstrip()}\n", flush=True)
    if not hung and (run.process.returncode in (0, 1, 5) or counted.failed):
        return counted
    why = f"did not finish: {why}" if hung else f"pytest ended with {run.process.returncode}"
    return Outcome(counted.name, counted.passed, counted.failed + 1, counted.skipped, counted.seconds, why, counted.names)


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
    if tier == "cluster" and not os.environ.get("KUBECONFIG") and (found := kubernetes.problems()):
        return f"The cluster tier cannot run: {'; '.join(found)}."
    return ""


def build_cluster() -> str:
    """Build what the tests' own Kubernetes and its images are made of, with progress and outside the tier's time; a sentence if that
    does not work out."""
    if os.environ.get("KUBECONFIG"):
        return ""
    command = [sys.executable, "-m", "tests.kubernetes", "build"]
    built = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    return "" if built.returncode == 0 else "The cluster tier cannot run: what it stands on could not be built (see above)."


def read_report(lane: Lane, seconds: float) -> Outcome:
    try:
        report = ElementTree.parse(lane.report).getroot()
    except (OSError, ElementTree.ParseError):
        return Outcome(lane.name, failed=1, seconds=seconds, why="no report was written")
    counts = [{name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")} for suite in report.iter("testsuite")]
    failed = sum(count["failures"] + count["errors"] for count in counts)
    skipped = sum(count["skipped"] for count in counts)
    total = sum(count["tests"] for count in counts)
    names = [
        f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        for case in report.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return Outcome(lane.name, max(0, total - failed - skipped), failed, skipped, seconds, names=tuple(dict.fromkeys(names)))


def together(tier: str, found: Sequence[Outcome]) -> Outcome:
    """A tier's lanes as one; its seconds are those of its longest lane."""
    passed, failed, skipped = (sum(getattr(outcome, name) for outcome in found) for name in ("passed", "failed", "skipped"))
    why = "; ".join(f"{outcome.name}: {outcome.why}" if len(found) > 1 else outcome.why for outcome in found if outcome.why)
    names = tuple(name for outcome in found for name in outcome.names)
    return Outcome(tier, passed, failed, skipped, max((outcome.seconds for outcome in found), default=0.0), why, names)


def print_table(outcomes: dict[str, list[Outcome]]) -> None:
    print(f"\n{'tier':<22}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    tiers = [together(tier, found) for tier, found in outcomes.items()]
    for tier in tiers:
        print_row(tier)
        if len(lanes := outcomes[tier.name]) > 1:
            for lane in sorted(lanes, key=lambda lane: lane.name):
                print_row(lane, "  ")
    for name in [name for tier in tiers for name in tier.names]:
        print(f"failed: {name}")
    total = together("all", tiers)
    print(f"\n{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)


def print_row(outcome: Outcome, indent: str = "") -> None:
    name = f"{indent}{outcome.name}"
    row = f"{name:<22}{outcome.passed:>8}{outcome.failed:>8}{outcome.skipped:>9}{outcome.seconds:>9.0f}"
    print(f"{row}   {outcome.why}" if outcome.why else row)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
