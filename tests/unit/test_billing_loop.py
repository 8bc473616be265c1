"""The billing loop: charges post once however often a pass is repeated, an empty wallet stops compute and nothing else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from ark_extensions.billing.passes import settle, watch
from ark_extensions.domain.money import MICROS
from ark_extensions.domain.workspaces import State
from ark_extensions.usecases.books import check_books
from ark_extensions.usecases.wallet import wallet
from bench.population import NOON, Crowd
from tests.unit.loop_stage import FailingHub, running_crowd, workspaces


async def test_a_repeated_settlement_posts_nothing() -> None:
    with running_crowd(Crowd(owners=2, each=2)) as storage:
        assert await settle(storage, now=NOON) == "4 charges were posted."
        assert await settle(storage, now=NOON) is None
        assert wallet(storage, user="user00000", now=NOON).balance_micros == (100_000 - 2) * MICROS
        assert check_books(storage) == []


async def test_two_instances_at_once_charge_once() -> None:
    with running_crowd(Crowd(owners=3, each=3)) as storage:
        await asyncio.gather(*(settle(storage, now=NOON) for _ in range(2)))
        assert wallet(storage, user="user00002", now=NOON).balance_micros == (100_000 - 3) * MICROS
        assert check_books(storage) == []


async def test_what_was_not_seen_alive_is_not_charged() -> None:
    with running_crowd(Crowd(owners=1, each=1)) as storage:
        await settle(storage, now=NOON + timedelta(hours=9))
        assert wallet(storage, user="user00000", now=NOON).balance_micros == (100_000 - 1) * MICROS


async def test_an_empty_wallet_stops_all_its_workspaces_and_deletes_none() -> None:
    with running_crowd(Crowd(owners=2, each=2, balance_micros=1 * MICROS)) as storage:
        await settle(storage, now=NOON)
        hub = FailingHub()
        assert await watch(storage, hub, now=NOON) == "4 of 4 workspaces were stopped (wallet, budget or term)."
        assert {w.state for w in workspaces(storage).values()} == {State.STOPPING}
        assert hub.removed == []
        assert await watch(storage, hub, now=NOON) is None and len(hub.stopped) == 4


async def test_a_wallet_that_lasts_is_left_alone() -> None:
    with running_crowd(Crowd(owners=2, each=2)) as storage:
        hub = FailingHub()
        assert await watch(storage, hub, now=NOON) is None
        assert hub.stopped == []


async def test_a_hub_that_does_not_answer_leaves_the_rest_to_be_stopped() -> None:
    with running_crowd(Crowd(owners=2, each=1, balance_micros=1)) as storage:
        hub = FailingHub(fails=frozenset({"user00000/ws-0"}))
        assert await watch(storage, hub, now=NOON) == "1 of 2 workspaces were stopped (wallet, budget or term)."
        assert hub.stopped == [("user00001", "ws-0")]
