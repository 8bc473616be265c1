"""The installation that a command works on: its settings with the ports it really uses, and its database."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml

from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.supervisor import lock


class NotSetUp(Exception):
    """There is no installation, or its settings cannot be read; the message is a sentence with the remedy."""


def state_directory() -> Path:
    return Path(os.environ.get("ARK_STATE_DIR") or ".ark").expanduser().resolve()


def settings_file(state_dir: Path) -> Path:
    return Path(os.environ.get("ARK_SETTINGS") or state_dir / "ark.yaml")


def port_environment(state_dir: Path) -> dict[str, str]:
    """The chosen internal ports as settings, except those that the operator set in ark.yaml or the environment."""
    try:
        chosen: Mapping[str, int] = json.loads((state_dir / "ports.json").read_text())
    except (OSError, ValueError):
        return {}
    named = set(_document(settings_file(state_dir)).get("ports") or {})
    variables = {f"ARK_PORTS__{name.upper()}": str(port) for name, port in chosen.items() if name not in named}
    return {name: value for name, value in variables.items() if name not in os.environ}


def load_settings(state_dir: Path) -> Settings:
    """Settings as every process of the running platform sees them. Sets the environment that `Settings` reads."""
    _document(settings_file(state_dir))
    os.environ["ARK_STATE_DIR"] = str(state_dir)
    os.environ.update(port_environment(state_dir))
    if (address := _noted_address(state_dir)) is not None:
        for name, value in zip(("ARK_HOST", "ARK_PORT"), address, strict=True):
            os.environ.setdefault(name, str(value))
    return Settings()


def installation() -> Settings:
    """The settings of the installation that this command is about; refuses when there is none."""
    state_dir = state_directory()
    if not settings_file(state_dir).exists():
        raise NotSetUp(f"There is no Ark installation in {state_dir}: make one with `make up`, or name another with ARK_STATE_DIR=….")
    return load_settings(state_dir)


@contextmanager
def opened(settings: Settings) -> Iterator[Storage]:
    """The database of an installation; refuses one that is not there yet."""
    if settings.database_url is None and not (settings.state_dir / "ark.sqlite").exists():
        raise NotSetUp(f"The installation in {settings.state_dir} has no database yet: start it once with `make up`.")
    storage = Storage(settings.resolved_database_url)
    try:
        yield storage
    finally:
        storage.close()


def utc_now() -> datetime:
    return datetime.now(UTC)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def print_table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns aligned with spaces: readable, and easy to cut in a script."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    for row in [headings, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _document(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except OSError:
        return {}
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        raise NotSetUp(f"{file} is not readable YAML{f' (line {where.line + 1})' if where else ''}: correct it.") from None
    if not isinstance(document, dict | None):
        raise NotSetUp(f"{file} is not a list of settings (name: value): correct it.")
    return document or {}


def _noted_address(state_dir: Path) -> tuple[str, int] | None:
    facts = lock.noted(state_dir) if lock.holder(state_dir) else {}
    return (str(facts["host"]), int(facts["port"])) if {"host", "port"} <= facts.keys() else None
