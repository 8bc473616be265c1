"""Between netdisks and the catalogue, on the server: an operator publishes a user's folder as a dataset or model, a user takes a
public one into their netdisk.

Promises: what is published is first copied to where its user cannot change it, and read only there; nothing outside the folder
becomes part of it; what is imported appears whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ark_extensions.domain.errors import InvalidField, NotFound
from ark_extensions.domain.files import Usage, parse_path
from ark_extensions.domain.workspaces import Mount
from ark_extensions.netdisk.copying import Copy
from ark_extensions.netdisk.tree import Tree
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases import market, users
from ark_extensions.volumes import Volumes

_FOLDER = os.O_RDONLY | os.O_DIRECTORY


def publish_folder(
    storage: Storage,
    settings: Settings,
    volumes: Volumes,
    *,
    owner: str,
    folder: str,
    kind: str,
    name: str,
    title: str = "",
    description: str = "",
    license: str = "",
    now: datetime,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Add a folder of a user's netdisk to the catalogue. → the version number. Called again it goes on."""
    from ark_extensions.catalogue import import_item  # an operator's command needs it, the service does not

    if users.get_user(storage, name=owner) is None:
        raise NotFound("There is no user {name}.", name=owner)
    data = volumes.netdisk(owner)
    tree = Tree(data)
    with tree.opened_to_read(parse_path(folder)) as fd:
        if not os.path.isdir(f"/proc/self/fd/{fd}"):
            raise InvalidField("{path} is not a directory.", field="folder", path=folder)
        draft = Copy(tree).draft(fd, folder)
    try:
        return import_item(
            storage,
            settings,
            kind=kind,
            name=name,
            source_dir=Path(data.parent / ".staging" / draft),
            title=title,
            description=description,
            license=license,
            now=now,
            progress=progress,
        )
    finally:
        tree.remove_doomed(draft)


def catalogue_mount(storage: Storage, *, kind: str, name: str, version: int | None) -> Mount:
    """A version of a dataset or model on sale (the newest, unless one is named)."""
    item = next((item for item in market.list_items(storage, kind=kind) if item.name == name), None)
    if item is None or not item.versions or (version is not None and all(known[0] != version for known in item.versions)):
        raise NotFound("The catalogue has no {name} of this version.", name=name)
    return Mount(kind, name, version or item.versions[0][0], "")


def weigh_item(storage: Storage, *, mount: Mount) -> Usage:
    """What a version of an item takes, as the catalogue knows it."""
    item = next((item for item in market.list_items(storage, kind=mount.kind) if item.name == mount.name), None)
    sizes = {number: Usage(size, count) for number, size, count, _at in item.versions} if item else {}
    return sizes.get(mount.version, Usage(0, 0))


def opener(volumes: Volumes, mount: Mount) -> Callable[[], int]:
    """Opens the item's folder; raises NotFound when it is gone from this machine."""

    def opens() -> int:
        return os.open(volumes.item(mount), _FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC)

    return opens


def copy_source(copy: Copy, opens: Callable[[], int], target: str, on_conflict: str) -> tuple[str, str | None]:
    """Copy what ``opens`` opens, as `Copy.place` does; the descriptor is closed here."""
    fd = opens()
    try:
        return copy.place(fd, target, on_conflict=on_conflict)
    finally:
        os.close(fd)


def import_into(tree: Tree, opens: Callable[[], int], target: str) -> str:
    """Copy a catalogue item into a netdisk. → the path it got."""
    return copy_source(Copy(tree), opens, target, "keep_both")[0]
