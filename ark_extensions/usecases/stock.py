"""Live stock: what the machines of a cluster have for sale now, put beside what is claimed of them."""

from __future__ import annotations

from collections.abc import Sequence

from ark_extensions.domain.offers import Claim, Node, with_claimed_devices
from ark_extensions.storage import Storage
from ark_extensions.usecases.market import read_claims, read_nodes, write_nodes


def refresh_stock(storage: Storage, *, nodes: Sequence[Node]) -> bool:
    """Make the machines for sale these, whatever was known of them; claims are not touched. True when something changed.

    A machine that is missing from ``nodes`` sells nothing more; what runs on it runs on, and its claims wait for it.
    """
    with storage.read() as connection:
        if _named(nodes, read_claims(connection)) == read_nodes(connection):
            return False
    with storage.write() as connection:
        write_nodes(connection, _named(nodes, read_claims(connection)))
    return True


def _named(nodes: Sequence[Node], claims: Sequence[Claim]) -> list[Node]:
    return sorted((with_claimed_devices(node, claims) for node in nodes), key=lambda node: node.name)
