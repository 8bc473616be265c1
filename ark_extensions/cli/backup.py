"""`ark backup` and `ark restore`: everything that an installation on one machine is, in one directory, and back.

Promises: a backup is taken while the platform runs; what is not finished is called ``….partial`` and is never taken for one. The
databases come first, at one moment each, then the files: a workspace is on record before its disk is made, so no disk is missing.
What the two databases tell differently, and what changed meanwhile, the reconciler mends at the next start. A restore writes
only where nothing is, and looks at every byte before it says that it is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click
from alembic.script import ScriptDirectory

from ark_extensions.cli.books import in_words
from ark_extensions.cli.installation import NotSetUp, installation, load_settings, opened, state_directory, utc_now
from ark_extensions.cli.preparation import make_directories
from ark_extensions.settings import Settings
from ark_extensions.storage import alembic_config
from ark_extensions.storage.copies import NotCopied, copy_database, copy_sqlite, is_empty, put_back
from ark_extensions.storage.schema import revision_of, schema_age
from ark_extensions.supervisor.words import HUB_ELSEWHERE, NEWER_DATABASE, phrase
from ark_extensions.usecases.books import check_books

#: what of the state directory is kept; system disks of running workspaces, logs and signs of life are not
KEPT = ("ark.yaml", "ports.json", "secrets", "disks", "netdisk", "catalog")
FORM = 1
HUB = "jupyterhub.sqlite"
ARK_FILES = {"sqlite": "ark.sqlite", "postgresql": "ark.dump"}
PIECE_BYTES = 1 << 20


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
def backup(target: Path) -> None:
    """Write everything into the new directory TARGET: both databases, secrets, settings, files. The platform may run."""
    settings = installation()
    if not (settings.state_dir / HUB).exists():
        raise NotSetUp(phrase(HUB_ELSEWHERE))
    target = target.expanduser().resolve()
    if target.exists():
        raise NotSetUp(phrase("{path} exists already: name a directory that does not.", path=target))
    with _whole(target, ".partial", lambda why: phrase("The backup could not be made ({why}). Nothing is left of it.", why=why)) as partial:
        _write(settings, partial)
    size = sum(file.stat().st_size for file in target.iterdir())
    click.echo(phrase("The backup is in {path} ({size} MiB). It holds secrets: keep it like a password.", path=target, size=size >> 20))


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
def restore(source: Path) -> None:
    """Put the backup in the directory SOURCE back, where no installation is yet (ARK_STATE_DIR), and prove its books."""
    state_dir, source = state_directory(), source.expanduser().resolve()
    manifest = _manifest(source)
    if state_dir.exists() and any(state_dir.iterdir()):
        raise NotSetUp(phrase("{path} is not empty: a restore writes only where nothing is. Move it away first.", path=state_dir))
    with _whole(
        state_dir, ".restoring", lambda why: phrase("The backup could not be put back ({why}). Nothing was changed.", why=why)
    ) as partial:
        _read(source, manifest, partial)
    made = datetime.fromisoformat(manifest["made_at"]).astimezone(UTC)
    click.echo(
        phrase("The backup of {at} UTC is in {path}. Start it with `make up DIR={path}`.", at=f"{made:%Y-%m-%d %H:%M}", path=state_dir)
    )
    settings = load_settings(state_dir)
    with opened(settings) as storage:
        differences = check_books(storage) if schema_age(storage) == "present" else []
    for found in differences:
        click.echo(f"{found.kind}: {in_words(found.said, settings)}")
    raise SystemExit(1 if differences else 0)


@contextmanager
def _whole(place: Path, suffix: str, refusal: Callable[[Exception], str]) -> Iterator[Path]:
    """A directory beside ``place`` that becomes it when the block is done; of a block that failed nothing is left."""
    os.umask(0o077)
    partial = place.with_name(place.name + suffix)
    try:
        partial.mkdir(parents=True)
    except FileExistsError:
        raise NotSetUp(
            phrase("{path} is there already, perhaps left by an attempt that was killed: remove it first.", path=partial)
        ) from None
    except OSError as problem:
        raise NotSetUp(refusal(problem)) from None
    try:
        yield partial
    except (NotCopied, OSError) as problem:
        shutil.rmtree(partial, ignore_errors=True)
        raise NotSetUp(refusal(problem)) from None
    partial.rename(place)
    _sync(place.parent)


def _write(settings: Settings, partial: Path) -> None:
    with opened(settings) as storage:
        ark, revision = ARK_FILES[storage.dialect], revision_of(storage)
    made_at = utc_now()
    copy_database(settings.resolved_database_url, partial / ark)
    copy_sqlite(settings.state_dir / HUB, partial / HUB)
    sums = {name: _sum_of(partial / name) for name in (ark, HUB)}
    sums["files.tar"] = _pack(settings.state_dir, partial / "files.tar")
    manifest = {"form": FORM, "made_at": made_at.isoformat(), "schema": revision, "database": ark, "sha256": sums}
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for file in partial.iterdir():
        _sync(file)


def _read(source: Path, manifest: dict[str, Any], partial: Path) -> None:
    sums, ark = manifest["sha256"], manifest["database"]
    for name in (ark, HUB):
        if _sum_of(source / name) != sums[name]:
            raise NotCopied(phrase("{name} is damaged", name=name))
    if _unpack(source / "files.tar", partial) != sums["files.tar"]:
        raise NotCopied(phrase("{name} is damaged", name="files.tar"))
    make_directories(partial)
    shutil.copyfile(source / HUB, partial / HUB)
    if ark == ARK_FILES["sqlite"]:
        shutil.copyfile(source / ark, partial / ark)
    else:
        url = load_settings(partial).resolved_database_url
        if not is_empty(url):
            raise NotCopied(phrase("its PostgreSQL database is not empty: make a new one, and name it in ARK_DATABASE_URL or ark.yaml"))
        put_back(url, source / ark)
    for name in (HUB, ark):
        if (partial / name).exists():
            _sync(partial / name)


def _manifest(source: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((source / "manifest.json").read_text())
    except (OSError, ValueError):
        raise NotSetUp(phrase("{path} is no backup, or not a whole one: it has no manifest.json.", path=source)) from None
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config("sqlite://")).walk_revisions()}
    if manifest.get("form") != FORM or manifest.get("schema") not in known:
        raise NotSetUp(phrase(NEWER_DATABASE))
    return manifest


def _pack(state_dir: Path, target: Path) -> str:
    """The kept files as one archive, owners and rights as numbers, links as links; returns its checksum."""
    names = [name for name in KEPT if (state_dir / name).exists()]
    options = ["--create", "--sparse", "--xattrs", "--numeric-owner", "--warning=no-file-changed", "--warning=no-file-removed"]
    command = ["tar", *options, "--warning=no-file-ignored", "--file=-", "-C", str(state_dir), "--", *names]
    with tempfile.TemporaryFile() as said, target.open("xb") as file:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as tar:
            assert tar.stdout is not None
            checksum = _through(tar.stdout, file.write)
        if tar.returncode not in (0, 1):  # 1: a file changed while it was read, as files of people at work do
            raise NotCopied(_last_line(said))
    return checksum


def _unpack(source: Path, directory: Path) -> str:
    command = ["tar", "--extract", "--xattrs", "--numeric-owner", "--preserve-permissions", "--file=-", "-C", str(directory)]
    with tempfile.TemporaryFile() as said, source.open("rb") as file:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as tar:
            assert tar.stdin is not None
            try:
                checksum = _through(file, tar.stdin.write)
                tar.stdin.close()
            except BrokenPipeError:
                checksum = ""
        if tar.returncode != 0:
            raise NotCopied(_last_line(said))
    return checksum


def _last_line(said: IO[bytes]) -> str:
    """What tar complained of last. It writes to a file: with more to say than a pipe holds it would wait for us, and we for it."""
    said.seek(0)
    return (said.read().decode(errors="replace").strip().splitlines() or ["tar"])[-1]


def _through(source: IO[bytes], write: Callable[[bytes], object]) -> str:
    digest = hashlib.sha256()
    while piece := source.read(PIECE_BYTES):
        digest.update(piece)
        write(piece)
    return digest.hexdigest()


def _sum_of(file: Path) -> str:
    with file.open("rb") as opened_file:
        return hashlib.file_digest(opened_file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
