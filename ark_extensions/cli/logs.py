"""`ark logs WORKSPACE`: what is on record of one workspace and what the processes said of it, in one order, by its id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from ark_extensions.cli.installation import installation, opened
from ark_extensions.supervisor.words import language
from ark_extensions.usecases.history import Step, history
from ark_extensions.web.i18n import render

#: how lines of our services, and of the Hub, begin
TIMES = (
    (re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}) (.*)"), "%Y-%m-%dT%H:%M:%S%z"),
    (re.compile(r"\[\w (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) \w+ [^\]]*\] (.*)"), "%Y-%m-%d %H:%M:%S.%f"),
)
LONGEST_CHARS = 400
Line = tuple[datetime, str, str]


@click.command("logs")
@click.argument("workspace")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def logs(workspace: str, as_json: bool) -> None:
    """The life of WORKSPACE (its id, or OWNER/NAME) from order to release: order, events, runs, charges, SSH, and the lines of the logs."""
    settings = installation()
    with opened(settings) as storage:
        found = history(storage, workspace=workspace)
    hub_says = (f"{found.owner}:{found.name}", f"/{found.owner}/{found.name}", f"{found.owner}/{found.name}")
    lines = [_line(step, settings.currency) for step in found.steps]
    lines += read_logs(settings.state_dir / "logs", (*found.ids, *hub_says), since=found.steps[0].at if found.steps else None)
    for at, source, text in sorted(lines, key=lambda line: line[0]):
        moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        click.echo(
            json.dumps({"at": moment, "source": source, "text": text}, ensure_ascii=False) if as_json else f"{moment} {source:13} {text}"
        )


def _line(step: Step, currency: str) -> Line:
    facts = asdict(step)["facts"]
    shown = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in facts.items()
        if value not in (None, "", [], {})
    }
    words = " ".join(f"{name}={str(value)[:LONGEST_CHARS]}" for name, value in shown.items() if "\n" not in str(value))
    said = f"{render(step.said, language(), currency)} " if step.said else ""
    return step.at, step.source, f"{step.kind}: {said}{words}"


def read_logs(directory: Path, marks: Sequence[str], *, since: datetime | None = None) -> Iterator[Line]:
    """The lines of all logs in which one of ``marks`` stands whole, with their time and the log's name."""
    wanted = re.compile("|".join(rf"(?<![\w-]){re.escape(mark)}(?![\w-])" for mark in marks))
    for file in sorted(directory.glob("*.log*")):
        with file.open(errors="replace") as text:
            for line in text:
                if (
                    wanted.search(line)
                    and (told := _told(line)) is not None
                    and (since is None or told[0].timestamp() >= since.timestamp() - 1)
                ):
                    yield told[0], f"log:{file.name.removesuffix('.1').removesuffix('.log')}", told[1][:LONGEST_CHARS]


def _told(line: str) -> tuple[datetime, str] | None:
    for form, time in TIMES:
        if (match := form.match(line.rstrip())) is not None:
            at = datetime.strptime(match[1], time)
            return (at if at.tzinfo else at.astimezone()), match[2]
    return None
