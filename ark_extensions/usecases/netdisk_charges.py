"""Netdisk beyond the free space: charged by GiB and day on what was measured, a finished UTC day at a time.

By the setting it is the day's mean or its maximum. An hour that was not measured counts as nothing for the mean:
uncertainty bills less. The rule and the price stand on the netdisk's page before anything is charged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, select

from ark_extensions.domain.files import GIB
from ark_extensions.domain.money import round_quotient
from ark_extensions.domain.offers import PriceVersion, price_at
from ark_extensions.storage import Storage
from ark_extensions.storage.tables_money import bill_lines
from ark_extensions.storage.tables_netdisk import netdisk_usage
from ark_extensions.usecases.charges import BooksHalted, Charge, post_charges
from ark_extensions.usecases.halts import halt
from ark_extensions.usecases.market import prices
from ark_extensions.usecases.purse import read_purses

SUBJECT = "netdisk"
#: what an empty wallet could not pay is asked for again for so long
WINDOW = timedelta(days=35)
HOURS_A_DAY = 24


def measured_bytes(rule: str, hours: Sequence[int]) -> int:
    """A day's billable bytes from its measured hours, by ``mean`` (of 24 hours) or ``max``."""
    return max(hours, default=0) if rule == "max" else sum(hours) // HOURS_A_DAY


def netdisk_price(storage: Storage, *, now: datetime) -> int | None:
    """Micros per GiB and day now; None: nothing is charged."""
    with storage.read() as connection:
        price = price_at(prices(connection, [SUBJECT]).get(SUBJECT, ()), now)
    return price.price_micros if price else None


def charge_netdisks(storage: Storage, *, rule: str, now: datetime) -> int:
    """Charge every finished day that was measured and not charged yet; returns the number of charges."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    u = netdisk_usage
    query = select(u.c.owner, u.c.hour, u.c.billable_bytes).where(u.c.hour >= today - WINDOW, u.c.hour < today, u.c.billable_bytes > 0)
    days: dict[tuple[str, date], list[int]] = defaultdict(list)
    with storage.read() as connection:
        for row in connection.execute(query):
            days[row.owner, row.hour.date()].append(row.billable_bytes)
    if not days:
        return 0
    with storage.write() as connection:
        versions = prices(connection, [SUBJECT]).get(SUBJECT, ())
        charges = [c for c in _charges(connection, days, rule, versions) if c.amount_micros > 0]
        purses = read_purses(connection, sorted({c.owner for c in charges}), now)
        try:
            return post_charges(connection, [c for c in charges if purses[c.owner].available_micros > 0], now)
        except BooksHalted as wrong:
            halt(connection, [wrong.found], now)
            return 0


def _charges(
    connection: Connection, days: Mapping[tuple[str, date], list[int]], rule: str, versions: Sequence[PriceVersion]
) -> list[Charge]:
    keys = {(owner, day): f"netdisk:{owner}:{day.isoformat()}" for owner, day in days}
    known = set(connection.execute(select(bill_lines.c.key).where(bill_lines.c.kind == "charge_netdisk")).scalars())
    found = []
    for (owner, day), hours in sorted(days.items()):
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        price = price_at(versions, begin)
        if price is None or keys[owner, day] in known:
            continue
        used = measured_bytes(rule, hours)
        amount = round_quotient(price.price_micros * used, GIB)
        about = (keys[owner, day], owner, "charge_netdisk", keys[owner, day], amount, begin, begin + timedelta(days=1), used)
        found.append(Charge(*about, price_version_id=price.id))
    return found
