"""What a route is: method, path, who may call, which models, and the coroutine that answers.

Promises: a path is ``/plain/{parameter}``; a table with two routes of the same method and path is refused. ``Call`` is all
that a route's coroutine is given: the caller, the validated input, the moment, and the way to use cases.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from pydantic import BaseModel

from ark_extensions.console.api.models import Input
from ark_extensions.console.auth import Principal
from ark_extensions.console.context import Console
from ark_extensions.console.handlers import ConsoleHandler
from ark_extensions.storage import Storage
from ark_extensions.usecases.views import Sentence
from ark_extensions.web.address import address_of

P = ParamSpec("P")
T = TypeVar("T")

Method = Literal["GET", "POST", "PATCH", "DELETE"]
#: ``open``: anybody; ``user``: a whole account; ``workspace``: an account or the named workspace's own token; ``admin``
Access = Literal["open", "user", "workspace", "admin"]
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


class NoInput(Input):
    """A request that takes no body, or no query."""


@dataclass
class Call:
    """One request to a route, validated. ``body`` and ``query`` are of the route's models."""

    handler: ConsoleHandler
    principal: Principal
    path: Mapping[str, str]
    body: Any
    query: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ark(self) -> Console:
        return self.handler.ark

    @property
    def user(self) -> str:
        return self.principal.user

    @property
    def now(self) -> datetime:
        return self.handler.now

    @property
    def currency(self) -> str:
        return self.ark.settings.currency

    def say(self, sentence: Sentence) -> str:
        return self.handler.say(sentence)

    async def use(self, verb: Callable[Concatenate[Storage, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.ark.use(verb, *args, **kwargs)

    @property
    def base_url(self) -> str:
        return address_of(self.handler.request, self.ark.settings)


Answer = Callable[[Call], Awaitable[BaseModel | str | None]]


@dataclass(frozen=True)
class Route:
    """``status`` is the answer's on success; a ``response`` of None is an answer without a body. ``stream``: the coroutine
    writes server-sent events itself. ``media`` is what an answer in text is."""

    method: Method
    path: str
    summary: str
    answer: Answer
    response: type[BaseModel] | None
    access: Access = "user"
    body: type[Input] | None = None
    query: type[Input] = NoInput
    status: int = 200
    stream: bool = False
    media: str = "application/json"

    @property
    def parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)

    @property
    def pattern(self) -> str:
        return _PARAMETER.sub(lambda m: f"(?P<{m.group(1)}>[^/]+)", self.path.replace(".", r"\."))

    @property
    def operation_id(self) -> str:
        words = re.sub(r"[^a-z]+", "_", _PARAMETER.sub(r"\1", self.path)).strip("_")
        return f"{self.method.lower()}_{words}"


def by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """path → method → route; raises ValueError for a route that is there twice."""
    table: dict[str, dict[str, Route]] = {}
    for route in routes:
        methods = table.setdefault(route.path, {})
        if route.method in methods:
            raise ValueError(f"{route.method} {route.path} is in the table twice")
        methods[route.method] = route
    return table
