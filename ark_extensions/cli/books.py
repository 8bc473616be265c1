"""`ark books check`: the platform recomputes its own books."""

from __future__ import annotations

import click

from ark_extensions.cli.installation import installation, opened, print_json
from ark_extensions.usecases.books import check_books


@click.group()
def books() -> None:
    """The journal of all money."""


@books.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool) -> None:
    """Recompute every balance and charge. Status 1: there are differences, and they are printed."""
    with opened(installation()) as storage:
        differences = check_books(storage)
    if as_json:
        print_json([{"kind": found.kind, "message": found.message, "rows": found.rows} for found in differences])
    else:
        for found in differences:
            click.echo(f"{found.kind}: {found.message}")
        click.echo(f"{len(differences)} differences." if differences else "The books are right: 0 differences.")
    raise SystemExit(1 if differences else 0)
