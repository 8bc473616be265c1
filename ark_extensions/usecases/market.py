"""The marketplace: what is on sale, for how much, how many are left; and how an operator changes that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ark_extensions.domain.catalog import Image, check_item_name
from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.money import parse_amount
from ark_extensions.domain.offers import Claim, Node, Offer, Plan, PriceVersion, Quantities, available, free_on, price_at
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.identifiers import new_id
from ark_extensions.usecases.views import DiskView, ItemView, OfferView

_PRICES = select(t.price_versions)
_PRICES_OF = _PRICES.where(t.price_versions.c.subject.in_(bindparam("subjects", expanding=True)))


def offer_of(row: Row[Any]) -> Offer:
    quantities = Quantities(row.vcpu, row.memory_mib, row.system_disk_gib, row.gpu_model, row.gpu_count)
    return Offer(row.id, row.name, Plan(row.plan), quantities, row.gpu_memory_gib, row.withdrawn_at)


def read_nodes(connection: Connection) -> list[Node]:
    rows = connection.execute(select(t.nodes).order_by(t.nodes.c.name))
    return [Node(r.name, r.vcpu, r.memory_mib, tuple((d, m) for d, m in r.gpus)) for r in rows]


def read_claims(connection: Connection) -> list[Claim]:
    devices: dict[str, list[str]] = {}
    for row in connection.execute(select(t.claimed_devices).order_by(t.claimed_devices.c.device)):
        devices.setdefault(row.holder, []).append(row.device)
    rows = connection.execute(select(t.claims))
    return [Claim(r.holder, r.node, r.vcpu, r.memory_mib, tuple(devices.get(r.holder, ()))) for r in rows]


def free_gpus(storage: Storage) -> dict[str, int]:
    """GPUs that nobody holds now, by model."""
    with storage.read() as connection:
        nodes, claims = read_nodes(connection), read_claims(connection)
    free = Counter(model for node in nodes for _, model in free_on(node, claims).gpus)
    return dict(free)


def prices(connection: Connection, subjects: Sequence[str] | None = None) -> dict[str, list[PriceVersion]]:
    """Price versions by subject."""
    rows = connection.execute(_PRICES) if subjects is None else connection.execute(_PRICES_OF, {"subjects": list(subjects)})
    found: dict[str, list[PriceVersion]] = {}
    for r in rows:
        found.setdefault(r.subject, []).append(PriceVersion(r.id, r.subject, r.per, r.price_micros, r.valid_from))
    return found


def list_offers(
    storage: Storage,
    *,
    now: datetime,
    plan: str | None = None,
    gpu_model: str | None = None,
    min_gpu_count: int | None = None,
    min_memory_gib: int | None = None,
    max_price_micros: int | None = None,
    only_available: bool = False,
) -> list[OfferView]:
    """Offers on sale with their price now and their stock, in the operator's order. ``gpu_model`` ``"cpu"``: offers without a GPU."""
    with storage.read() as connection:
        rows = connection.execute(
            select(t.offers).where(t.offers.c.withdrawn_at.is_(None)).order_by(t.offers.c.position, t.offers.c.id)
        ).all()
        versions, nodes, claims = prices(connection), read_nodes(connection), read_claims(connection)
    found = []
    for offer in map(offer_of, rows):
        price = price_at(versions.get(f"offer:{offer.id}", ()), now)
        if price is None:
            continue
        free, total = available(nodes, claims, offer.quantities)
        view = OfferView(offer, price.price_micros, price.per, price.id, free, total)
        if is_wanted(
            view,
            plan=plan,
            gpu_model=gpu_model,
            min_gpu_count=min_gpu_count,
            min_memory_gib=min_memory_gib,
            max_price_micros=max_price_micros,
            only_available=only_available,
        ):
            found.append(view)
    return found


def is_wanted(
    view: OfferView,
    *,
    plan: str | None,
    gpu_model: str | None,
    min_gpu_count: int | None,
    min_memory_gib: int | None,
    max_price_micros: int | None,
    only_available: bool,
) -> bool:
    """Whether an offer is what somebody looks for; None: anything. ``gpu_model`` ``"cpu"``: one without a GPU."""
    need = view.offer.quantities
    return (
        (plan is None or view.offer.plan == plan)
        and (gpu_model is None or need.gpu_model == (None if gpu_model == "cpu" else gpu_model))
        and (min_gpu_count is None or need.gpu_count >= min_gpu_count)
        and (min_memory_gib is None or need.memory_mib >= min_memory_gib * 1024)
        and (max_price_micros is None or view.price_micros <= max_price_micros)
        and (not only_available or view.free > 0)
    )


def list_images(storage: Storage) -> list[Image]:
    with storage.read() as connection:
        rows = connection.execute(
            select(t.images).where(t.images.c.withdrawn_at.is_(None)).order_by(t.images.c.position, t.images.c.id)
        ).all()
    return [Image(r.id, r.name, r.description, r.reference, r.framework, r.size_bytes) for r in rows]


def list_disks(storage: Storage, *, now: datetime) -> list[DiskView]:
    """Data disk sizes on sale, smallest first, with their price per day."""
    with storage.read() as connection:
        sizes = (
            connection.execute(select(t.disks.c.size_gib).where(t.disks.c.withdrawn_at.is_(None)).order_by(t.disks.c.size_gib))
            .scalars()
            .all()
        )
        versions = prices(connection, [f"disk:{size}" for size in sizes])
    priced = [(size, price_at(versions.get(f"disk:{size}", ()), now)) for size in sizes]
    return [DiskView(size, price.price_micros) for size, price in priced if price is not None]


def list_items(storage: Storage, *, kind: str) -> list[ItemView]:
    """Datasets or models with at least one version, by name."""
    items, versions = t.catalog_items, t.catalog_versions
    with storage.read() as connection:
        found: dict[str, list[tuple[int, int, int, datetime]]] = {}
        for r in connection.execute(select(versions).where(versions.c.kind == kind).order_by(versions.c.version.desc())):
            found.setdefault(r.name, []).append((r.version, r.size_bytes, r.file_count, r.created_at))
        rows = connection.execute(select(items).where(items.c.kind == kind, items.c.withdrawn_at.is_(None)).order_by(items.c.name)).all()
    return [ItemView(kind, r.name, r.title or r.name, r.description, r.license, tuple(found[r.name])) for r in rows if r.name in found]


def set_nodes(storage: Storage, *, nodes: Sequence[Node]) -> None:
    """Replace what the platform knows of its machines."""
    with storage.write() as connection:
        write_nodes(connection, nodes)


def write_nodes(connection: Connection, nodes: Sequence[Node]) -> None:
    """`set_nodes` within the caller's transaction."""
    connection.execute(t.nodes.delete())
    if nodes:
        rows = [{"name": n.name, "vcpu": n.vcpu, "memory_mib": n.memory_mib, "gpus": [list(g) for g in n.gpus]} for n in nodes]
        connection.execute(t.nodes.insert(), rows)


def _upsert(connection: Connection, table: Any, keys: tuple[str, ...], row: Mapping[str, Any]) -> None:
    insert = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(table).values(**row)
    changes = {name: insert.excluded[name] for name in row if name not in keys}
    connection.execute(
        insert.on_conflict_do_update(index_elements=list(keys), set_=changes) if changes else insert.on_conflict_do_nothing()
    )


def _set_price(connection: Connection, subject: str, per: str, price_micros: int, now: datetime) -> None:
    """A new price version when the price now differs; an old one is never changed."""
    current = price_at(prices(connection, [subject]).get(subject, ()), now)
    if current is None or (current.price_micros, current.per) != (price_micros, per):
        connection.execute(
            t.price_versions.insert().values(id=new_id(), subject=subject, per=per, price_micros=price_micros, valid_from=now)
        )


def seed_catalog(storage: Storage, *, catalog: Mapping[str, Any], now: datetime) -> None:
    """Make offers, images and disk sizes as the catalogue file says; idempotent, and a changed price is a new version.

    ``{"offers": [{id, name, plan, vcpu, memory_mib, system_disk_gib, gpu_model?, gpu_count?, gpu_memory_gib?, price, per}],
    "images": [{id, name, description?, reference, framework?, size_bytes?}], "disks": [{size_gib, price}],
    "netdisk": {price of a GiB and day}}``; prices are decimal strings.
    """
    with storage.write() as connection:
        for position, given in enumerate(catalog.get("offers", ())):
            row = {k: v for k, v in given.items() if k not in ("price", "per")}
            _upsert(connection, t.offers, ("id",), {**row, "position": position})
            _set_price(connection, f"offer:{row['id']}", given["per"], parse_amount(str(given["price"])), now)
        for position, given in enumerate(catalog.get("images", ())):
            _upsert(connection, t.images, ("id",), {**given, "position": position})
        if "netdisk" in catalog:
            _set_price(connection, "netdisk", "day", parse_amount(str(catalog["netdisk"]["price"])), now)
        for given in catalog.get("disks", ()):
            _upsert(connection, t.disks, ("size_gib",), {"size_gib": given["size_gib"]})
            _set_price(connection, f"disk:{given['size_gib']}", "day", parse_amount(str(given["price"])), now)


_WITHDRAWABLE = {"offer": t.offers, "image": t.images}


def withdraw(storage: Storage, *, what: str, id: str, now: datetime) -> None:
    """Take an offer, image, dataset or model off sale; workspaces that have it keep it. Raises NotFound."""
    with storage.write() as connection:
        table = _WITHDRAWABLE.get(what, t.catalog_items)
        where = [table.c.id == id] if what in _WITHDRAWABLE else [table.c.kind == what, table.c.name == id]
        if connection.execute(update(table).where(*where).values(withdrawn_at=now)).rowcount == 0:
            raise NotFound("The catalogue has no {what} {id}.", what=what, id=id)


def add_item_version(
    storage: Storage,
    *,
    kind: str,
    name: str,
    title: str,
    description: str,
    license: str,
    content_hash: str,
    size_bytes: int,
    file_count: int,
    now: datetime,
) -> int:
    """Add a version of a dataset or model; the same content again answers the version it has. Returns the version number."""
    check_item_name(name)
    versions = t.catalog_versions
    with storage.write() as connection:
        item = {"kind": kind, "name": name, "title": title, "description": description, "license": license, "withdrawn_at": None}
        _upsert(connection, t.catalog_items, ("kind", "name"), item)
        mine = (versions.c.kind == kind) & (versions.c.name == name)
        known = connection.execute(select(versions.c.version).where(mine, versions.c.content_hash == content_hash)).scalar()
        if known is not None:
            return int(known)
        version = int(connection.execute(select(func.coalesce(func.max(versions.c.version), 0)).where(mine)).scalar_one()) + 1
        row = {"kind": kind, "name": name, "version": version, "content_hash": content_hash}
        connection.execute(versions.insert().values(**row, size_bytes=size_bytes, file_count=file_count, created_at=now))
        return version
