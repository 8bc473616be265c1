"""Browser sessions: the Hub's OAuth cookie and its XSRF token, for the page and what its scripts call.

Promises: a cookie alone does nothing but open the page and what a browser shows by itself (a download, an image, a frame):
every call of a script proves with the XSRF token that it comes from the page, since workspaces share the origin.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError
from tornado.web import HTTPError

from ark_extensions.domain.errors import ArkError, Forbidden, InvalidField, Malformed
from ark_extensions.netdisk.auth import PREFIX, caller_of, credentials
from ark_extensions.netdisk.handlers import FileHandler, status_of
from ark_extensions.usecases import users
from ark_extensions.web.hub_client import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from ark_extensions.web.i18n import choose_language, render_error, translator
from ark_extensions.web.tokens import Unauthenticated


class SessionHandler(HubOAuthenticated, FileHandler):  # type: ignore[misc]
    """A handler that a browser's session may call too. Answers refusals as the API does: JSON, in the reader's language."""

    @property
    def hub_auth(self) -> HubOAuth:
        return self.application.settings["oauth"]

    async def _authenticate(self) -> None:
        header = self.request.headers.get("Authorization", "")
        by_cookie = not header and self.application.settings.get("oauth") is not None
        self._token_authenticated = not by_cookie
        name, token = credentials(header)
        if by_cookie:
            signed = self.get_secure_cookie(self.hub_auth.cookie_name)
            token = signed.decode("ascii", "replace") if signed else ""
        owner = await self.tokens.owner_of(token) if token else None
        if owner is None:
            raise Unauthenticated("Your session has ended. Sign in again, then repeat what you did.")
        caller = caller_of(owner, token, name=name, by_cookie=by_cookie)
        self.current_user = {"name": owner.name}
        if by_cookie:
            try:
                HubOAuthenticated.check_xsrf_cookie(self)
            except HTTPError as error:
                raise Forbidden("This page is out of date. Reload it and try again.", code="xsrf") from error
        self.caller = caller

    def check_xsrf_cookie(self) -> None:
        """Done in `_authenticate`, by JupyterHub's rules."""

    @property
    def language(self) -> str:
        cookie = self.get_cookie("ark-language")
        known = self.application.settings["languages"]
        chosen = cookie if cookie in ("zh", "en") else known.get(self.caller.user) if hasattr(self, "caller") else None
        return choose_language(chosen, self.request.headers.get("Accept-Language", ""), self.office.settings.language)

    async def learn_language(self) -> None:
        """The user's own choice, read once a process."""
        known = self.application.settings["languages"]
        if self.caller.user not in known:
            user = await self.office.use(users.get_user, name=self.caller.user)
            known[self.caller.user] = user.language if user else None

    def say(self, msgid: str) -> str:
        return translator(self.language)(msgid)

    def say_error(self, error: ArkError) -> str:
        return render_error(error, self.language, self.office.settings.currency)

    def problem(self, error: ArkError) -> dict[str, Any]:
        return {"code": error.code, "message": self.say_error(error), "field": error.field}

    def answer_problem(self, error: ArkError, status: int | None = None) -> None:
        self.set_status(status or status_of(error))
        self.answer_json({"error": self.problem(error)})

    def answer_json(self, document: Any) -> None:
        body = json.dumps(document).encode("ascii")  # also names that are not UTF-8 pass, as lone surrogates
        self.set_header("Content-Type", "application/json")
        self.set_header("Content-Length", str(len(body)))
        self.write(body)


class Callback(HubOAuthCallbackHandler, SessionHandler):  # type: ignore[misc]
    """Where the Hub sends a browser back to after signing in; a stale or repeated sign-in begins again."""

    async def prepare(self) -> None:
        return

    async def get(self) -> None:
        state = self.get_argument("state", "")
        if not self.get_argument("code", "") or not state or not self.hub_auth.get_code_verifier(state):
            self.redirect(f"{PREFIX}/")
            return
        await HubOAuthCallbackHandler.get(self)


def validated(model: type[BaseModel], body: bytes) -> Any:
    """A request's JSON body as ``model``; raises Malformed or InvalidField with the field at fault."""
    try:
        return model.model_validate(json.loads(body or b"{}"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        raise InvalidField("The request cannot be read: {name}.", field=field, name=field or "-") from error
    except (ValueError, RecursionError) as error:
        raise Malformed("The request is not JSON.") from error
