"""A database that an earlier version wrote comes to the present form with everything in it, on SQLite and on PostgreSQL.

``recorded/schema_NNNN.json`` holds the rows of a platform that the code of that form ran, taken while workspaces ran: bought with
credit, a voucher and monthly compute, charged, stopped. Two keys' private halves are left out: the user's, who brings a new one, and
the workspaces', which are made anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from alembic import command
from sqlalchemy import JSON, Boolean, MetaData, create_engine

from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage, alembic_config, migrate
from ark_extensions.storage.schema import schema_age
from ark_extensions.storage.types import from_micros
from ark_extensions.usecases import books, launches, settlement, ssh_sessions, users, wallet, workspaces
from tests import postgresql

RECORDED = sorted((Path(__file__).parent / "recorded").glob("schema_*.json"))
PASSWORDS = {
    "schema_0004": {"li": "ippt7y-8egkfp-m5mcuu", "wang": "zdn7jk-9penf4-nv9rkc"},
    "schema_0006": {"li": "2i3gdp-hw9msh-vfez6a", "wang": "hd5395-g7b9cp-59wq5w"},
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_url(
    request: pytest.FixtureRequest, server: postgresql.Server | None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes empty databases."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('upgrade') / 'ark.sqlite'}"
    if server is None:
        pytest.skip(postgresql.missing() or "")
    return server.database


def fill(url: str, recorded: Path) -> dict[str, list[dict[str, Any]]]:
    """The database as the earlier version left it; returns its rows by table."""
    rows: dict[str, list[dict[str, Any]]] = json.loads(recorded.read_text())
    command.upgrade(alembic_config(url), recorded.stem.removeprefix("schema_"))
    engine = create_engine(url)
    made = MetaData()
    made.reflect(engine)
    # a transaction's entries come before it: then the database sees that they sum to zero
    order = sorted((table for table in made.sorted_tables if table.name in rows), key=lambda table: table.name == "transactions")
    with engine.begin() as connection:
        for table in order:
            connection.execute(table.insert(), [_typed(table, row) for row in rows[table.name]])
        if connection.dialect.name == "postgresql":
            for table in order:
                for column in table.primary_key.columns:
                    sequence = connection.exec_driver_sql(f"SELECT pg_get_serial_sequence('{table.name}', '{column.name}')").scalar()
                    sequence = sequence or ("transactions_id_seq" if table.name == "transactions" else None)
                    if sequence:
                        connection.exec_driver_sql(f"SELECT setval('{sequence}', (SELECT max({column.name}) FROM {table.name}))")
    engine.dispose()
    return rows


def _typed(table: Any, row: dict[str, Any]) -> dict[str, Any]:
    """SQLite's numbers and texts as what the columns are elsewhere."""

    def typed(name: str, value: Any) -> Any:
        kind = table.c[name].type
        if value is not None and isinstance(kind, Boolean):
            return bool(value)
        return json.loads(value) if value is not None and isinstance(kind, JSON) else value

    return {name: typed(name, value) for name, value in row.items()}


@pytest.fixture(scope="module", params=RECORDED, ids=lambda file: file.stem)
def recorded(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="module")
def upgraded(new_url: Callable[[], str], recorded: Path) -> Iterator[tuple[Storage, dict[str, list[dict[str, Any]]]]]:
    """One for the tests of this module: what is only read comes first."""
    url = new_url()
    rows = fill(url, recorded)
    migrate(url)
    storage = Storage(url)
    yield storage, rows
    assert books.check_books(storage) == []
    storage.close()


def recorded_at(rows: dict[str, list[dict[str, Any]]]) -> datetime:
    return from_micros(max(run["seen_at"] for run in rows["runs"]))


def test_balances_and_workspaces_are_what_they_were(upgraded: Any, recorded: Path) -> None:
    storage, rows = upgraded
    assert books.check_books(storage) == []
    now = recorded_at(rows)
    kept = {account["name"]: account["balance_micros"] for account in rows["accounts"]}
    for name, password in PASSWORDS[recorded.stem].items():
        owed = sum(kept.get(account, 0) for account in (f"wallet:{name}", f"credit:{name}"))
        assert abs(wallet.wallet(storage, user=name, now=now).balance_micros - owed) <= 2_000, "but for what runs now"
        assert users.check_password(storage, user=name, password=password)
    listed = {view.id: view.state for view in workspaces.list_workspaces(storage, now=now)}
    assert listed == {row["id"]: State(row["state"]) for row in rows["workspaces"]}
    assert {run.id for user in ("li", "wang") for run in wallet.list_runs(storage, user=user, month=None, now=now)} == {
        run["id"] for run in rows["runs"]
    }


def test_the_owners_ssh_key_still_opens_what_runs(upgraded: Any) -> None:
    storage, rows = upgraded
    (key,) = rows["ssh_keys"]
    name = next(w["name"] for w in rows["workspaces"] if w["owner"] == key["owner"] and w["state"] == "running")
    target = ssh_sessions.find_target(storage, owner=key["owner"], workspace=name, console_url="")
    assert key["public_key"] in target.authorized_keys
    asyncssh.import_authorized_keys(target.authorized_keys)
    assert ssh_sessions.host_key(storage, workspace_id=target.workspace_id, secret="s", now=recorded_at(rows)).public.startswith(
        "ssh-ed25519 "
    )


def test_a_workspace_goes_on_stops_starts_and_is_charged(upgraded: Any) -> None:
    storage, rows = upgraded
    now = recorded_at(rows)
    running = next(w for w in workspaces.list_workspaces(storage, now=now) if w.state is State.RUNNING and w.asset_id is None)
    launch = next(row["launch_id"] for row in rows["workspaces"] if row["id"] == running.id)
    before = wallet.wallet(storage, user=running.owner, now=now).balance_micros
    hour = now + timedelta(hours=1)
    for minute in range(1, 61):
        launches.record_alive(storage, alive={running.id: launch}, now=now + timedelta(minutes=minute))
    settlement.settle_usage(storage, now=hour)
    launches.record_stop(storage, workspace_id=running.id, launch_id=launch, now=hour, exit_code=0, was_ready=True)
    after = wallet.wallet(storage, user=running.owner, now=hour).balance_micros
    price = next(run["price_micros_per_hour"] for run in rows["runs"] if run["workspace_id"] == running.id)
    assert abs(before - after - price) <= 1
    assert books.check_books(storage) == []
    again = hour + timedelta(minutes=1)
    launches.request_start(storage, owner=running.owner, name=running.name, actor=running.owner, now=again)
    spec = launches.authorize_launch(storage, owner=running.owner, server_name=running.name, workspace_id=running.id, now=again)
    launches.record_ready(storage, workspace_id=running.id, launch_id=spec.launch_id, now=again)
    assert workspaces.get_workspace(storage, owner=running.owner, name=running.name, now=again).state is State.RUNNING


def test_a_databases_age_is_told(new_url: Callable[[], str]) -> None:
    url = new_url()
    storage = Storage(url)
    assert schema_age(storage) == "empty"
    command.upgrade(alembic_config(url), "0001")
    assert schema_age(storage) == "older"
    migrate(url)
    assert schema_age(storage) == "present"
    with storage.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert schema_age(storage) == "newer"
    storage.close()


def test_the_documented_programs_put_a_clusters_database_back(server: postgresql.Server | None, tmp_path: Path) -> None:
    """The lines of docs/operate.md for a cluster's databases: whatever came after the dump is gone, and the books are right."""
    if server is None:
        pytest.skip(postgresql.missing() or "")
    page = (Path(__file__).resolve().parents[2] / "docs/operate.md").read_text()
    dumped = re.search(r"pg_dump -U ark (.+) ark > ark.dump", page)
    put_back = re.search(r"pg_restore -U ark (.+) -d ark < ark.dump", page)
    assert dumped and put_back
    url = server.database()
    rows = fill(url, RECORDED[-1])
    migrate(url)
    here = ("-h", str(server._directory), "-U", server._user)
    file = tmp_path / "ark.dump"
    file.write_bytes(server.run("pg_dump", *here, *dumped[1].split(), server.name_of(url)).stdout)
    storage = Storage(url)
    users.ensure_user(storage, name="later", admin=False, opening_credit_micros=10, now=recorded_at(rows))
    storage.close()
    readable = Path(server._directory) / "ark.dump"  # the server's programs run as its own user
    readable.write_bytes(file.read_bytes())
    readable.chmod(0o644)
    server.run("pg_restore", *here, *put_back[1].split(), "-d", server.name_of(url), str(readable))
    storage = Storage(url)
    try:
        assert users.get_user(storage, name="later") is None
        assert books.check_books(storage) == [] and schema_age(storage) == "present"
        users.ensure_user(storage, name="later", admin=False, opening_credit_micros=10, now=recorded_at(rows))  # it can be written to
        assert books.check_books(storage) == []
    finally:
        storage.close()
