"""The file under a tus upload: where it is staged, how much of it counts, how it comes to its place; and what its
metadata say. Synchronous: called in threads."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from datetime import UTC, datetime

from ark_extensions.domain.errors import Malformed
from ark_extensions.domain.files import Usage, parse_checksum
from ark_extensions.netdisk.refusals import Exists, NoParent, refusing
from ark_extensions.netdisk.tree import Tree, entry_at
from ark_extensions.usecases.netdisk import Upload

METADATA_MAX = 8192


def parse_metadata(header: str) -> dict[str, str]:
    """``key base64, …`` of an Upload-Metadata header."""
    if len(header) > METADATA_MAX:
        raise Malformed("The upload's metadata are too long.")
    found: dict[str, str] = {}
    for part in header.split(",") if header.strip() else ():
        key, _, encoded = part.strip().partition(" ")
        try:
            value = base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError):
            raise Malformed("The upload's metadata cannot be read.") from None
        if not re.fullmatch(r"[\x21-\x2b\x2d-\x7e]{1,100}", key) or key in found:
            raise Malformed("The upload's metadata cannot be read.")
        found[key] = value
    return found


def make_staged(tree: Tree, id: str) -> None:
    os.close(tree.open_staged(id, create=True))
    os.fsync(tree.staging_fd)


def is_staged(tree: Tree, id: str) -> bool:
    try:
        os.stat(id, dir_fd=tree.staging_fd, follow_symlinks=False)
        return True
    except FileNotFoundError:
        return False


def check_place(tree: Tree, path: str, on_conflict: str) -> None:
    """Refuses at once what would be refused at the end: a folder of this name, or a file that may not be replaced. Folders on
    the way may be missing: they are made with the file."""
    try:
        with tree.parent(path) as (folder, name):
            there = entry_at(folder, name)
    except NoParent:
        return
    if there is not None and (on_conflict == "refuse" or (there.is_folder and on_conflict == "replace")):
        raise Exists("“{name}” is there already.", name=name)


def bytes_there(tree: Tree, upload: Upload, boot_id: str) -> int:
    """Bytes of an unfinished upload that count: all that were written since the machine started, only synced ones if it crashed."""
    try:
        size = os.stat(upload.id, dir_fd=tree.staging_fd, follow_symlinks=False).st_size
    except FileNotFoundError:
        # it was complete and on disk, and then renamed: the service was killed before it could write that down
        return upload.length if upload.durable_bytes == upload.length else 0
    return min(size if upload.boot_id == boot_id else min(size, upload.durable_bytes), upload.length)


def open_at_end(tree: Tree, upload: Upload, boot_id: str) -> tuple[int, int]:
    """(descriptor, offset at which to go on). What lies beyond the offset is cut off."""
    at = bytes_there(tree, upload, boot_id)
    with refusing(upload.path):
        try:
            fd = tree.open_staged(upload.id)
        except FileNotFoundError:
            fd = tree.open_staged(upload.id, create=True)
            at = 0
        os.ftruncate(fd, at)
    return fd, at


def place(tree: Tree, upload: Upload, fd: int) -> tuple[str, Usage]:
    tree.make_folders(upload.path.rpartition("/")[0])
    path, freed = tree.publish(upload.id, fd, upload.path, on_conflict=upload.on_conflict, modified=upload.mtime)
    return path, Usage(-freed, -1 if freed else 0)


def digest_of(fd: int, algorithm: str) -> str:
    digest, at = hashlib.new(algorithm), 0
    while block := os.pread(fd, 4 * 1024 * 1024, at):
        digest.update(block)
        at += len(block)
    return digest.hexdigest()


def modified_of(said: dict[str, str]) -> datetime | None:
    """``lastModified`` of the browser, in milliseconds."""
    text = said.get("last_modified", "")
    return datetime.fromtimestamp(int(text) / 1000, UTC) if re.fullmatch(r"\d{1,14}", text) else None


def checksum_of(said: dict[str, str]) -> str | None:
    """``algorithm:hex`` of the whole file, which is verified before the file appears."""
    checksum = parse_checksum(said.get("checksum", ""))
    return f"{checksum.algorithm}:{checksum.digest}" if checksum else None
