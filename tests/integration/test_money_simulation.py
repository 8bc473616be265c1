"""10,000 random steps of purchases, starts, crashes, recharges, prices and clock jumps: the books and a naive model agree.

The clock jumps by a second, an hour or a day, either way; every other life goes through a leap day.

``ARK_SOAK_STEPS`` runs more (`make soak`); a failure names its seed, which replays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ark_extensions.storage import Storage
from tests.integration.money_simulation import STEPS, Simulation
from tests.unit.purse_stage import T0, sqlite, stage

STEP_COUNT = int(os.environ.get("ARK_SOAK_STEPS", "10000"))
#: every other life begins here, so that 29 February is lived through and terms end on it
BEFORE_A_LEAP_DAY = datetime(2028, 1, 31, 20, 0, tzinfo=UTC)
SEEDS = [int(s) for s in os.environ.get("ARK_SEEDS", "1,2,3,4").split(",")]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = stage(sqlite(tmp_path))
    for engine in storage.engines:
        engine.dispose()
    from sqlalchemy import event

    for engine in storage.engines:
        # durability is not what is tested here, and 10,000 steps wait for the disk otherwise
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF").close())
    yield storage
    storage.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_life_adds_up(storage: Storage, seed: int) -> None:
    simulation = Simulation(storage, seed, now=BEFORE_A_LEAP_DAY if seed % 2 else T0)
    for _ in range(STEP_COUNT // len(SEEDS)):
        simulation.step()
    simulation.verdict()
    assert set(simulation.done) == set(STEPS), "every kind of step was taken"
    assert simulation.refused < simulation.count / 2
    assert simulation.deepest > 0, "a wallet was overdrawn, or the bound was never tried"
