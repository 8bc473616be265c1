"""`ark user …` and `ark token`: people, their wallets, and tokens for their scripts."""

from __future__ import annotations

import http.client
import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import click

from ark_extensions.cli.installation import installation, opened, print_json, print_table, utc_now
from ark_extensions.cli.preparation import new_password
from ark_extensions.domain.errors import ArkError, Conflict, NotFound, Unavailable
from ark_extensions.domain.money import format_amount, parse_amount
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.supervisor.words import SESSIONS_LAST, phrase
from ark_extensions.usecases import operator, sign_outs, users, wallet
from ark_extensions.usecases.identifiers import new_id

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_DAYS = 365
OPERATOR = "operator"
USER_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")


@click.group()
def user() -> None:
    """Users, their passwords and wallets."""


@user.command("add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="With the admin pages.")
def add(name: str, admin: bool) -> None:
    """Add a user with a generated password, and print it."""
    settings = installation()
    _check_name(name)
    with opened(settings) as storage:
        if users.get_user(storage, name=name) is not None:
            raise Conflict("There is already a user {name}.", name=name)
        users.ensure_user(storage, name=name, admin=admin, opening_credit_micros=settings.opening_credit_micros, now=utc_now())
        made = new_password()
        users.set_password(storage, user=name, password=made)
    click.echo(made)


@user.command("password")
@click.argument("name")
def password(name: str) -> None:
    """Give a user a new generated password, print it, and sign the user out everywhere."""
    settings = installation()
    with opened(settings) as storage:
        _known(storage, name)
        made = new_password()
        sign_outs.change_password(storage, user=name, password=made, actor=OPERATOR, now=utc_now())
    click.echo(made)
    _end_sessions(settings, name)


@user.command("sign-out")
@click.argument("name")
def sign_out(name: str) -> None:
    """Sign a user out of every browser, and end their SSH connections. Tokens and keys stay."""
    settings = installation()
    with opened(settings) as storage:
        _known(storage, name)
        sign_outs.sign_out(storage, user=name, actor=OPERATOR, now=utc_now())
    _end_sessions(settings, name)


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List all users with their balances."""
    settings = installation()
    with opened(settings) as storage:
        found = [(view, wallet.wallet(storage, user=view.name, now=utc_now())) for view in users.list_users(storage)]
    if as_json:
        rows = [
            {
                "name": view.name,
                "admin": view.admin,
                "created_at": view.created_at.isoformat(),
                "balance": {"amount": format_amount(purse.balance_micros), "currency": settings.currency},
            }
            for view, purse in found
        ]
        print_json(rows)
        return
    lines = [
        (view.name, "admin" if view.admin else "", f"{format_amount(purse.balance_micros)} {settings.currency}") for view, purse in found
    ]
    print_table(("NAME", "ROLE", "BALANCE"), lines)


@user.command("credit")
@click.argument("name")
@click.argument("amount")
@click.option("--reason", required=True, help="Why: it stands in the user's wallet and in the books.")
@click.option("--request-id", default=None, help="The same id again credits nothing (default: a new one).")
@click.option("--expires", default=None, help="What is left goes back then: 30d, or 2027-01-31 (the end of that day, UTC).")
def credit(name: str, amount: str, reason: str, request_id: str | None, expires: str | None) -> None:
    """Give NAME a credit of AMOUNT (see `correct` for mistakes)."""
    settings = installation()
    expires_at = _end_of(expires) if expires else None
    try:
        micros = parse_amount(amount)
    except ValueError as wrong:
        raise ArkError("{amount} is not an amount ({reason}): write it like 20.00.", amount=repr(amount), reason=str(wrong)) from wrong
    with opened(settings) as storage:
        _known(storage, name)
        about = {"user": name, "actor": OPERATOR, "reason": reason, "request_id": request_id or new_id()}
        balance = operator.credit(storage, **about, amount_micros=micros, expires_at=expires_at, now=utc_now())
    click.echo(f"{name}: {format_amount(balance)} {settings.currency}")


# so that `ark user credit NAME -5` is an amount and not an option
credit.context_settings["ignore_unknown_options"] = True


@click.command()
@click.argument("name", metavar="USER")
@click.option("--expires", default="1h", show_default=True, help="How long it is valid: 30m, 12h, 7d.")
@click.option("--note", default="ark token", show_default=True, help="What it is for; shown in the Hub's list of tokens.")
def token(name: str, expires: str, note: str) -> None:
    """Make an API token that acts as USER, and print it alone."""
    settings = installation()
    seconds = _seconds(expires)
    with opened(settings) as storage:
        _known(storage, name)
    path = f"/users/{quote(name, safe='')}"
    status, _ = _hub(settings, "POST", path, None)
    if status not in (201, 409):
        raise _hub_problem(status)
    body = {"expires_in": seconds, "note": note, "scopes": token_scopes(name)}
    status, answer = _hub(settings, "POST", f"{path}/tokens", body)
    if status != 201 or "token" not in answer:
        raise _hub_problem(status, str(answer.get("message", "")))
    click.echo(answer["token"])


def token_scopes(name: str) -> list[str]:
    """The user's whole account: the console's API, and their own servers."""
    own = ("servers", "access:servers", "read:users", "read:servers")
    return ["custom:ark:account", "access:services!service=console", *(f"{scope}!user={name}" for scope in own)]


def _check_name(name: str) -> None:
    if not USER_NAME.fullmatch(name):
        raise ArkError("{name} cannot be a user name: use up to 63 of a-z, 0-9, and . _ @ - after the first.", name=repr(name))


def _known(storage: Storage, name: str) -> None:
    if users.get_user(storage, name=name) is None:
        raise NotFound("There is no user {name}: see `ark user list`, or add one with `ark user add`.", name=name)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_DAYS * UNITS["d"]:
        raise ArkError(
            "{text} is not a time that a token can be valid for: write 30m, 12h or 7d, at most {days}d.", text=text, days=LONGEST_DAYS
        )
    return seconds


def _end_of(text: str) -> datetime:
    """A day (its end) or a span from today on, as a moment; the same all day long, so that a repeated command is the same."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = (utc_now() + timedelta(seconds=_seconds(text))).date()
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _hub(settings: Settings, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
    """One call to the Hub's API as the operator."""
    hub = urlsplit(settings.hub_api_url)
    connection = http.client.HTTPConnection(hub.hostname or "", hub.port or 80, timeout=15)
    headers = {"Authorization": f"token {settings.secret('operator_token')}", "Content-Type": "application/json"}
    try:
        connection.request(method, f"/hub/api{path}", body=None if body is None else json.dumps(body), headers=headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as failure:
        raise Unavailable("The Hub does not answer: is the platform running? Start it with `make up`.") from failure
    finally:
        connection.close()
    try:
        document = json.loads(text or b"{}")
    except ValueError:
        document = {}
    return answer.status, document if isinstance(document, dict) else {}


def _end_sessions(settings: Settings, name: str) -> None:
    """The Hub is told; it is on record for a Hub that does not answer."""
    try:
        status, _ = _hub(settings, "DELETE", f"/users/{quote(name, safe='')}/sessions", None)
    except Unavailable:
        status = 0
    if status not in (204, 404):  # 404: somebody who never signed in
        click.echo(phrase(SESSIONS_LAST, name=name), err=True)


def _hub_problem(status: int, message: str = "") -> ArkError:
    return Unavailable("The Hub did not make the token ({status} {message}).", status=status, message=message[:200])
