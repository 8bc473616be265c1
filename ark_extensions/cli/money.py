"""`ark voucher|price|transfer|revenue|acts` and the operator's acts on wallets: what the admin pages do, from a shell."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta

import click

from ark_extensions.cli.installation import installation, opened, print_json, print_table, utc_now
from ark_extensions.cli.people import user
from ark_extensions.domain.errors import InvalidField
from ark_extensions.domain.money import format_amount, parse_amount
from ark_extensions.usecases import audit, bills, operator, price_changes, recharges, vouchers
from ark_extensions.usecases.identifiers import new_id

reason_option = click.option("--reason", required=True, help="Why: it is kept with the act.")
request_option = click.option("--request-id", default=None, help="The same id again changes nothing (default: a new one).")


def operator_name() -> str:
    """Who acts: the account that runs the command."""
    return f"{getpass.getuser()} (command line)"


def micros(text: str, *, field: str = "amount") -> int:
    try:
        return parse_amount(text)
    except ValueError as wrong:
        raise InvalidField("{text} is not an amount: write it like 20.00.", field=field, text=repr(text[:30])) from wrong


@user.command("refund")
@click.argument("name")
@click.argument("amount")
@click.option("--subject", required=True, help="The bill line's subject, such as run:… (see the user's bills).")
@reason_option
@request_option
def refund(name: str, amount: str, subject: str, reason: str, request_id: str | None) -> None:
    """Give back AMOUNT of something that was billed to NAME."""
    settings = installation()
    act = {"user": name, "subject": subject, "actor": operator_name(), "reason": reason, "request_id": request_id or new_id()}
    with opened(settings) as storage:
        balance = operator.refund(storage, **act, amount_micros=micros(amount), now=utc_now())
    click.echo(f"{name}: {format_amount(balance)} {settings.currency}")


@user.command("correct", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("amount")
@reason_option
@request_option
def correct(name: str, amount: str, reason: str, request_id: str | None) -> None:
    """Mend a mistake in the wallet of NAME by a new entry; a negative AMOUNT takes away."""
    settings = installation()
    act = {"user": name, "actor": operator_name(), "reason": reason, "request_id": request_id or new_id()}
    with opened(settings) as storage:
        balance = operator.correct(storage, **act, amount_micros=micros(amount), now=utc_now())
    click.echo(f"{name}: {format_amount(balance)} {settings.currency}")


@user.command("freeze")
@click.argument("name")
@click.option("--thaw", is_flag=True, help="Free it again.")
@reason_option
def freeze(name: str, thaw: bool, reason: str) -> None:
    """Freeze the wallet of NAME: it buys and starts nothing."""
    with opened(installation()) as storage:
        operator.freeze_wallet(storage, user=name, frozen=not thaw, actor=operator_name(), reason=reason, now=utc_now())
    click.echo(f"{name}: {'free' if thaw else 'frozen'}")


@click.group()
def voucher() -> None:
    """Vouchers: codes that users redeem for credit."""


@voucher.command("make")
@click.argument("amount")
@click.option("--count", default=1, show_default=True, help="How many codes.")
@click.option("--days", default=90, show_default=True, help="Until when they can be redeemed.")
@click.option("--credit-days", default=None, type=int, help="The credit expires so many days after it was redeemed.")
@click.option("--request-id", default=None, help="The same id again makes nothing and prints the same codes (default: a new one).")
@reason_option
def make(amount: str, count: int, days: int, credit_days: int | None, request_id: str | None, reason: str) -> None:
    """Make codes worth AMOUNT each, and print them: they are kept only as hashes and cannot be shown again."""
    settings = installation()
    act = {"actor": operator_name(), "reason": reason, "count": count, "credit_days": credit_days, "request_id": request_id or new_id()}
    now = utc_now()
    until = (now + timedelta(days=days + 1)).replace(hour=0, minute=0, second=0, microsecond=0)  # the same all day, for a repetition
    with opened(settings) as storage:
        _, codes = vouchers.make_vouchers(
            storage,
            amount_micros=micros(amount),
            expires_at=until,
            key=settings.secret("voucher_key").encode(),
            now=now,
            **act,  # type: ignore[arg-type]
        )
    for code in codes:
        click.echo(code)


@voucher.command("list")
def list_vouchers() -> None:
    """List the batches that were made."""
    with opened(installation()) as storage:
        found = vouchers.list_batches(storage)
    rows = [(format_amount(b.amount_micros), f"{b.redeemed} of {b.count}", f"{b.expires_at:%Y-%m-%d}", b.actor, b.reason) for b in found]
    print_table(("AMOUNT", "REDEEMED", "UNTIL", "BY", "REASON"), rows)


@click.group()
def price() -> None:
    """Prices of offers, disks and netdisk space."""


@price.command("list")
def list_prices() -> None:
    """List all price versions, the newest first."""
    with opened(installation()) as storage:
        history = price_changes.price_history(storage)
    rows = [
        (h.subject, f"{format_amount(v.price_micros)} a {v.per}", f"{v.valid_from:%Y-%m-%d %H:%M} UTC") for h in history for v in h.versions
    ]
    print_table(("SUBJECT", "PRICE", "FROM"), rows)


@price.command("set")
@click.argument("subject")
@click.argument("amount")
@click.option("--from", "begin", default=None, help="From this moment on, e.g. 2027-01-01T00:00+00:00 (default: now).")
@reason_option
def set_price(subject: str, amount: str, begin: str | None, reason: str) -> None:
    """Set the price of SUBJECT (offer:ID, disk:GIB or netdisk). What runs or was sold keeps its price."""
    now = utc_now()
    try:
        valid_from = datetime.fromisoformat(begin) if begin else now
    except ValueError as wrong:
        raise InvalidField("{text} is not a time: write it like 2027-01-01T00:00+00:00.", field="from", text=repr(begin)) from wrong
    if valid_from.tzinfo is None:
        raise InvalidField("Give the time zone of the time, such as +00:00.", field="from")
    act = {"subject": subject, "actor": operator_name(), "reason": reason, "now": now}
    valid_from = valid_from.astimezone(UTC)
    with opened(installation()) as storage:
        version = price_changes.schedule_price(storage, price_micros=micros(amount), valid_from=valid_from, **act)  # type: ignore[arg-type]
    click.echo(f"{subject}: {format_amount(version.price_micros)} a {version.per} from {version.valid_from:%Y-%m-%d %H:%M} UTC")


@click.group()
def transfer() -> None:
    """Recharges by bank transfer."""


@transfer.command("list")
def list_transfers() -> None:
    """List transfers that were announced and not confirmed."""
    with opened(installation()) as storage:
        waiting = [r for r in recharges.list_recharges(storage, status="pending").items if r.provider == "manual"]
    rows = [(r.id, r.owner, format_amount(r.amount_micros), f"{r.created_at:%Y-%m-%d %H:%M}", r.id[:12].upper()) for r in waiting]
    print_table(("ID", "USER", "AMOUNT", "SINCE", "REFERENCE"), rows)


@transfer.command("confirm")
@click.argument("id")
@reason_option
def confirm(id: str, reason: str) -> None:
    """Confirm that the transfer ID arrived."""
    settings = installation()
    with opened(settings) as storage:
        view = recharges.confirm_transfer(storage, recharge_id=id, actor=operator_name(), reason=reason, now=utc_now())
    click.echo(f"{view.owner}: {format_amount(view.amount_micros)} {settings.currency} arrived")


@click.command()
@click.option("--days", default=30, show_default=True, help="So many days back from now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revenue(days: int, as_json: bool) -> None:
    """What was charged by offer, and what is owed."""
    settings, now = installation(), utc_now()
    with opened(settings) as storage:
        found = bills.takings(storage, since=now - timedelta(days=days), until=now)
        owed = bills.receivables(storage).items
    if as_json:
        by_offer = {name: format_amount(amount) for name, amount in found.by_offer}
        by_day = {day.isoformat(): format_amount(amount) for day, amount in found.by_day}
        print_json({"by_offer": by_offer, "by_day": by_day, "owed": {name: format_amount(amount) for name, amount in owed}})
        return
    rows = [(name, format_amount(amount)) for name, amount in found.by_offer] + [("total", format_amount(found.total_micros))]
    print_table(("WHAT", settings.currency), rows)
    if owed:
        print_table(("OWED BY", settings.currency), [(name, format_amount(amount)) for name, amount in owed])


@click.command()
@click.option("--limit", default=50, show_default=True, help="How many.")
@click.option("--on", "subject", default=None, help="Only on this user (or price, or batch).")
@click.option("--by", "actor", default=None, help="Only by this operator.")
@click.option("--act", default=None, help="Only of this kind.")
def acts(limit: int, subject: str | None, actor: str | None, act: str | None) -> None:
    """The operators' acts, the newest first."""
    with opened(installation()) as storage:
        found = audit.list_acts(storage, subject=subject, actor=actor, act=act, limit=limit).items
    print_table(("AT", "BY", "ACT", "ON", "REASON"), [(f"{a.at:%Y-%m-%d %H:%M}", a.actor, a.act, a.subject, a.reason) for a in found])
