"""What a user must know: theirs alone, until they put it away."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ark_extensions.domain.errors import NotFound
from ark_extensions.storage import Storage
from ark_extensions.usecases.notices import dismiss_notice, list_notices, tell, withdraw_notices
from ark_extensions.usecases.views import Sentence
from tests.unit.fresh import storage_with
from tests.unit.purse_stage import furnish

T0 = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
storage = storage_with(lambda storage: furnish(storage, 0))


def told(storage: Storage, owner: str, *kinds: str) -> list[int]:
    for kind in kinds:
        with storage.write() as connection:
            tell(connection, owner=owner, at=T0, kind=kind, message=Sentence("Your wallet is empty."))
    return [notice.id for notice in list_notices(storage, owner=owner)]


def kinds(storage: Storage, owner: str) -> list[str]:
    return [notice.kind for notice in list_notices(storage, owner=owner)]


def test_nobody_puts_away_what_was_said_to_somebody_else(storage: Storage) -> None:
    [alices] = told(storage, "alice", "wallet")
    told(storage, "bob", "wallet")
    with pytest.raises(NotFound):
        dismiss_notice(storage, owner="bob", id=alices, now=T0)
    assert kinds(storage, "alice") == ["wallet"] and kinds(storage, "bob") == ["wallet"]


def test_what_was_put_away_does_not_come_back_and_the_rest_stays(storage: Storage) -> None:
    newest, oldest = told(storage, "alice", "term", "wallet")
    assert kinds(storage, "alice") == ["wallet", "term"], "the newest first"
    dismiss_notice(storage, owner="alice", id=newest, now=T0)
    assert [notice.id for notice in list_notices(storage, owner="alice")] == [oldest]
    with pytest.raises(NotFound):
        dismiss_notice(storage, owner="alice", id=newest, now=T0)


def test_what_is_no_longer_so_is_taken_back_for_its_owner_only(storage: Storage) -> None:
    told(storage, "alice", "wallet", "term")
    told(storage, "bob", "wallet")
    with storage.write() as connection:
        withdraw_notices(connection, owner="alice", kind="wallet", at=T0)
    assert kinds(storage, "alice") == ["term"] and kinds(storage, "bob") == ["wallet"]
