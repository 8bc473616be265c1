"""Fill a new installation: offers sized to the machine, images, disk sizes, a dataset and a model made of real data.

Promises: calling it again makes only what is missing; a price, an offer or a dataset that an operator changed or
withdrew stays as the operator left it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ark_extensions.catalogue import digits
from ark_extensions.catalogue.importing import import_item
from ark_extensions.catalogue.offers import cpu_offers, gpu_offers, monthly_offers
from ark_extensions.domain.errors import Unavailable
from ark_extensions.domain.offers import Node
from ark_extensions.environments import PROJECT, environments
from ark_extensions.nodes import gpu_memory_of
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases import market
from ark_extensions.usecases.netdisk_charges import netdisk_price

CATALOG_FILE = PROJECT / "hub_config" / "catalog.yaml"
Say = Callable[[str], None]


def install_demo(
    storage: Storage,
    settings: Settings,
    *,
    nodes: Sequence[Node],
    now: datetime,
    progress: Say = lambda sentence: None,
    gpu_memory: Mapping[str, int] | None = None,
    made: Path | None = None,
) -> None:
    """Make what is missing. ``made``: where `digits.py` has run elsewhere, which an image does that has no environment for it; what is
    not there is left out. ``progress`` gets a short sentence for each thing that is made; ``gpu_memory``: GiB of one GPU by model
    (default: as the driver says)."""
    rules = yaml.safe_load(CATALOG_FILE.read_text(encoding="utf-8"))
    new = not market.list_images(storage)
    market.set_nodes(storage, nodes=nodes)
    # the items come first: until they are there the installation counts as new, so a killed call is taken up again
    todo = [item for item in rules["items"] if _needed(storage, settings, item, new) and (made is None or (made / item["name"]).is_dir())]
    if todo:
        progress("the demo dataset and model (scikit-learn's handwritten digits)")
        with nullcontext(made) if made is not None else _made_here(settings) as place:
            _import_items(storage, settings, todo, place=place, now=now)
    wanted = demo_catalog(rules, nodes, gpu_memory_of(settings) if gpu_memory is None else gpu_memory)
    there = {"workspace", *settings.kubernetes.images, *(["pytorch"] if environments(settings.cache_dir).pytorch.exists() else [])}
    wanted["images"] = [image for image in wanted["images"] if image["reference"] in there]
    missing = _missing(storage, wanted, now)
    if any(missing.values()):
        progress("offers, images and disk sizes")
        market.seed_catalog(storage, catalog=missing, now=now)
    if "netdisk" in rules and netdisk_price(storage, now=now) is None:
        market.seed_catalog(storage, catalog={"netdisk": rules["netdisk"]}, now=now)


def demo_catalog(rules: Mapping[str, Any], nodes: Sequence[Node], gpu_memory: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """The catalogue of a machine with these nodes, as ``market.seed_catalog`` takes it."""
    hourly = gpu_offers(nodes, gpu_memory, rules["gpu"]) + cpu_offers(nodes, rules["cpu"])
    offers = hourly + monthly_offers(hourly, rules["monthly"])
    return {"offers": offers, "images": list(rules["images"]), "disks": list(rules["disks"])}


def _missing(storage: Storage, wanted: Mapping[str, list[dict[str, Any]]], now: datetime) -> dict[str, list[dict[str, Any]]]:
    offers = {view.offer.id for view in market.list_offers(storage, now=now)}
    images = {image.id for image in market.list_images(storage)}
    disks = {disk.size_gib for disk in market.list_disks(storage, now=now)}
    return {
        "offers": [offer for offer in wanted["offers"] if offer["id"] not in offers],
        "images": [image for image in wanted["images"] if image["id"] not in images],
        "disks": [disk for disk in wanted["disks"] if disk["size_gib"] not in disks],
    }


def _import_items(storage: Storage, settings: Settings, items: Sequence[Mapping[str, str]], *, place: Path, now: datetime) -> None:
    for item in items:
        import_item(
            storage,
            settings,
            kind=item["kind"],
            name=item["name"],
            source_dir=place / item["name"],
            title=item["title"],
            description=item["description"],
            license=item["license"],
            now=now,
        )


@contextmanager
def _made_here(settings: Settings) -> Iterator[Path]:
    """By the environment of workspaces on this machine."""
    shelf = settings.state_dir / "catalog"
    shelf.mkdir(parents=True, exist_ok=True)
    for left in shelf.glob(".making-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=shelf) as made:
        _run_digits(settings, Path(made))
        yield Path(made)


def _needed(storage: Storage, settings: Settings, item: Mapping[str, str], new: bool) -> bool:
    """A new installation needs it; later only files that vanished from under a listed item are made again."""
    listed = next((view for view in market.list_items(storage, kind=item["kind"]) if view.name == item["name"]), None)
    if listed is None:
        return new
    shelf = settings.state_dir / "catalog" / item["kind"] / item["name"]
    return not any((shelf / str(version)).is_dir() for version, *_ in listed.versions)


def _run_digits(settings: Settings, target: Path) -> None:
    python = environments(settings.cache_dir).workspace / "bin/python"
    # one thread: the result is then the same on every machine, and two small processors are not fought over
    env = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        subprocess.run([python, digits.__file__, target], check=True, env=env, capture_output=True, timeout=300, cwd=target)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(
            "The demo dataset could not be made with the workspace environment {python}. Run `make up` again to build it anew.",
            python=str(python),
        ) from error
