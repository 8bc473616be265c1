"""Signing in through an identity provider: oauthenticator's classes, made strict.

Promises: an OpenID Connect provider (``issuer``) proves each sign-in with a signed ID token for this Hub, this browser (its nonce)
and this moment; a person is known by issuer and subject, never by a name alone; several tabs may sign in at once;
what goes wrong is a sentence with the way out, and its details are in the Hub's log only.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import entry_points
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import jwt
from markupsafe import escape
from oauthenticator.oauth2 import STATE_COOKIE_NAME, OAuthenticator, _deserialize_state
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError
from traitlets import Callable, Unicode

from ark_extensions.domain.errors import Conflict
from ark_extensions.usecases import identities
from ark_extensions.web.i18n import _, translator

NOT_ADMITTED = _("You are not admitted here. Ask an administrator of this platform.")
EXPIRED = _("This sign-in has expired, or it was begun in another browser. Begin again.")
DECLINED = _("The identity provider did not let you in ({reason}). Begin again, or ask an administrator.")
NOT_BELIEVED = _("The identity provider does not answer as it should. Begin again later, and tell an administrator if it stays so.")
NAME_TAKEN = _("The name {name} belongs to somebody else here. Ask an administrator.")
#: signed with a key that only the provider has
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
DISCOVERED_SECONDS = 3600.0
CLOCK_SECONDS = 60


class SignInFailed(HTTPError):
    """An error page with one sentence, in both languages: the page chooses."""

    is_sign_in = True

    def __init__(self, status: int, msgid: str, **params: object) -> None:
        said = {language: translator(language)(msgid).format(**params) for language in ("zh", "en")}
        super().__init__(status, said["en"].replace("%", "%%"))
        spans = (f'<span lang="{language}" class="ark-{language}">{escape(text)}</span>' for language, text in said.items())
        self.jupyterhub_html_message = "".join(spans)


class Begins:
    """The way to the provider."""

    authenticator: Any

    async def get(self) -> None:
        try:
            await self.authenticator.discover()
        except (HTTPClientError, OSError, ValueError) as error:
            self.log.error("the identity provider cannot be asked for its addresses: %s", error)  # type: ignore[attr-defined]
            raise SignInFailed(502, NOT_BELIEVED) from error
        super().get()  # type: ignore[misc]

    def set_state_cookie(self, value: str) -> None:
        """One for each sign-in under way: a second tab does not overwrite the first one's."""
        name = cookie_of(str(_deserialize_state(value)["state_id"]))
        self._set_cookie(name, value, expires_days=1, httponly=True)  # type: ignore[attr-defined]

    def authorize_redirect(self, *, extra_params: dict[str, str], **sent: Any) -> Any:
        if self.authenticator.issuer:
            extra_params["nonce"] = extra_params["code_challenge"]
        return super().authorize_redirect(extra_params=extra_params, **sent)  # type: ignore[misc]


class ComesBack:
    """The way back from the provider."""

    _state_cookie: str | None

    async def get(self) -> None:
        handler: Any = self
        error = handler.get_argument("error", "")
        if error:
            raise SignInFailed(403, DECLINED, reason=re.sub(r"[^a-z_ -]", "", error.lower())[:40])
        if not handler.get_argument("code", "") or not self._state_fits():
            raise SignInFailed(400, EXPIRED)
        try:
            await super().get()  # type: ignore[misc]
        except SignInFailed:
            raise
        except (HTTPError, HTTPClientError, OSError, ValueError, jwt.PyJWTError) as error:
            handler.log.error("a sign-in failed: %s: %s", type(error).__name__, str(error)[:500])
            status = error.status_code if isinstance(error, HTTPError) else 502
            raise SignInFailed(403, NOT_ADMITTED) if status == 403 else SignInFailed(502, NOT_BELIEVED) from error

    def get_state_cookie(self) -> str:
        handler: Any = self
        if self._state_cookie is None:
            name = cookie_of(str(_deserialize_state(handler.get_argument("state", "")).get("state_id", "")))
            self._state_cookie = (handler.get_secure_cookie(name) or b"").decode("utf8", "replace")
            handler.clear_cookie(name)
        return self._state_cookie

    def _state_fits(self) -> bool:
        try:
            cookie = self.get_state_cookie()
            wanted = _deserialize_state(cookie).get("state_id") if cookie else None
            return bool(wanted) and wanted == _deserialize_state(self.get_argument("state", "")).get("state_id")  # type: ignore[attr-defined]
        except (ValueError, AttributeError):  # somebody's own idea of a state
            return False


def cookie_of(state_id: str) -> str:
    return f"{STATE_COOKIE_NAME}-{state_id[:12]}" if re.fullmatch(r"[0-9a-f]{32}", state_id) else STATE_COOKIE_NAME


class IdentityProvider(OAuthenticator):  # type: ignore[misc]  # oauthenticator has no types
    """To be mixed into one of oauthenticator's classes (see `class_of`)."""

    issuer = Unicode(help="An OpenID Connect provider; its addresses and keys are read from its discovery document").tag(config=True)
    open_storage: Any
    in_thread = Callable(help="Runs a blocking call").tag(config=True)
    _keys: dict[str, dict[str, Any]] = {}
    _keys_url = ""
    _discovered_at: float | None = None

    async def discover(self) -> None:
        """The provider's own addresses, asked again every hour. Without an ``issuer`` they are in the settings."""
        if not self.issuer or (self._discovered_at is not None and monotonic() - self._discovered_at < DISCOVERED_SECONDS):
            return
        said = await self.httpfetch(self.issuer.rstrip("/") + "/.well-known/openid-configuration", validate_cert=self.validate_server_cert)
        if said.get("issuer") != self.issuer:
            raise ValueError(f"{self.issuer} calls itself {str(said.get('issuer'))[:200]!r}")
        self.authorize_url, self.token_url = said["authorization_endpoint"], said["token_endpoint"]
        self.userdata_url, self._keys_url = said["userinfo_endpoint"], said["jwks_uri"]
        await self._read_keys()
        self._discovered_at = monotonic()

    async def _read_keys(self) -> None:
        said = await self.httpfetch(self._keys_url, validate_cert=self.validate_server_cert)
        self._keys = {str(key.get("kid", "")): key for key in said["keys"]}

    async def get_token_info(self, handler: Any, params: dict[str, Any]) -> dict[str, Any]:
        if self.issuer:
            await self.discover()
        info: dict[str, Any] = await super().get_token_info(handler, {name: value for name, value in params.items() if value is not None})
        if self.issuer:
            verifier = _deserialize_state(handler.get_state_cookie())["code_verifier"]
            info["id_claims"] = await self._proven(str(info.get("id_token", "")), nonce=challenge_of(verifier))
        return info

    async def _proven(self, token: str, *, nonce: str) -> dict[str, Any]:
        """What a signed ID token says; raises PyJWTError or ValueError for one that proves nothing."""
        head = jwt.get_unverified_header(token)
        algorithm, name = str(head.get("alg")), str(head.get("kid", ""))
        if name not in self._keys:
            await self._read_keys()  # the provider may have a new one
        if name not in self._keys or algorithm not in ALGORITHMS:
            raise ValueError(f"the ID token is signed with an unknown key or by {algorithm[:20]!r}")
        key = jwt.PyJWK(self._keys[name], algorithm=self._keys[name].get("alg") or algorithm)
        wanted: Any = {"require": ["exp", "iat", "iss", "aud", "sub"]}
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=[algorithm], audience=self.client_id, issuer=self.issuer, options=wanted, leeway=CLOCK_SECONDS
        )  # fmt: skip
        if claims.get("nonce") != nonce:
            raise ValueError("the ID token is not for this sign-in")
        return claims

    async def token_to_user(self, token_info: dict[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = await super().token_to_user(token_info)
        proven = token_info.pop("id_claims", None)
        if proven is not None and said.get("sub") != proven["sub"]:
            raise ValueError("the provider's user is not the one of the ID token")
        return said

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """The name is the one that this person has had since the first sign-in, whatever the provider calls them today."""
        model: dict[str, Any] = await super().update_auth_model(auth_model)
        known = await self.in_thread(partial(identities.user_of, self.open_storage(), **self.identity(model)))
        if known is not None:
            model["name"], model["admin"] = known, True if known in self.admin_users else None
        return model

    def identity(self, auth_model: dict[str, Any]) -> dict[str, str]:
        said = auth_model["auth_state"][self.user_auth_state_key]
        subject = said.get("sub") or said.get("id")
        if not subject:
            raise ValueError("the provider does not say who it is: neither sub nor id")
        place = urlsplit(self.token_url)
        return {"issuer": self.issuer or f"{place.scheme}://{place.netloc}", "subject": str(subject)}

    async def settle(self, auth_model: dict[str, Any]) -> None:
        """Before somebody is let in: the name is theirs."""
        about = {"user": auth_model["name"], **self.identity(auth_model)}
        if await self.in_thread(partial(identities.taken_by_another, self.open_storage(), **about)):
            raise SignInFailed(403, NAME_TAKEN, name=auth_model["name"][:60])

    async def keep(self, auth_model: dict[str, Any]) -> None:
        """Who has come in is this user from now on."""
        about = {"user": auth_model["name"], **self.identity(auth_model)}
        try:
            await self.in_thread(partial(identities.claim, self.open_storage(), **about, now=datetime.now(UTC)))
        except Conflict as refusal:
            raise SignInFailed(403, refusal.msgid, **refusal.params) from refusal


def challenge_of(verifier: str) -> str:
    """PKCE's S256, which is this sign-in's nonce too."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def class_of(provider: str) -> type[OAuthenticator]:
    """oauthenticator's class of this name (an entry point such as ``generic-oauth`` or ``github``), made strict."""
    found = {point.name: point for point in entry_points(group="jupyterhub.authenticators")}
    if provider not in found:
        raise ValueError(f"There is no sign-in provider {provider!r}: choose one of {', '.join(sorted(found))}.")
    base = found[provider].load()
    parts = {
        "login_handler": type("BeginsSignIn", (Begins, base.login_handler), {}),
        "callback_handler": type("ComesBackFromSignIn", (ComesBack, base.callback_handler), {}),
    }
    return type("ArkIdentityProvider", (IdentityProvider, base), parts)
