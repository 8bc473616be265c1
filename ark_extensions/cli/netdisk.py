"""`ark netdisk …`: what users keep, their limits, and the ways between netdisks and the catalogue."""

from __future__ import annotations

import click

from ark_extensions.cli.installation import installation, opened, print_json, print_table, utc_now
from ark_extensions.domain.catalog import KINDS
from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.files import GIB, billable_bytes, join, parse_path
from ark_extensions.netdisk.exchange import catalogue_mount, import_into, opener, publish_folder
from ark_extensions.netdisk.tree import Tree
from ark_extensions.usecases import netdisk as books
from ark_extensions.usecases import users
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_extensions.web.i18n import size


@click.group()
def netdisk() -> None:
    """Users' netdisks."""


@netdisk.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def usage(as_json: bool) -> None:
    """What each user keeps, and what of it is beyond the free part."""
    settings = installation()
    with opened(settings) as storage:
        views = [books.netdisk_view(storage, owner=user.name, defaults=settings.netdisk_limits) for user in users.list_users(storage)]
    facts = [
        {"user": v.owner, "used_bytes": v.usage.bytes, "files": v.usage.files, "billable_bytes": billable_bytes(v.usage.bytes, v.limits),
         "limit_bytes": v.limits.bytes, "measured_at": v.scanned_at}
        for v in views
    ]  # fmt: skip
    if as_json:
        print_json(facts)
        return
    rows = [
        (v.owner, size(v.usage.bytes), str(v.usage.files), size(billable_bytes(v.usage.bytes, v.limits)), size(v.limits.bytes))
        for v in views
    ]
    print_table(("USER", "USED", "FILES", "BEYOND FREE", "LIMIT"), rows)


@netdisk.command()
@click.argument("user")
@click.option("--gib", type=click.IntRange(1), help="Space at most; without it the installation's setting.")
@click.option("--files", type=click.IntRange(1), help="Files and folders at most; without it the installation's setting.")
def limit(user: str, gib: int | None, files: int | None) -> None:
    """Set a user's own limits. The service knows them within a minute."""
    with opened(installation()) as storage:
        books.set_netdisk_limits(storage, owner=user, limit_bytes=None if gib is None else gib * GIB, limit_files=files)
        books.touch_netdisk(storage, owner=user, now=utc_now())
    click.echo(f"The limits of {user} are set.")


@netdisk.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.argument("user")
@click.argument("folder")
@click.option("--title", default="", help="What people read.")
@click.option("--description", default="", help="A sentence or two.")
@click.option("--license", "license_", default="", help="Its licence, e.g. CC-BY-4.0.")
def publish(kind: str, name: str, user: str, folder: str, title: str, description: str, license_: str) -> None:
    """Add FOLDER of USER's netdisk as a version of a dataset or model."""
    settings = installation()
    with opened(settings) as storage:
        version = publish_folder(
            storage, settings, LocalDirVolumes(settings.state_dir), owner=user, folder=folder, kind=kind, name=name, title=title,
            description=description, license=license_, now=utc_now(),
        )  # fmt: skip
    click.echo(f"{name}@{version}")


@netdisk.command("import")
@click.argument("user")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Which version; the newest without it.")
@click.option("--into", default="", help="A folder of the netdisk.")
def import_(user: str, kind: str, name: str, version: int | None, into: str) -> None:
    """Copy a dataset or model into USER's netdisk."""
    settings = installation()
    volumes = LocalDirVolumes(settings.state_dir)
    with opened(settings) as storage:
        if users.get_user(storage, name=user) is None:
            raise NotFound("There is no user {name}.", name=user)
        mount = catalogue_mount(storage, kind=kind, name=name, version=version)
        path = import_into(Tree(volumes.netdisk(user)), opener(volumes, mount), join(parse_path(into), name))
        books.open_netdisk(storage, owner=user, now=utc_now())
        books.touch_netdisk(storage, owner=user, now=utc_now())
    click.echo(path)
