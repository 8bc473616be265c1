"""What the netdisk's API answers, as models: for the OpenAPI document, and for the tests, which hold real answers against them.

The answers themselves are written without them, because a name that is no UTF-8 travels as lone surrogates, which a model refuses.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(Answer):
    """``message`` is for people, in their language; ``code`` for programs; ``field`` names what of the request is wrong."""

    code: str
    message: str
    field: str | None


class Error(Answer):
    error: Problem


class Price(Answer):
    amount: str
    currency: str
    per: Literal["GiB·day"]
    text: str


class Usage(Answer):
    """``used``: on disk, trash and unfinished uploads included. ``price``: of a GiB beyond the free part, a day."""

    used_bytes: int
    used_files: int
    limit_bytes: int
    limit_files: int
    free_quota_bytes: int
    billable_bytes: int
    reserved_bytes: int
    trash_bytes: int
    unfinished_bytes: int
    unfinished_uploads: int
    measured_at: datetime | None
    price: Price | None
    over_limit: bool
    charged_on: Literal["mean", "max"]
    webdav_url: str


class Entry(Answer):
    """``link``: it is reached through a link; ``kind`` ``link``: one that leads nowhere we go."""

    name: str
    kind: Literal["folder", "file", "link", "other"]
    size: int
    modified: datetime
    etag: str
    link: bool


class EntryAt(Entry):
    path: str


class Page(Answer):
    """``total`` is of the whole folder; ``next`` is the next page's ``cursor``."""

    path: str
    items: list[Entry]
    total: int
    next: str | None


class Found(Answer):
    """``complete`` false: there may be more."""

    items: list[EntryAt]
    complete: bool


class Path(Answer):
    path: str


class Result(Answer):
    """Either ``path``, where the item is now, or ``error``."""

    item: str
    path: str | None = None
    error: Problem | None = None


class Results(Answer):
    results: list[Result]


class NoneDone(Results):
    """Of several items none was done; ``error`` is the first one's."""

    error: Problem


class Job(Answer):
    """A copy or an import at work. ``results``: the paths of what is done."""

    id: str
    state: Literal["running", "done", "failed", "stopped"]
    items: list[str]
    into: str
    total_bytes: int
    done_bytes: int
    total_files: int
    done_files: int
    results: list[str]
    error: Problem | None
    begun_at: datetime


class Jobs(Answer):
    items: list[Job]


class ItemVersion(Answer):
    version: int
    size_bytes: int
    file_count: int


class Importable(Answer):
    """``versions``: the newest first."""

    kind: Literal["dataset", "model"]
    name: str
    title: str
    description: str
    license: str
    versions: list[ItemVersion]


class Importables(Answer):
    items: list[Importable]


class TrashItem(Answer):
    id: str
    path: str
    name: str
    kind: Literal["folder", "file"]
    size: int
    files: int
    deleted_at: datetime
    expires_at: datetime


class Trash(Answer):
    items: list[TrashItem]


class Upload(Answer):
    """``url``: where to go on with tus. ``active``: a request writes it at this moment."""

    id: str
    path: str
    length: int
    offset: int
    url: str
    begun_at: datetime
    expires_at: datetime
    active: bool


class Uploads(Answer):
    items: list[Upload]


class Preview(EntryAt):
    preview: Literal["text", "image", "notebook", "none"] | None
    text: str | None = None
    truncated: bool | None = None


class Token(Answer):
    id: str
    name: str
    created_at: str
    expires_at: str | None
    used_at: str | None


class MadeToken(Token):
    """``token`` is shown once."""

    token: str = Field(repr=False)


class Tokens(Answer):
    items: list[Token]
