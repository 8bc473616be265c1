"""The one Tornado handler behind all routes: who calls, may they, is the input right, then the route's coroutine.

Promises: these checks happen in this order, so a stranger learns nothing from a validation error; every refusal has the
contract's form, in the caller's language; an address that does not exist answers 404 and a method that does not, 405 with
``Allow``, both as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ark_extensions.console.api.openapi import document
from ark_extensions.console.api.problems import read_json, validated
from ark_extensions.console.api.routes import Call, Route
from ark_extensions.console.api.shapes import money
from ark_extensions.console.api.table import PREFIX, ROUTES, TABLE
from ark_extensions.console.auth import NOBODY, Principal
from ark_extensions.console.handlers import ConsoleHandler, MethodNotAllowed, http_problem
from ark_extensions.domain.errors import ArkError, Forbidden, InvalidField
from ark_extensions.web.i18n import choose_language

API_POLICY = "default-src 'none'; frame-ancestors 'none'"


class ApiBase(ConsoleHandler):
    """Answers and refusals as JSON; a stranger is refused, never redirected."""

    content_policy = API_POLICY
    #: the methods of this address, for ``Allow``
    methods: tuple[str, ...] = ()

    async def prepare(self) -> None:
        return

    def _chosen_language(self) -> str | None:
        """A script's ``Accept-Language`` comes before what its user chose in the browser: it has no other way to say it."""
        principal = getattr(self, "principal", None)
        by_token = principal is not None and not principal.by_cookie
        if by_token and choose_language(None, self.request.headers.get("Accept-Language", ""), ""):
            return None
        return super()._chosen_language()

    def show_problem(self, problem: ArkError, status: int) -> None:
        if status == 405:
            self.set_header("Allow", ", ".join(self.methods))
        if status == 401:
            self.set_header("WWW-Authenticate", 'token realm="ark"')
        detail = self._detail(problem)
        if status >= 500 and hasattr(self, "reference"):
            detail["reference"] = self.reference
        body = {"code": problem.code, "message": self.say_error(problem), "field": problem.field, "detail": detail}
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish({"error": body})

    def _detail(self, problem: ArkError) -> dict[str, Any]:
        """The values in the sentence, for programs; money in the API's form."""
        found: dict[str, Any] = {}
        for key, value in problem.params.items():
            if key.endswith("_micros") and isinstance(value, int):
                found[key.removesuffix("_micros")] = money(value, self.ark.settings.currency).model_dump()
            elif isinstance(value, (str, int, float, bool)):
                found[key] = value
        return found


class ApiHandler(ApiBase):
    """One path of the table; ``routes`` maps its methods."""

    def initialize(self, routes: Mapping[str, Route]) -> None:
        self.routes = routes
        self.methods = tuple(sorted(routes))

    async def _answer(self, **path: str) -> None:
        route = self.routes.get(self.request.method or "")
        if route is None:
            raise MethodNotAllowed("This address does not take this method.")
        caller = NOBODY
        if route.access != "open":
            caller = await self.authenticate()
            allow(route, caller, path)
        body = validated(route.body, read_json(self.request.body)) if route.body is not None else None
        query = validated(route.query, self._query())
        call = Call(self, caller, path, body, query)
        answer = await route.answer(call)
        if route.stream:
            return
        self.set_status(route.status)
        for name, value in call.headers.items():
            self.set_header(name, value)
        if isinstance(answer, str):
            self.set_header("Content-Type", f"{route.media}; charset=utf-8")
            self.write(answer)
        elif answer is not None:
            self.set_header("Content-Type", "application/json; charset=utf-8")
            self.write(answer.model_dump_json())

    get = post = patch = delete = put = _answer

    def _query(self) -> dict[str, str]:
        """The query's parameters, each once, without the XSRF token that an event stream has to send there."""
        found = {}
        for name, values in self.request.query_arguments.items():
            if name == "_xsrf":
                continue
            if len(values) > 1:
                raise InvalidField("This is given twice.", field=name[:60])
            found[name] = self.decode_argument(values[0], name)
        return found


def allow(route: Route, principal: Principal, path: Mapping[str, str]) -> None:
    """Raises Forbidden when this caller may not use this route."""
    if principal.account:
        if route.access == "admin" and not principal.admin:
            raise Forbidden("This is for administrators.", code="not_admin")
        return
    if route.access != "workspace":
        raise Forbidden("This token is of one workspace. Use a token of your account.", code="token_of_workspace")
    if path.get("name") != principal.workspace:
        raise Forbidden("This token is of another workspace.", code="token_of_workspace")


class OpenApiHandler(ApiBase):
    """The document, for anybody: it holds nothing that the public source does not."""

    methods = ("GET",)

    def get(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "public, max-age=300")
        self.write(document(ROUTES))


class NoSuchAddress(ApiBase):
    """Everything else under the API's prefix."""

    async def prepare(self) -> None:
        raise http_problem(404)


def handlers() -> list[Any]:
    """URL patterns and handlers, plain paths before those with parameters."""
    paths = sorted(TABLE, key=lambda path: (path.count("{"), path))
    found: list[Any] = [(f"{PREFIX}{next(iter(TABLE[path].values())).pattern}", ApiHandler, {"routes": TABLE[path]}) for path in paths]
    return [(f"{PREFIX}/openapi.json", OpenApiHandler), *found, ("/services/console/api(?:/.*)?", NoSuchAddress)]
