"""The catalogue: images, disk sizes, and versioned datasets and models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from ark_extensions.domain.errors import InvalidField

DATASET = "dataset"
MODEL = "model"
#: of the items that are imported in versions
KINDS = (DATASET, MODEL)
#: where they appear, in the home directory of every workspace that has them
DIRECTORIES = {DATASET: "imported_datasets", MODEL: "imported_models"}
ITEM_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


@dataclass(frozen=True)
class Image:
    id: str
    name: str
    description: str
    reference: str
    framework: str = ""
    size_bytes: int = 0
    withdrawn_at: datetime | None = None


def parse_item_ref(text: str, *, field: str) -> tuple[str, int | None]:
    """``"resnet34-pth@1"`` → ("resnet34-pth", 1); without a version the newest is meant (None)."""
    name, at, version = text.partition("@")
    if len(name) > 60 or not ITEM_NAME.fullmatch(name) or (at and not (version.isdecimal() and 0 < len(version) <= 6)):
        raise InvalidField("“{text}” is not a name of the catalogue. Choose one from the list.", field=field, text=text[:60])
    return name, int(version) if at else None


def check_item_name(name: str) -> str:
    if len(name) > 60 or not ITEM_NAME.fullmatch(name):
        raise InvalidField("A catalogue name has 1 to 60 lower-case letters, digits, dots, hyphens and underscores.", field="name")
    return name
