"""What the Hub ends when somebody is signed out everywhere, in its own tables; also what was asked while it was down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm, roles

from ark_extensions.domain.errors import NotFound
from ark_extensions.storage import Storage
from ark_extensions.usecases import sign_outs, ssh_keys, users
from hub_config.sessions import end_what_is_due
from tests.unit.fresh import fresh_database

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    made = Storage(fresh_database(tmp_path))
    for name in ("li", "wang"):
        users.ensure_user(made, name=name, admin=False, opening_credit_micros=0, now=NOW)
    yield made
    made.close()


@pytest.fixture
def hub() -> Iterator[Any]:
    """The Hub's database: li and wang, each with a page signed in, a personal token and a sign-in under way."""
    db = orm.new_session_factory("sqlite://")()
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    for client in ("jupyterhub", "service-console", "jupyterhub-user-li-ws"):
        db.add(orm.OAuthClient(identifier=client, secret="", redirect_uri="", description=""))
    for name in ("li", "wang"):
        user = orm.User(name=name)
        db.add(user)
        db.commit()
        roles.assign_default_roles(db, entity=user)
        for client in ("jupyterhub", "service-console", "jupyterhub-user-li-ws"):
            orm.APIToken.new(user=user, client_id=client, scopes=[], note=client)
        db.add(orm.OAuthCode(client_id="service-console", code="x", user=user, redirect_uri="", session_id="s"))
    db.commit()
    yield db
    db.close()


def held(hub: Any, name: str) -> tuple[str, list[str], int]:
    user = orm.User.find(hub, name)
    return user.cookie_id, sorted(token.client_id for token in user.api_tokens), len(user.oauth_codes)


def test_what_was_asked_while_the_hub_was_down_is_done_at_its_start_and_once(storage: Storage, hub: Any) -> None:
    before, others = held(hub, "li"), held(hub, "wang")
    sign_outs.sign_out(storage, user="li", actor="operator", now=NOW)
    end_what_is_due(hub, lambda: storage)
    cookie, tokens, codes = held(hub, "li")
    assert cookie != before[0] and tokens == ["jupyterhub"] and codes == 0
    assert held(hub, "wang") == others
    end_what_is_due(hub, lambda: storage)
    assert held(hub, "li")[0] == cookie, "done is done: the next start signs nobody out"


def test_somebody_whom_the_hub_does_not_know_is_not_asked_for_again(storage: Storage, hub: Any) -> None:
    users.ensure_user(storage, name="new", admin=False, opening_credit_micros=0, now=NOW)
    sign_outs.sign_out(storage, user="new", actor="operator", now=NOW)
    end_what_is_due(hub, lambda: storage)
    assert sign_outs.due(storage) == []


def test_a_database_that_cannot_be_read_keeps_no_hub_from_starting(tmp_path: Path, hub: Any, caplog: pytest.LogCaptureFixture) -> None:
    older = Storage(f"sqlite:///{tmp_path / 'older.sqlite'}")
    end_what_is_due(hub, lambda: older)
    assert "could not look" in caplog.text
    older.close()


def test_a_changed_password_is_a_sign_out_and_a_first_one_is_not(storage: Storage) -> None:
    users.set_password(storage, user="li", password="long enough")
    assert sign_outs.due(storage) == [] and ssh_keys.account(storage, user="li").signed_off_at is None
    sign_outs.change_password(storage, user="li", password="another one", actor="operator", now=NOW)
    assert sign_outs.due(storage) == ["li"] and ssh_keys.account(storage, user="li").signed_off_at == NOW
    assert users.check_password(storage, user="li", password="another one")
    with pytest.raises(NotFound):
        sign_outs.change_password(storage, user="nobody", password="another one", actor="operator", now=NOW)
    with pytest.raises(NotFound):
        sign_outs.sign_out(storage, user="nobody", actor="operator", now=NOW)
