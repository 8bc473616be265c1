"""`ark books …`: the platform recomputes its own books, and goes on after a halt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

import click

from ark_extensions.cli.installation import installation, opened, print_json, utc_now
from ark_extensions.cli.money import operator_name, reason_option
from ark_extensions.settings import Settings
from ark_extensions.supervisor.words import language, phrase
from ark_extensions.usecases.books import check_books, resume_posting
from ark_extensions.usecases.halts import Halt, posting_halt
from ark_extensions.usecases.views import Sentence
from ark_extensions.web.i18n import render


@click.group()
def books() -> None:
    """The journal of all money."""


@books.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool) -> None:
    """Recompute every balance and charge. Status 1: there are differences, or posting is halted; both are printed."""
    settings = installation()
    with opened(settings) as storage:
        differences, halt = check_books(storage), posting_halt(storage)
    if as_json:
        rows = [{"kind": found.kind, "message": found.message, "rows": found.rows} for found in differences]
        if halt:
            seen = {"at": halt.at.isoformat(), "found": [in_words(said, settings) for said in halt.found], "waiting": halt.waiting}
            rows.append({"kind": "halted", "message": "posting is halted", "rows": [seen]})
        print_json(rows)
    else:
        for found in differences:
            click.echo(f"{found.kind}: {in_words(found.said, settings)}")
        click.echo(phrase("{count} differences.", count=len(differences)) if differences else phrase("The books are right: 0 differences."))
        if halt:
            click.echo("\n".join(_told(halt, settings)))
    raise SystemExit(1 if differences or halt else 0)


def in_words(said: Sentence, settings: Settings) -> str:
    """A sentence of the platform in the language of the terminal."""
    return render(said, language(), settings.currency)


def _told(halt: Halt, settings: Settings) -> Iterator[str]:
    since = f"{halt.at.astimezone(UTC):%Y-%m-%d %H:%M}"
    yield phrase("Posting is halted since {at} UTC; {waiting} postings wait. The audit found:", at=since, waiting=halt.waiting)
    yield from (f"  {in_words(said, settings)}" for said in halt.found)
    yield phrase("Keep a copy of the database and look for the cause; then `ark books resume --reason …` lets posting go on.")


@books.command("resume")
@reason_option
def resume(reason: str) -> None:
    """Let posting go on after a halt. What still differs is accepted as it is; what waited is posted."""
    settings = installation()
    with opened(settings) as storage:
        accepted, posted = resume_posting(storage, actor=operator_name(), reason=reason, now=utc_now())
    for found in accepted:
        click.echo(phrase("accepted: {what}", what=in_words(found.said, settings)))
    click.echo(phrase("Posting goes on; {count} postings had waited. Mend mistakes with `ark user correct`.", count=posted))
