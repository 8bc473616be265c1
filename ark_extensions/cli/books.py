"""`ark books …`: the platform recomputes its own books, and goes on after a halt."""

from __future__ import annotations

import click

from ark_extensions.cli.installation import installation, opened, print_json, utc_now
from ark_extensions.cli.money import operator_name, reason_option
from ark_extensions.usecases.books import check_books, resume_posting
from ark_extensions.usecases.halts import Halt, posting_halt


@click.group()
def books() -> None:
    """The journal of all money."""


@books.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool) -> None:
    """Recompute every balance and charge. Status 1: there are differences, or posting is halted; both are printed."""
    with opened(installation()) as storage:
        differences, halt = check_books(storage), posting_halt(storage)
    if as_json:
        rows = [{"kind": found.kind, "message": found.message, "rows": found.rows} for found in differences]
        if halt:
            seen = {"at": halt.at.isoformat(), "found": halt.found, "waiting": halt.waiting}
            rows.append({"kind": "halted", "message": "posting is halted", "rows": [seen]})
        print_json(rows)
    else:
        for found in differences:
            click.echo(f"{found.kind}: {found.message}")
        click.echo(f"{len(differences)} differences." if differences else "The books are right: 0 differences.")
        if halt:
            click.echo(_said(halt))
    raise SystemExit(1 if differences or halt else 0)


def _said(halt: Halt) -> str:
    return "\n".join(
        [
            f"Posting is halted since {halt.at:%Y-%m-%d %H:%M} UTC; {halt.waiting} postings wait. The audit found:",
            *(f"  {message}" for message in halt.found),
            "Keep a copy of the database and look for the cause; then `ark books resume --reason …` lets posting go on.",
        ]
    )


@books.command("resume")
@reason_option
def resume(reason: str) -> None:
    """Let posting go on after a halt. What still differs is accepted as it is; what waited is posted."""
    with opened(installation()) as storage:
        accepted, posted = resume_posting(storage, actor=operator_name(), reason=reason, now=utc_now())
    for found in accepted:
        click.echo(f"accepted: {found.message}")
    click.echo(f"Posting goes on; {posted} postings had waited. Mend mistakes with `ark user correct`.")
