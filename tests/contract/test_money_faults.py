"""Killed, cut off, paused or out of disk at each commit by name: what was acknowledged is there, a repetition does it once.

Every act that moves money is done on a database of its own while one fault strikes just before or just after one of its
commits; then it is asked for again by the same key. The picture must be that of an undisturbed life.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError

from ark_extensions import storage as storages
from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.ledger import recharge
from ark_extensions.domain.money import MICROS
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import price_versions
from ark_extensions.storage.tables_netdisk import netdisk_usage
from ark_extensions.storage.types import to_micros
from ark_extensions.usecases import (
    assets,
    books,
    conversions,
    launches,
    leases,
    netdisk_charges,
    operator,
    orders,
    recharges,
    settlement,
    vouchers,
    workspaces,
)
from ark_extensions.usecases.journal import post_postings
from tests import postgresql
from tests.faults import AFTER, BEFORE, Commits, drop, kill, pause
from tests.unit import purse_stage
from tests.unit.fresh import fresh_database
from tests.unit.purse_stage import ORDER, T0, run

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATER = T0 + HOUR
KEY = b"k" * 32

Act = Callable[[Storage], object]


def furnish(storage: Storage) -> None:
    """Two workspaces that have run for an hour, one with a disk; a term; a recharge, a transfer and a voucher under way."""
    purse_stage.furnish(storage, 100 * MICROS)
    post_postings(storage, [recharge(key="paid", user="bob", amount_micros=500 * MICROS, at=T0, actor="bob", memo="")])
    alive = {}
    for n, disk in enumerate((200, 0)):
        workspace_id, _, launch_id = run(storage, T0, replace(ORDER, request_id=f"w{n}", data_disk_gib=disk))
        alive[workspace_id] = launch_id
    launches.record_alive(storage, alive=alive, now=LATER)
    assets.buy_asset(storage, user="bob", request_id="bought", offer="month", months=2, auto_renew=False, now=T0)
    about = {"user": "alice", "amount_micros": 5 * MICROS, "now": T0}
    recharges.begin_recharge(storage, request_id="card", provider="stripe", **about)
    recharges.begin_recharge(storage, request_id="transfer", provider="manual", **about)
    batch = {"amount_micros": 20 * MICROS, "count": 1, "expires_at": T0 + DAY, "reason": "course", "actor": "root", "now": T0}
    vouchers.make_vouchers(storage, **batch, request_id="v", key=KEY)
    with storage.write() as connection:
        row = {"id": "p" * 32, "subject": "netdisk", "per": "day", "price_micros": MICROS, "valid_from": T0 - 9 * DAY}
        connection.execute(price_versions.insert().values(**row))
        hour = (T0 - DAY).replace(hour=3, minute=0)
        used = {"owner": "alice", "hour": hour, "used_bytes": 34 << 30, "used_files": 1, "billable_bytes": 24 << 30}
        connection.execute(netdisk_usage.insert().values(**used))


def _recharge(storage: Storage, request_id: str) -> str:
    with storage.read() as connection:
        return str(connection.exec_driver_sql(f"SELECT id FROM recharges WHERE request_id = '{request_id}'").scalar_one())


def _asset(storage: Storage) -> str:
    return assets.list_assets(storage, user="bob", now=T0)[0].id


def settle(storage: Storage) -> object:
    return settlement.settle_usage(storage, now=LATER)


def stop(storage: Storage) -> object:
    [view] = [v for v in workspaces.list_workspaces(storage, owner="alice", now=LATER) if v.name == "ws1"]
    gone = {"launch_id": None, "exit_code": 0, "was_ready": True}
    return launches.record_stop(storage, workspace_id=view.id, now=LATER, **gone)  # type: ignore[arg-type]


def release(storage: Storage) -> object:
    stop(storage)
    about = {"owner": "alice", "name": "ws1", "confirm": "ws1", "actor": "alice", "recycle_days": 7}
    with suppress(ArkError):  # released already
        workspaces.release_workspace(storage, **about, now=LATER)  # type: ignore[arg-type]
    return None


def order(storage: Storage) -> object:
    return orders.place_order(storage, user="bob", order=replace(ORDER, request_id="again"), now=LATER).name


def buy(storage: Storage) -> object:
    about = {"request_id": "bought-2", "offer": "month", "months": 1, "auto_renew": False}
    return assets.buy_asset(storage, user="bob", **about, now=LATER).paid_micros  # type: ignore[arg-type]


def renew(storage: Storage) -> object:
    return assets.renew_asset(storage, user="bob", asset_id=_asset(storage), request_id="more", months=1, now=LATER).expires_at


def convert(storage: Storage) -> object:
    about = {"owner": "bob", "asset_id": _asset(storage), "percent": 100, "actor": "bob"}
    return conversions.convert_asset(storage, **about, now=LATER).back_micros  # type: ignore[arg-type]


def pay(storage: Storage) -> object:
    about = {"user": "alice", "provider": "stripe", "amount_micros": 7 * MICROS, "now": LATER}
    view = recharges.begin_recharge(storage, request_id="new", **about)  # type: ignore[arg-type]
    recharges.provider_began(storage, recharge_id=view.id, reference="cs_new", pay_url="https://pay.example/")
    fact = {"provider": "stripe", "reference": "cs_new", "amount_micros": 7 * MICROS, "currency": "CNY", "own_currency": "CNY"}
    recharges.recharge_paid(storage, recharge_id=view.id, **fact, now=LATER)  # type: ignore[arg-type]
    return "paid"


def confirm(storage: Storage) -> object:
    about = {"recharge_id": _recharge(storage, "transfer"), "actor": "root", "reason": "seen"}
    return recharges.confirm_transfer(storage, **about, now=LATER).status


def redeem(storage: Storage) -> object:
    batch = {"amount_micros": 20 * MICROS, "count": 1, "expires_at": T0 + DAY, "reason": "course", "actor": "root", "now": T0}
    _, [code] = vouchers.make_vouchers(storage, **batch, request_id="v", key=KEY)  # type: ignore[arg-type]
    try:
        vouchers.redeem_voucher(storage, user="alice", code=code, now=LATER)
    except ArkError as used:
        assert used.code == "voucher_used", used
    return "redeemed"


def credit(storage: Storage) -> object:
    about = {"user": "bob", "amount_micros": MICROS, "actor": "root", "reason": "x", "request_id": "c"}
    return operator.credit(storage, **about, now=LATER)  # type: ignore[arg-type]


def netdisk(storage: Storage) -> object:
    return netdisk_charges.charge_netdisks(storage, rule="mean", now=LATER)


#: every act that moves money, with its commits by name, in order: a new one does not slip in unseen
ACTS: dict[Act, tuple[str, ...]] = {
    settle: ("_settle_open_runs", "_settle_living_disks"),
    stop: ("record_stop",),
    release: ("record_stop", "release_workspace"),
    netdisk: ("charge_netdisks",),
    order: ("place_order",),
    buy: ("buy_asset",),
    renew: ("renew_asset",),
    convert: ("convert_asset",),
    pay: ("begin_recharge", "provider_began", "recharge_paid"),
    confirm: ("confirm_transfer",),
    redeem: ("make_vouchers", "redeem_voucher"),
    credit: ("credit",),
}
POINTS = [(act, point) for act, points in ACTS.items() for point in points]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, server: postgresql.Server | None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Gives the URL of another furnished database each time."""
    directory: Path = tmp_path_factory.mktemp("faults")
    if request.param == "sqlite":
        first = fresh_database(directory)
        storage = Storage(first)
        furnish(storage)
        storage.close()
        content, made = (directory / "ark.sqlite").read_bytes(), iter(range(10**6))

        def copy() -> str:
            file = directory / f"{next(made)}.sqlite"
            file.write_bytes(content)
            return f"sqlite:///{file}"

        return copy
    if server is None:
        pytest.skip(postgresql.missing() or "")
    url = server.database()
    storages.migrate(url)
    storage = Storage(url)
    furnish(storage)
    storage.close()
    return lambda: server.database(server.name_of(url))


def picture(storage: Storage) -> dict[str, object]:
    """All that counts of a database, without the identifiers that chance made."""
    assert books.check_books(storage) == []
    queries = {
        "accounts": "SELECT name, balance_micros FROM accounts ORDER BY 1",
        "movements": "SELECT kind, at, count(*) FROM transactions GROUP BY 1, 2 ORDER BY 1, 2",
        "lines": "SELECT owner, kind, from_at, until_at, quantity, amount_micros FROM bill_lines ORDER BY 1, 2, 3, 4, 5, 6",
        "workspaces": "SELECT owner, name, state, disk_charged_micros FROM workspaces ORDER BY 1, 2",
        "assets": "SELECT owner, months, expires_at, ended_at FROM assets ORDER BY 1, 2, 3",
        "recharges": "SELECT owner, status, amount_micros FROM recharges ORDER BY 1, 2, 3",
        "claims": "SELECT node, count(*) FROM claims GROUP BY 1",
        "vouchers": "SELECT redeemed_by FROM vouchers",
        "acts": "SELECT actor, act, subject FROM audit_log ORDER BY 1, 2, 3",
    }
    with storage.read() as connection:
        return {name: [tuple(row) for row in connection.exec_driver_sql(query)] for name, query in queries.items()}


@pytest.fixture(scope="module")
def undisturbed(make: Callable[[], str]) -> dict[Act, tuple[object, dict[str, object]]]:
    """What each act answers when asked again, and the picture after it, where nothing goes wrong."""
    found = {}
    for act, points in ACTS.items():
        storage = Storage(make())
        commits = Commits(storage)
        act(storage)
        assert tuple(dict.fromkeys(commits.seen)) == points, f"the commits of {act.__name__} are others than they were"
        found[act] = (act(storage), picture(storage))
        storage.close()
    return found


def ids(value: object) -> str | None:
    return value.__name__ if callable(value) else None


def in_child(url: str, work: Callable[[Storage], object]) -> int:
    """Fork, do the work on a storage of the child's own; the child's process id."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            storage = Storage(url)
            work(storage)
            storage.close()
            code = 0
        finally:
            os._exit(code)
    return child


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize(("act", "point"), POINTS, ids=ids)
def test_killed_at_a_commit(make: Callable[[], str], undisturbed: dict, act: Act, point: str, when: str) -> None:
    url = make()

    def live(storage: Storage) -> None:
        Commits(storage, point, when, kill)
        act(storage)

    _, status = os.waitpid(in_child(url, live), 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "the commit was reached"
    storage = Storage(url)
    assert books.check_books(storage) == []
    act(storage)
    assert (act(storage), picture(storage)) == undisturbed[act]
    storage.close()


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize(("act", "point"), POINTS, ids=ids)
def test_cut_off_from_the_database_at_a_commit(make: Callable[[], str], undisturbed: dict, act: Act, point: str, when: str) -> None:
    storage = Storage(make())
    Commits(storage, point, when, drop)
    with pytest.raises(DBAPIError):
        act(storage)
    act(storage)  # the same storage: it finds its way back to the database by itself
    assert (act(storage), picture(storage)) == undisturbed[act]
    storage.close()


def stopped(child: int) -> None:
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "it was to pause"


def woken(child: int) -> int:
    os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


LEASE = {"name": "billing", "seconds": 30}


def service(holder: str, now: object = LATER) -> Act:
    """One pass of a billing service: only under the lease."""

    def work(storage: Storage) -> None:
        if leases.take_lease(storage, **LEASE, holder=holder, now=now):  # type: ignore[arg-type]
            settle(storage)

    return work


@pytest.mark.parametrize(("point", "when"), [("take_lease", AFTER), ("_settle_open_runs", AFTER), ("_settle_living_disks", AFTER)])
def test_a_billing_service_paused_past_its_lease_and_woken_charges_nothing_twice(
    make: Callable[[], str], undisturbed: dict, point: str, when: str
) -> None:
    url = make()

    def live(storage: Storage) -> None:
        Commits(storage, point, when, pause)
        service("first")(storage)

    child = in_child(url, live)
    stopped(child)
    storage = Storage(url)
    assert not leases.take_lease(storage, **LEASE, holder="second", now=LATER)  # type: ignore[arg-type]
    assert leases.take_lease(storage, **LEASE, holder="second", now=LATER + timedelta(seconds=31))  # type: ignore[arg-type]
    settle(storage)
    assert woken(child) == 0
    assert picture(storage) == undisturbed[settle][1]
    assert not leases.take_lease(storage, **LEASE, holder="first", now=LATER + timedelta(seconds=32)), "the second has it"  # type: ignore[arg-type]
    storage.close()


def test_a_billing_service_paused_in_the_middle_of_a_unit_of_work_holds_the_others_up_for_a_bounded_time(
    make: Callable[[], str], undisturbed: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends its session, so that the others go on; on SQLite the others are refused until it wakes."""
    monkeypatch.setattr(storages, "IDLE_SECONDS", 1)
    monkeypatch.setattr(storages, "LOCK_TIMEOUT_SECONDS", 20 if make().startswith("postgresql") else 1)
    url = make()

    def live(storage: Storage) -> None:
        Commits(storage, "_settle_open_runs", BEFORE, pause)
        settle(storage)

    child = in_child(url, live)
    stopped(child)
    storage = Storage(url)
    if storage.dialect == "sqlite":
        with pytest.raises(OperationalError, match="locked"):
            settle(storage)
        assert woken(child) == 0
    else:
        assert settle(storage) == 3
        assert woken(child) == 3, "its own commit fails: it tries again at its next pass"
    settle(storage)
    assert picture(storage) == undisturbed[settle][1]
    storage.close()


def test_a_full_disk_while_settling_loses_nothing_and_halves_nothing(make: Callable[[], str], undisturbed: dict) -> None:
    """The database may not grow by a page: SQLite's own answer to a full disk, without one."""
    url = make()
    if not url.startswith("sqlite"):
        pytest.skip("PostgreSQL has no such bound: its full disk is a real one, in test_money_full_disk.py")
    storage = Storage(url)
    with storage.write() as connection:  # more runs than fit into what is free of the last pages
        for n in range(60):
            connection.exec_driver_sql(
                "INSERT INTO workspaces (id, owner, name, display_name, state, state_since, offer_id, image_id, data_disk_gib, warned,"
                f" created_at, disk_since) SELECT 'full{n}', owner, 'full{n}', 'x', state, state_since, offer_id, image_id, 0, warned,"
                " created_at, disk_since FROM workspaces WHERE name = 'ws2'"
            )
            connection.exec_driver_sql(
                "INSERT INTO runs (id, workspace_id, owner, launch_id, offer_id, price_version_id, price_micros_per_hour, opened_at,"
                f" seen_at) SELECT 'full{n}', 'full{n}', owner, 'l{n}', offer_id, price_version_id, price_micros_per_hour, opened_at,"
                f" {to_micros(LATER)} FROM runs LIMIT 1"
            )
    file = url.removeprefix("sqlite:///")
    with sqlite3.connect(file) as plain:
        (pages,) = plain.execute("PRAGMA page_count").fetchone()
    full = Storage(url)
    event.listen(full.engines[-1], "connect", lambda connection, _: connection.execute(f"PRAGMA max_page_count={pages}").close())
    with pytest.raises(OperationalError, match="full"):
        settle(full)
    full.close()
    with storage.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM bill_lines WHERE kind = 'charge_compute'").scalar_one() == 0
    assert books.check_books(storage) == []
    assert settle(storage) == 62 and settle(storage) == 0, "there is room again; the empty wallet pays no disk"
    assert books.check_books(storage) == []
    storage.close()
