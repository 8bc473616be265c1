"""A connection that starts its workspace: only where that is allowed, once, and with the Hub's own refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ark_extensions.domain.errors import Conflict, InsufficientBalance, NotFound
from ark_extensions.domain.workspaces import State
from ark_extensions.hub import Hub
from ark_extensions.loop import utc_now
from ark_extensions.ssh.starting import Starter
from ark_extensions.storage import Storage
from ark_extensions.usecases import launches, ssh_keys, workspaces
from tests.unit.test_platform_flow import T0, later, launch, stop
from tests.unit.test_platform_flow import storage as platform_storage

storage = platform_storage
URL = "http://ark.test/workspaces"


class ToyHub(Hub):
    """Starts at once, or refuses."""

    def __init__(self, storage: Storage, refusal: Exception | None = None) -> None:
        super().__init__("http://nowhere/hub/api")
        self._storage, self._refusal = storage, refusal
        self.asked = 0

    async def start_server(self, user: str, name: str, workspace_id: str) -> None:
        self.asked += 1
        if self._refusal is not None:
            raise self._refusal
        now = utc_now()
        spec = launches.authorize_launch(self._storage, owner=user, server_name=name, workspace_id=workspace_id, now=now)
        launches.record_ready(self._storage, workspace_id=workspace_id, launch_id=spec.launch_id, now=now)


@pytest.fixture
def stopped(storage: Storage) -> str:
    """The name of alice's stopped workspace."""
    workspace_id, name, launch_id = launch(storage, T0)
    stop(storage, workspace_id, launch_id, later(minutes=10))
    return name


def allow(storage: Storage) -> None:
    ssh_keys.set_start_on_connect(storage, user="alice", allowed=True)


async def test_it_starts_nothing_unless_its_owner_allowed_that(storage: Storage, stopped: str) -> None:
    hub = ToyHub(storage)
    with pytest.raises(Conflict, match="is stopped"):
        await Starter(storage, hub, URL).running("alice", stopped)
    assert hub.asked == 0


async def test_many_connections_at_once_are_one_start(storage: Storage, stopped: str) -> None:
    allow(storage)
    hub = ToyHub(storage)
    starter = Starter(storage, hub, URL)
    targets = await asyncio.gather(*(starter.running("alice", stopped) for _ in range(5)))
    assert hub.asked == 1 and len({target.launch_id for target in targets}) == 1


async def test_without_rights_at_the_hub_it_says_how_to_start(storage: Storage, stopped: str) -> None:
    allow(storage)
    with pytest.raises(Conflict, match="Start it in the console"):
        await Starter(storage, None, URL).running("alice", stopped)


@pytest.mark.parametrize("refuse", [lambda: InsufficientBalance("Your wallet is empty. Recharge first."), lambda: Conflict("No room.")])
async def test_what_the_gate_refuses_reaches_the_person_and_the_books(
    storage: Storage, stopped: str, refuse: Callable[[], Exception]
) -> None:
    allow(storage)
    refusal = refuse()
    with pytest.raises(type(refusal), match=str(refusal)):
        await Starter(storage, ToyHub(storage, refusal), URL).running("alice", stopped)
    assert workspaces.get_workspace(storage, owner="alice", name=stopped, now=later(minutes=20)).state is State.FAILED


async def test_a_strangers_workspace_is_never_started(storage: Storage, stopped: str) -> None:
    ssh_keys.set_start_on_connect(storage, user="bob", allowed=True)
    hub = ToyHub(storage)
    with pytest.raises(NotFound):
        await Starter(storage, hub, URL).running("bob", stopped)
    assert hub.asked == 0
