"""Into the trash, by the page, the API and WebDAV alike: what a user deletes can be restored for some days."""

from __future__ import annotations

from ark_extensions.domain.files import Usage
from ark_extensions.netdisk.desk import Desk, Office
from ark_extensions.netdisk.removing import remove_in_background, weigh_at
from ark_extensions.netdisk.tree import Entry, Tree
from ark_extensions.usecases import netdisk


async def throw_away(office: Office, desk: Desk, path: str) -> None:
    """Put ``path`` into the trash, in one step. It counts as before until it expires or is deleted there. An installation that
    keeps no trash deletes it."""
    days = office.settings.netdisk_trash_days
    if days == 0:
        remove_in_background(office, desk, await office.on_disk(desk.tree.take_out, path))
        return
    entry, usage = await office.at_length(weigh_name, desk.tree, path)
    note = await office.use(
        netdisk.note_trash, owner=desk.owner, path=path, folder=entry.is_folder, usage=usage, now=office.clock(), days=days
    )
    try:
        await office.on_disk(desk.tree.put_in_trash, path, note.id)
    except BaseException:
        await office.use(netdisk.drop_trash, id=note.id)
        raise


def weigh_name(tree: Tree, path: str) -> tuple[Entry, Usage]:
    """What a name is and takes; a link is a link."""
    entry = tree.look_at_name(path)
    with tree.parent(path) as (folder, name):
        return entry, weigh_at(folder, name)
