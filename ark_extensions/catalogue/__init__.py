"""The operator's side of the catalogue: what a new installation has on sale, and imports of datasets and models.

``install_demo`` fills an empty installation; ``import_item`` adds an immutable version from a directory. Both may be
killed at any moment and called again.
"""

from __future__ import annotations

from ark_extensions.catalogue.demo import install_demo
from ark_extensions.catalogue.importing import import_item

__all__ = ["import_item", "install_demo"]
