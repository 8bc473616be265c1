"""The base of every handler: who calls, in which language, which headers, and how an error is shown.

Promises: a handler's method runs only for a caller who may be there (`principal`); a browser session proves itself with the
XSRF token for everything but plain navigation; every answer has strict security headers and is not cached unless the
handler says otherwise; no raw exception text reaches anybody.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from tornado.web import HTTPError, RequestHandler

from ark_extensions.console.auth import PREFIX, Principal, header_token, principal_of
from ark_extensions.console.context import Console
from ark_extensions.domain import errors
from ark_extensions.domain.errors import ArkError
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases.views import Sentence
from ark_extensions.web.hub_client import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from ark_extensions.web.i18n import choose_language, render, render_error, translator
from ark_extensions.web.tokens import Unauthenticated

log = logging.getLogger("ark.console")

P = ParamSpec("P")
T = TypeVar("T")

LANGUAGE_COOKIE = "ark-language"
PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


class TooMany(ArkError):
    """The caller holds or asks for too much at once (HTTP 429)."""

    code = "too_many"


class TooLarge(errors.Malformed):
    """The request's body is longer than any request needs to be (HTTP 413)."""

    code = "too_large"


class MethodNotAllowed(ArkError):
    """The address exists, but not for this method (HTTP 405)."""

    code = "method_not_allowed"


STATUS: tuple[tuple[type[ArkError], int], ...] = (
    (TooLarge, 413),
    (errors.Malformed, 400),
    (Unauthenticated, 401),
    (errors.InsufficientBalance, 402),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (MethodNotAllowed, 405),
    (errors.Conflict, 409),
    (errors.InvalidField, 422),
    (TooMany, 429),
    (errors.Unavailable, 503),
)


def status_of(error: ArkError) -> int:
    """The HTTP status of a domain error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 400)


def http_problem(status: int) -> ArkError:
    """The domain error for what Tornado itself refuses, and for what should not have happened (500)."""
    if status == 404:
        return errors.NotFound("There is nothing at this address.")
    if status == 405:
        return MethodNotAllowed("This address does not take this method.")
    if status == 403:
        return errors.Forbidden("You may not do this.")
    if 400 <= status < 500:
        return errors.Malformed("The request cannot be read. Check its address and form.")
    return ArkError("Something went wrong on the platform's side. It is on record; try again in a moment.", code="internal")


class ConsoleHandler(HubOAuthenticated, RequestHandler):  # type: ignore[misc]
    """Base of API handlers and pages. Subclasses find the caller in ``self.principal``."""

    principal: Principal

    @property
    def ark(self) -> Console:
        console: Console = self.application.settings["ark"]
        return console

    @property
    def console_settings(self) -> Settings:
        return self.ark.settings

    @property
    def storage(self) -> Storage:
        return self.ark.storage

    @property
    def hub_auth(self) -> HubOAuth:
        return self.ark.oauth

    @property
    def now(self) -> datetime:
        """The moment of this request: the same wherever it is asked."""
        if not hasattr(self, "_now"):
            self._now = self.ark.clock()
        return self._now

    async def use(self, verb: Callable[Concatenate[Storage, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a use case in a thread: one hop, one transaction."""
        return await self.ark.use(verb, *args, **kwargs)

    # who calls

    async def prepare(self) -> None:
        """Pages: a browser without a session is sent to sign in. API handlers do their own."""
        try:
            principal = await self.authenticate()
        except Unauthenticated:
            self._send_to_sign_in()
            return
        if not principal.account:
            raise errors.Forbidden("This page is for your own sign-in, not for a workspace's token.", code="token_of_workspace")

    def _send_to_sign_in(self) -> None:
        headers = self.request.headers
        if self.request.method not in ("GET", "HEAD") or headers.get("HX-Request") or headers.get("Authorization"):
            raise Unauthenticated("Your session has ended. Sign in again, then repeat what you did.")
        self.redirect(self.get_login_url())

    async def authenticate(self) -> Principal:
        """Find out who calls and set ``self.principal``; raises Unauthenticated or Forbidden."""
        token = header_token(self.request.headers.get("Authorization", ""))
        by_cookie = token is None
        if by_cookie:
            signed = self.get_secure_cookie(self.hub_auth.cookie_name)
            token = signed.decode("ascii", "replace") if signed else ""
        session_id = self.get_cookie("jupyterhub-session-id", "") if by_cookie else ""
        owner = await self.ark.tokens.owner_of(token, session_id=session_id or "") if token else None
        if owner is None or not token:
            if by_cookie and token:
                self.hub_auth.clear_cookie(self)
            raise Unauthenticated("Sign in, or send a token that is valid.")
        principal = principal_of(owner, token, by_cookie=by_cookie)
        self._token_authenticated = not by_cookie
        self.current_user = principal
        if by_cookie:
            self._prove_same_page()
        await self.ark.greet(principal)
        self.principal = principal
        return principal

    def _prove_same_page(self) -> None:
        """The XSRF check, by JupyterHub's rules: also for reads that a script makes, since workspaces share the origin."""
        try:
            self.check_xsrf_cookie()
        except HTTPError as error:
            raise errors.Forbidden("This page is out of date. Reload it and try again.", code="xsrf") from error

    # languages

    @property
    def language(self) -> str:
        """``zh`` or ``en``: the user's choice, else what the browser asks for, else the installation's."""
        accepts = self.request.headers.get("Accept-Language", "")
        return choose_language(self._chosen_language(), accepts, self.ark.settings.language)

    def _chosen_language(self) -> str | None:
        cookie = self.get_cookie(LANGUAGE_COOKIE)
        if cookie in ("zh", "en"):
            return cookie
        principal = getattr(self, "principal", None)
        return self.ark.languages.get(principal.user) if principal is not None else None

    def gettext(self, msgid: str) -> str:
        return translator(self.language)(msgid)

    def say(self, sentence: Sentence) -> str:
        """A use case's sentence in the reader's language, as plain text."""
        return render(sentence, self.language, self.ark.settings.currency)

    def say_error(self, error: ArkError) -> str:
        return render_error(error, self.language, self.ark.settings.currency)

    # headers and errors

    content_policy = PAGE_POLICY

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", self.content_policy)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Cookie, Authorization, Accept-Language")

    def compute_etag(self) -> str | None:
        return None

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if isinstance(value, ArkError):
            return
        if isinstance(value, HTTPError) and value.status_code < 500:
            return
        self.reference = secrets.token_hex(4)
        log.error("%s %s failed (%s)", self.request.method, self.request.path, self.reference, exc_info=(typ, value, tb))  # type: ignore[arg-type]

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ArkError):
            status_code = status_of(error)
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = error if isinstance(error, ArkError) else http_problem(status_code)
        if isinstance(error, HTTPError) and isinstance(error.__cause__, ArkError):
            problem = error.__cause__
        if isinstance(problem, Unauthenticated) and self.request.headers.get("HX-Request"):
            self.set_header("HX-Refresh", "true")  # the whole page is loaded again, and is sent to sign in
        self.show_problem(problem, status_code)

    def show_problem(self, problem: ArkError, status: int) -> None:
        """Answer with a refusal. Pages and the API each have their own form; this one is plain text."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.say_error(problem) + "\n")


class OAuthCallback(ConsoleHandler, HubOAuthCallbackHandler):  # type: ignore[misc]
    """Where the Hub sends a browser back to after signing in. A stale or repeated sign-in begins again."""

    async def prepare(self) -> None:
        return

    async def get(self) -> None:
        if self.get_argument("error", None):
            raise errors.Forbidden("The sign-in was not completed. Open the console to try again.", code="sign_in")
        state = self.get_argument("state", "")
        if not self.get_argument("code", "") or not state:
            raise errors.Malformed("This address is part of signing in. Open the console instead.")
        if not self.hub_auth.get_code_verifier(state):
            # begun before this process was started, or used already: begin again
            self.redirect(PREFIX)
            return
        try:
            await HubOAuthCallbackHandler.get(self)
        except HTTPError as error:
            raise errors.Forbidden("The sign-in was not completed. Open the console to try again.", code="sign_in") from error


class NothingHere(ConsoleHandler):
    """Every address of the console that nothing else answers."""

    async def prepare(self) -> None:
        raise http_problem(404)
