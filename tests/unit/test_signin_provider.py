"""Identity providers by settings: what each becomes, and which ID tokens prove nothing."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from traitlets.config import Config

from ark_extensions.domain.errors import Conflict
from ark_extensions.settings import OAuth, Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases import identities, ssh_keys, users
from hub_config import authentication
from tests.unit.fresh import fresh_database

ISSUER, NOW = "https://id.example.org", datetime(2026, 11, 1, tzinfo=UTC)
KEY = rsa.generate_private_key(65537, 2048)


def made(tmp_path: Path, provider: str, **options: Any) -> Any:
    """The Hub's authenticator, as the configuration makes it."""
    (tmp_path / "secrets").mkdir(exist_ok=True)
    (tmp_path / "secrets/oauth_client_secret").write_text("secret\n")
    issuer = {"issuer": ISSUER} if provider == "generic-oauth" else {}
    c = Config()
    settings = Settings(state_dir=tmp_path, oauth={"provider": provider, "options": {"client_id": "ark", **options}, **issuer})
    authentication.configure(c, settings)
    return c.JupyterHub.authenticator_class(config=c)


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        ("generic-oauth", {"allowed_groups": ["lab"]}),
        ("github", {"allowed_organizations": ["lab"]}),
        ("gitlab", {"allowed_gitlab_groups": ["lab"]}),
        ("google", {"hosted_domain": ["example.org"]}),
    ],
)
def test_each_provider_takes_its_lists_and_admits_nobody_else(tmp_path: Path, provider: str, options: dict[str, Any]) -> None:
    one = made(tmp_path, provider, **options, allowed_users=["alice"], admin_groups=["admins"])
    assert (one.client_id, one.client_secret, one.allow_all) == ("ark", "secret", False)
    assert one.allowed_users == {"alice"} and one.admin_groups == {"admins"} and one.manage_groups
    assert all(set(getattr(one, name)) == set(value) for name, value in options.items())
    assert one.admin_users == set(), "the default name is anybody's at a provider"
    handlers = dict(one.get_handlers(None))
    assert issubclass(handlers["/logout"], authentication.SignsOut) and "/oauth_callback" in handlers


@pytest.mark.parametrize("issuer", ["http://id.example.org", "id.example.org", "http://localhost.example.org"])
def test_an_issuer_that_can_be_overheard_is_refused(issuer: str) -> None:
    with pytest.raises(ValueError, match="https"):
        OAuth(provider="generic-oauth", issuer=issuer)


def test_an_unknown_provider_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="github, gitlab"):
        made(tmp_path, "gitbub")


def token(*, key: Any = KEY, algorithm: str = "RS256", kid: str = "k1", **changes: Any) -> str:
    now = datetime.now(UTC)
    claims = {"iss": ISSUER, "aud": "ark", "sub": "1", "iat": now, "exp": now + timedelta(minutes=5), "nonce": "n", **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    one = made(tmp_path, "generic-oauth")
    keys = {"keys": [json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k1"}]}

    async def answer(url: str, **about: Any) -> Any:
        return keys

    monkeypatch.setattr(one, "httpfetch", answer)
    return one


async def test_a_token_of_this_sign_in_is_believed(provider: Any) -> None:
    assert (await provider._proven(token(), nonce="n"))["sub"] == "1"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example.org"},
        {"aud": "another"},
        {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"sub": None},
        {"exp": None},
        {"kid": "unknown"},
        {"key": rsa.generate_private_key(65537, 2048)},
        {"key": "a shared secret that everybody may know", "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
    ],
)
async def test_what_proves_nothing_is_refused(provider: Any, changes: dict[str, Any]) -> None:
    with pytest.raises((jwt.PyJWTError, ValueError)):
        await provider._proven(token(**changes), nonce="n")


@pytest.mark.parametrize("text", ["", "x", "a.b.c", base64.b64encode(b"{}").decode() + ".."])
async def test_what_is_no_token_is_refused(provider: Any, text: str) -> None:
    with pytest.raises((jwt.PyJWTError, ValueError)):
        await provider._proven(text, nonce="n")


def test_a_name_is_the_first_ones_until_the_user_is_deleted(tmp_path: Path) -> None:
    storage = Storage(fresh_database(tmp_path))
    users.ensure_user(storage, name="li", admin=False, opening_credit_micros=0, now=NOW)
    users.set_password(storage, user="li", password="long enough")
    first, second = {"issuer": ISSUER, "subject": "1"}, {"issuer": ISSUER, "subject": "2"}
    for _ in range(2):
        identities.claim(storage, **first, user="li", now=NOW)
    assert identities.user_of(storage, **first) == "li" and identities.user_of(storage, **second) is None
    assert identities.taken_by_another(storage, **second, user="li") and not identities.taken_by_another(storage, **first, user="li")
    with pytest.raises(Conflict):
        identities.claim(storage, **second, user="li", now=NOW)
    identities.shut_out(storage, user="li", actor="root", now=NOW)
    assert not users.check_password(storage, user="li", password="long enough")
    assert ssh_keys.account(storage, user="li").signed_off_at == NOW
    identities.claim(storage, **second, user="li", now=NOW)
    assert identities.user_of(storage, **second) == "li"
    identities.shut_out(storage, user="nobody", actor="root", now=NOW)
    storage.close()
