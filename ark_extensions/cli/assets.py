"""`ark asset …`: monthly compute of users, as an operator sees it and may give it up for them."""

from __future__ import annotations

import click

from ark_extensions.cli.installation import installation, opened, print_table, utc_now
from ark_extensions.cli.money import operator_name, reason_option
from ark_extensions.domain.money import format_amount
from ark_extensions.usecases import assets, conversions


@click.group()
def asset() -> None:
    """Monthly compute that users bought."""


@asset.command("list")
@click.argument("name")
def list_(name: str) -> None:
    """List the monthly compute of the user NAME."""
    now = utc_now()
    with opened(installation()) as storage:
        found = assets.list_assets(storage, user=name, now=now)
    rows = [(a.id, a.offer.name, f"{a.expires_at:%Y-%m-%d %H:%M}", _state(a), format_amount(a.paid_micros)) for a in found]
    print_table(("ID", "COMPUTE", "EXPIRES (UTC)", "STATE", "PAID"), rows)


def _state(view: assets.AssetView) -> str:
    if view.ended_at is None:
        return f"used by {view.used_by}" if view.used_by else "not used"
    return "given up" if view.converted else "expired"


@asset.command("convert")
@click.argument("name")
@click.argument("id")
@click.option(
    "--percent",
    type=click.IntRange(1, 100),
    default=None,
    help="So much of the money for the days not begun comes back (default: the setting term_conversion_percent, or 100 where it is 0).",
)
@click.option("--yes", is_flag=True, help="Do it; without it, only what it would bring is printed.")
@reason_option
def convert(name: str, id: str, percent: int | None, yes: bool, reason: str) -> None:
    """Give up the monthly compute ID of the user NAME: a part of the money for its rest goes back to the wallet."""
    settings = installation()
    about = {"owner": name, "asset_id": id, "percent": percent or settings.term_conversion_percent or 100, "now": utc_now()}
    with opened(settings) as storage:
        if yes:
            plan = conversions.convert_asset(storage, **about, actor=operator_name(), reason=reason)  # type: ignore[arg-type]
        else:
            plan = conversions.quote_conversion(storage, **about)  # type: ignore[arg-type]
    back, lost = format_amount(plan.back_micros), format_amount(plan.lost_micros)
    click.echo(f"{plan.offer_name}: {plan.days_left} days left, {back} {settings.currency} back, {lost} lost")
    if not yes:
        click.echo("Nothing was changed: add --yes to do it.")
