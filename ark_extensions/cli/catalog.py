"""`ark catalog …`: datasets and models an operator adds, and what is on sale no more."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ark_extensions.catalogue import import_item
from ark_extensions.cli.installation import installation, opened, print_json, print_table, utc_now
from ark_extensions.domain.catalog import KINDS
from ark_extensions.domain.money import format_amount
from ark_extensions.storage import Storage
from ark_extensions.usecases import market


@click.group()
def catalog() -> None:
    """Datasets, models, images and offers."""


@catalog.command("import")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--title", default="", help="What people read.")
@click.option("--description", default="", help="A sentence or two.")
@click.option("--license", "license_", default="", help="Its licence, e.g. CC-BY-4.0.")
def import_(kind: str, name: str, directory: Path, title: str, description: str, license_: str) -> None:
    """Add DIR as a version of a dataset or model. Interrupted, the same command goes on; the same content is one version."""
    from rich.console import Console  # a tenth of a second that only this command pays
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    settings = installation()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with (
        opened(settings) as storage,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown,
    ):
        task = shown.add_task(f"{kind} {name}", total=None)
        version = import_item(
            storage,
            settings,
            kind=kind,
            name=name,
            source_dir=directory,
            title=title,
            description=description,
            license=license_,
            now=utc_now(),
            progress=lambda done, total: shown.update(task, completed=done, total=total),
        )
    click.echo(f"{name}@{version}")


@catalog.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List offers, images, data disks, datasets and models on sale."""
    settings = installation()
    with opened(settings) as storage:
        found = _on_sale(storage)
    if as_json:
        print_json(found)
        return
    rows = [(kind, str(row["id"]), str(row["name"]), _last(row, settings.currency)) for kind, entries in found.items() for row in entries]
    print_table(("WHAT", "ID", "NAME", "PRICE OR VERSION"), rows)


@catalog.command("withdraw")
@click.argument("what", type=click.Choice(["offer", "image", *KINDS]))
@click.argument("id_", metavar="ID")
def withdraw(what: str, id_: str) -> None:
    """Take something off sale. Workspaces that have it keep it."""
    with opened(installation()) as storage:
        market.withdraw(storage, what=what, id=id_, now=utc_now())
    click.echo(f"{what} {id_} is withdrawn.")


def _on_sale(storage: Storage) -> dict[str, list[dict[str, object]]]:
    now = utc_now()
    offers: list[dict[str, object]] = [
        {
            "id": view.offer.id,
            "name": view.offer.name,
            "price": format_amount(view.price_micros),
            "per": view.per,
            "free": view.free,
            "total": view.total,
        }
        for view in market.list_offers(storage, now=now)
    ]
    images: list[dict[str, object]] = [{"id": image.id, "name": image.name} for image in market.list_images(storage)]
    disks: list[dict[str, object]] = [
        {"id": disk.size_gib, "name": f"{disk.size_gib} GiB", "price": format_amount(disk.price_micros_per_day), "per": "day"}
        for disk in market.list_disks(storage, now=now)
    ]
    found = {"offer": offers, "image": images, "data-disk": disks}
    for kind in KINDS:
        found[kind] = [
            {
                "id": item.name,
                "name": item.title or item.name,
                "license": item.license,
                "versions": [_version(row) for row in item.versions],
            }
            for item in market.list_items(storage, kind=kind)
        ]
    return found


def _version(row: tuple[int, int, int, object]) -> dict[str, object]:
    number, size_bytes, file_count, created_at = row
    return {"version": number, "size_bytes": size_bytes, "file_count": file_count, "created_at": created_at}


def _last(row: dict[str, object], currency: str) -> str:
    versions = row.get("versions")
    if isinstance(versions, list):
        return f"@{versions[0]['version']}" if versions else ""
    return f"{row['price']} {currency} per {row['per']}" if "price" in row else ""
