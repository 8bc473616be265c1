"""Rules of the netdisk: what a path and a name may be, what fits, what costs, which names to choose on a clash.

A path is text relative to the user's own tree, components joined by ``/``, ``""`` for the tree itself. Bytes that are not
UTF-8 (a workspace may have written any) live in it as Python's surrogate escapes, so that every file has exactly one path
and no other spelling of it. Case and normalisation are kept as they are: names that differ in bytes are different files.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from ark_extensions.domain.errors import Conflict, InvalidField, Malformed

NAME_MAX_BYTES = 255
PATH_MAX_BYTES = 3000
DEPTH_MAX = 100
GIB = 1024**3
#: what stays readable in a stored or displayed path: all printable ASCII but the escape itself
_READABLE = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) != "%")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HEX_LENGTH = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


class Full(Conflict):
    """It does not fit into the user's netdisk, or onto the disk below (HTTP 507)."""

    code = "netdisk_full"


class ChecksumMismatch(InvalidField):
    """The bytes that arrived are not the bytes that were meant (HTTP 422; in tus 460)."""

    code = "checksum_mismatch"


@dataclass(frozen=True)
class Usage:
    """What a tree takes: allocated bytes (hard links once), and inodes (files, folders, links)."""

    bytes: int
    files: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.bytes + other.bytes, self.files + other.files)


@dataclass(frozen=True)
class Limits:
    """Of one netdisk: bytes and inodes at most, and what of the bytes costs nothing."""

    bytes: int
    files: int
    free_bytes: int


@dataclass(frozen=True)
class Checksum:
    """``algorithm`` as hashlib names it, ``digest`` in lower-case hexadecimal."""

    algorithm: str
    digest: str


def parse_path(text: str, *, field: str = "path") -> str:
    """The one spelling of a path that a request names; raises InvalidField for what can name nothing in the tree."""
    if "\0" in text:
        raise InvalidField("A path cannot contain a NUL character.", field=field)
    parts = [part for part in text.split("/") if part]
    if "." in parts or ".." in parts:
        raise InvalidField("A path cannot contain “.” or “..” as a name.", field=field)
    try:
        raw = os.fsencode("/".join(parts))
    except UnicodeEncodeError:
        raise InvalidField("This path cannot be written in UTF-8.", field=field) from None
    if len(raw) > PATH_MAX_BYTES or len(parts) > DEPTH_MAX:
        raise InvalidField(
            "A path has at most {bytes} bytes and {depth} folders in each other.", field=field, bytes=PATH_MAX_BYTES, depth=DEPTH_MAX
        )
    if len(raw) > NAME_MAX_BYTES and any(len(os.fsencode(part)) > NAME_MAX_BYTES for part in parts):
        raise InvalidField("A name has at most {bytes} bytes.", field=field, bytes=NAME_MAX_BYTES)
    return os.fsdecode(raw)


def parse_new_path(text: str, *, field: str = "path") -> str:
    """A path for something new: also without control characters, which no list could show."""
    path = parse_path(text, field=field)
    if not path:
        raise InvalidField("Give it a name.", field=field)
    if _CONTROL.search(path):
        raise InvalidField("A name cannot contain line breaks or control characters.", field=field)
    return path


def decode_url_path(quoted: str, *, field: str = "path") -> str:
    """A percent-encoded URL path → path. An encoded slash does not become a separator: it is refused."""
    if "%" not in quoted and quoted.isascii():
        return parse_path(quoted, field=field)
    if "%2f" in quoted.lower():
        raise InvalidField("A name cannot contain a slash.", field=field)
    return parse_path(os.fsdecode(unquote_to_bytes(quoted)), field=field)


def encode_url_path(path: str) -> str:
    """A path → percent-encoded, exact in every byte."""
    return quote_from_bytes(os.fsencode(path), safe="/!$()*,-.:=@_~")


def stored(path: str) -> str:
    """A path as ASCII text for a database: exact, and prefixes stay prefixes."""
    return quote_from_bytes(os.fsencode(path), safe=_READABLE)


def from_stored(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))


def shown(path: str) -> str:
    """A path for people: what is not UTF-8 as �."""
    return os.fsencode(path).decode("utf-8", "replace")


def split(path: str) -> tuple[str, str]:
    """(folder, name); the tree itself has no name."""
    folder, _, name = path.rpartition("/")
    return folder, name


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def is_inside(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or below it."""
    return not folder or path == folder or path.startswith(folder + "/")


def another_name(name: str, number: int, *, folder: bool = False) -> str:
    """``report.tar.gz``, 2 → ``report (2).tar.gz``, cut so that it stays a name."""
    stem, dot, ending = name, "", ""
    if not folder:
        match = re.fullmatch(r"(.+?)((?:\.tar)?\.[^.\s/]{1,12})", name, re.DOTALL)
        if match:
            stem, dot, ending = match.group(1), "", match.group(2)
    addition = f" ({number})"
    room = NAME_MAX_BYTES - len(os.fsencode(addition + dot + ending))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return f"{stem}{addition}{dot}{ending}"


def check_fits(usage: Usage, reserved: Usage, limits: Limits, incoming: Usage) -> None:
    """Raises Full when ``incoming`` would not fit beside what is there and what was promised to unfinished uploads."""
    left = limits.bytes - usage.bytes - reserved.bytes
    if incoming.bytes > max(left, 0) and incoming.bytes > 0:
        raise Full(
            "This needs {needed_bytes} and your netdisk has {left_bytes} left of {limit_bytes}. "
            "Delete something, empty the trash, or clean unfinished uploads.",
            needed_bytes=incoming.bytes, left_bytes=max(left, 0), limit_bytes=limits.bytes,
        )  # fmt: skip
    if incoming.files > 0 and usage.files + reserved.files + incoming.files > limits.files:
        raise Full(
            "Your netdisk holds {files} files and folders, and {limit} is the most. Pack small files into an archive, or delete some.",
            code="netdisk_files", files=usage.files, limit=limits.files,
        )  # fmt: skip


def is_over(usage: Usage, limits: Limits) -> bool:
    """Whether more is there than may be: a workspace writes directly, where only a measure sees it."""
    return usage.bytes > limits.bytes or usage.files > limits.files


def billable_bytes(used: int, limits: Limits) -> int:
    """What is beyond the free part."""
    return max(0, used - limits.free_bytes)


def parse_checksum(text: str) -> Checksum | None:
    """``SHA1:hex`` of an ``OC-Checksum`` header; None for a kind that we do not know (it is not checked, as clients expect)."""
    for part in text.split():
        algorithm, _, digest = part.partition(":")
        algorithm, digest = algorithm.lower().replace("-", ""), digest.lower()
        if algorithm in HEX_LENGTH:
            if not re.fullmatch(r"[0-9a-f]+", digest) or len(digest) != HEX_LENGTH[algorithm]:
                raise Malformed("The checksum in the request cannot be read.")
            return Checksum(algorithm, digest)
    return None


def parse_base64_checksum(text: str) -> Checksum:
    """``sha1 base64`` of a tus ``Upload-Checksum`` header; raises Malformed for what is none."""
    algorithm, _, encoded = text.strip().partition(" ")
    algorithm = algorithm.lower()
    try:
        digest = base64.b64decode(encoded.strip(), validate=True).hex()
    except (binascii.Error, ValueError):
        digest = ""
    if algorithm not in HEX_LENGTH or len(digest) != HEX_LENGTH[algorithm]:
        raise Malformed("The checksum in the request cannot be read.")
    return Checksum(algorithm, digest)


def zip_name(path: str) -> str:
    """A name for a zip entry that every unpacker keeps inside the folder it unpacks into, whatever its system: no drive,
    no backslash, no control characters, nothing absolute."""
    parts = []
    for part in shown(path).split("/"):
        clean = re.sub(r'[\x00-\x1f\x7f<>:"|?*\\]', "_", part)
        parts.append("_" if clean.strip(" .") == "" else clean)
    return "/".join(parts)


TEXT_ENDINGS = frozenset(
    "txt md rst log csv tsv json jsonl yaml yml toml ini cfg conf xml html htm css js ts py pyi r jl c h cc cpp hpp cu cuh java go rs sh"
    " bash sql tex bib properties dockerfile makefile gitignore env lock diff patch svg".split()
)
IMAGE_TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "bmp": "image/bmp"}


def preview_kind(name: str) -> str:
    """``image``, ``notebook``, ``text`` or ``none``. SVG is text: as an image it could carry scripts."""
    ending = name.rpartition(".")[2].lower()
    if ending in IMAGE_TYPES:
        return "image"
    if ending == "ipynb":
        return "notebook"
    return "text" if ending in TEXT_ENDINGS else "none"
