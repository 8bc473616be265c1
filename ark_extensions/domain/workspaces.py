"""Workspaces and runs: the states a workspace can be in, the moves between them, and what a launch may know."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from ark_extensions.domain.errors import Conflict, InvalidField
from ark_extensions.domain.offers import Plan, Quantities

#: JupyterHub 6 accepts these server names only (its handlers/base.py), 1–30 characters
NAME_PATTERN = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME_MAX = 30
DISPLAY_NAME_MAX = 60


class State(StrEnum):
    CREATING = "creating"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    RELEASED = "released"


#: every move a workspace may make; `move` is the only way to change a state
MOVES: dict[State, frozenset[State]] = {
    State.CREATING: frozenset({State.STARTING, State.FAILED, State.STOPPED, State.RELEASED}),
    State.STARTING: frozenset({State.RUNNING, State.STOPPING, State.STOPPED, State.FAILED}),
    State.RUNNING: frozenset({State.STOPPING, State.STOPPED, State.FAILED}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED, State.RUNNING}),
    State.STOPPED: frozenset({State.STARTING, State.RUNNING, State.FAILED, State.RELEASED}),
    State.FAILED: frozenset({State.STARTING, State.RUNNING, State.STOPPED, State.RELEASED}),
    State.RELEASED: frozenset({State.STOPPED}),
}

#: states in which compute is held
ACTIVE = frozenset({State.CREATING, State.STARTING, State.RUNNING, State.STOPPING})
#: states from which a person may ask for a start
STARTABLE = frozenset({State.STOPPED, State.FAILED})

BUSY_SENTENCES = {
    State.STARTING: "The workspace is already starting. Its events say how far it is.",
    State.CREATING: "The workspace is being created. Try again in a moment.",
    State.RUNNING: "The workspace is running. Stop it first.",
    State.STOPPING: "The workspace is stopping. Try again in a moment.",
    State.STOPPED: "The workspace is stopped.",
    State.FAILED: "The workspace did not start. Look at its events, then start it again.",
    State.RELEASED: "The workspace was released. Restore it first.",
}


def move(current: State, to: State) -> State:
    """``to``, if a workspace may go there from ``current``; raises Conflict with the reason if not."""
    if to not in MOVES[current]:
        raise Conflict(BUSY_SENTENCES[current], code=f"workspace_{current.value}")
    return to


def require_startable(current: State) -> None:
    """Raises Conflict with the reason when a start cannot be asked for now."""
    if current not in STARTABLE:
        raise Conflict(BUSY_SENTENCES[current], code=f"workspace_{current.value}")


def check_name(name: str) -> str:
    """A name the Hub will take; raises InvalidField for others."""
    if not (1 <= len(name) <= NAME_MAX and NAME_PATTERN.fullmatch(name)):
        raise InvalidField(
            "A name has 1 to {max} lower-case letters, digits and single hyphens, and begins with a letter.", field="name", max=NAME_MAX
        )
    return name


def check_display_name(text: str) -> str:
    """A display name in any script, trimmed: 1–60 characters, no control characters."""
    text = text.strip()
    if not 1 <= len(text) <= DISPLAY_NAME_MAX or any(not c.isprintable() for c in text):
        raise InvalidField("A display name has 1 to {max} printable characters.", field="display_name", max=DISPLAY_NAME_MAX)
    return text


@dataclass(frozen=True)
class Mount:
    """One dataset or model version in a workspace: ``kind`` is ``dataset`` or ``model``."""

    kind: str
    name: str
    version: int
    content_hash: str


@dataclass(frozen=True)
class LaunchSpec:
    """All that a spawner may know about one start of a workspace. Ids, quantities and names, never prices.

    ``image_reference`` is what the runtime resolves: an environment's name (local) or an OCI reference.
    ``data_disk_gib`` 0 means no disk was bought (the small default applies). ``plan``: how its compute is paid, for who
    goes first when a cluster is short of it. ``language``: in which its programs greet the owner, ``""`` when nobody knows.
    """

    workspace_id: str
    workspace_name: str
    owner: str
    launch_id: str
    image_id: str
    image_reference: str
    quantities: Quantities
    gpu_devices: tuple[str, ...]
    data_disk_gib: int
    mounts: tuple[Mount, ...] = field(default=())
    node: str = ""
    plan: Plan = Plan.PAYG
    language: str = ""
