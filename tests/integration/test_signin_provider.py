"""Signing in through a real OpenID Connect provider on the loopback: who comes in, as whom, and what is said to who does not."""

from __future__ import annotations

import base64
import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.identity_provider import CLIENT, SECRET, Provider
from tests.platform import Platform
from tests.ports import free_port

OPTIONS = {
    "client_id": CLIENT,
    "scope": ["openid", "profile", "email", "groups"],
    "allowed_users": ["alice"],
    "admin_groups": ["ark-admins"],
}


@dataclass
class Place:
    """A platform whose people are an identity provider's."""

    platform: Platform
    provider: Provider
    log: Path

    @property
    def callback(self) -> str:
        return f"{self.platform.address}/hub/oauth_callback"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    port = free_port()
    oauth = {"provider": "generic-oauth", "issuer": f"http://localhost:{port}", "options": OPTIONS}
    platform = Platform(settings={"oauth": oauth})
    secrets = platform.state_dir / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "oauth_client_secret").write_text(SECRET + "\n")
    log = tmp_path_factory.mktemp("provider") / "log"
    made = Place(platform, Provider(port, f"{platform.address}/hub/oauth_callback", log), log)
    try:
        platform.start()
        yield made
    finally:
        made.provider.close()
        platform.close()


class Redirects(urllib.request.HTTPRedirectHandler):
    follow = True

    def redirect_request(self, *about: Any) -> Any:
        return super().redirect_request(*about) if self.follow else None


@dataclass
class Visitor:
    """A browser: cookies, redirects and forms."""

    place: Place
    jar: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    def __post_init__(self) -> None:
        self.redirects = Redirects()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar), self.redirects)

    def go(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """(status, address at the end of all redirects, page)"""
        data = None if form is None else urllib.parse.urlencode(form).encode()
        try:
            answer = self.opener.open(urllib.request.Request(url, data, {"Accept": "text/html"}), timeout=60)
        except urllib.error.HTTPError as refusal:
            answer = refusal
        with answer:
            return answer.status, answer.url, answer.read().decode(errors="replace")

    def sign_in(self, name: str) -> tuple[int, str, str]:
        status, url, page = self.go(f"{self.place.platform.address}/hub/oauth_login?next=%2Fhub%2Fhome")
        return self.answer(status, url, page, name)

    def answer(self, status: int, url: str, page: str, name: str) -> tuple[int, str, str]:
        """The provider's forms, until they lead back."""
        for _ in range(4):
            if status != 200 or not url.startswith(self.place.provider.issuer):
                break
            token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
            assert token, page[:3000]
            field = "password" if 'name="password"' in page else "login"
            form = {"csrf_token": token[1], field: f"secret-{name}" if field == "password" else name, "answer": "accept"}
            status, url, page = self.go(url, form)
        return status, url, page

    def whoami(self) -> str | None:
        _, _, page = self.go(f"{self.place.platform.address}/hub/home")
        found = re.search(r'user: "([^"]+)"', page)
        return found[1] if found else None


def test_somebody_on_the_list_comes_in_with_the_opening_credit(place: Place) -> None:
    visitor = Visitor(place)
    status, url, page = visitor.sign_in("alice")
    assert (status, urllib.parse.urlsplit(url).path) == (200, "/hub/home"), place.platform.logs()
    assert visitor.whoami() == "alice"
    status, _, page = visitor.go(f"{place.platform.address}/services/console/")
    assert status == 200
    assert place.platform.api("GET", "/wallet", user="alice").json["balance"]["amount"] != "0.00"
    assert place.platform.api("GET", "/admin/users", user="alice").status == 403


def test_somebody_who_is_not_on_the_list_is_told_so_in_both_languages_and_is_not_made_known(place: Place) -> None:
    status, _, page = Visitor(place).sign_in("mallory")
    assert status == 403
    assert "You are not admitted here. Ask an administrator of this platform." in page and "管理员" in page
    assert "mallory" not in place.platform.ark("user", "list").stdout


def test_a_group_makes_administrators(place: Place) -> None:
    visitor = Visitor(place)
    assert visitor.sign_in("bob")[0] == 200
    assert place.platform.api("GET", "/admin/users", user="bob").status == 200
    assert visitor.go(f"{place.platform.address}/services/console/admin/users")[0] == 200


def test_signing_out_ends_the_session(place: Place) -> None:
    visitor = Visitor(place)
    visitor.sign_in("alice")
    assert visitor.whoami() == "alice"
    visitor.go(f"{place.platform.address}/hub/logout")
    assert visitor.whoami() is None


def test_two_tabs_at_once_come_in_both(place: Place) -> None:
    visitor = Visitor(place)
    begun = [visitor.go(f"{place.platform.address}/hub/oauth_login?next=%2Fhub%2Fhome") for _ in range(2)]
    cookies = [cookie.name for cookie in visitor.jar if cookie.name.startswith("oauthenticator-state-")]
    assert len(cookies) == 2 and begun[0][0] == begun[1][0] == 200
    assert visitor.answer(*begun[1], "alice")[0] == 200


def state_of(state_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"state_id": state_id}).encode()).decode()


@pytest.mark.parametrize(
    "query",
    [
        {"code": "stolen", "state": state_of("0" * 32)},
        {"code": "stolen", "state": "no state at all"},
        {"code": "stolen", "state": state_of("../../x")},
        {"code": "stolen"},
        {"state": state_of("0" * 32)},
        {},
    ],
)
def test_a_way_back_that_nobody_began_here_is_refused(place: Place, query: dict[str, str]) -> None:
    visitor = Visitor(place)
    status, _, page = visitor.go(f"{place.callback}?{urllib.parse.urlencode(query)}")
    assert status == 400 and "This sign-in has expired, or it was begun in another browser. Begin again." in page, page[:2000]
    assert visitor.whoami() is None


def test_a_code_that_the_provider_never_gave_and_one_for_another_browser_are_refused(place: Place) -> None:
    mine, theirs = Visitor(place), Visitor(place)
    mine.redirects.follow = False
    _, location = begin(mine)
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["state"][0]
    status, _, page = mine.go(f"{place.callback}?{urllib.parse.urlencode({'code': 'invented', 'state': state})}")
    assert status == 502 and "The identity provider does not answer as it should" in page
    _, location = begin(mine)
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["state"][0]
    status, _, page = theirs.go(f"{place.callback}?{urllib.parse.urlencode({'code': 'x', 'state': state})}")
    assert status == 400 and "begun in another browser" in page


def begin(visitor: Visitor) -> tuple[int, str]:
    """The Hub's redirect to the provider, not followed."""
    try:
        answer = visitor.opener.open(f"{visitor.place.platform.address}/hub/oauth_login", timeout=60)
    except urllib.error.HTTPError as redirect:
        answer = redirect
    with answer:
        return answer.status, answer.headers["Location"]


def test_the_way_there_asks_for_proof(place: Place) -> None:
    visitor = Visitor(place)
    visitor.redirects.follow = False
    status, location = begin(visitor)
    asked = {name: values[0] for name, values in urllib.parse.parse_qs(urllib.parse.urlsplit(location).query).items()}
    assert status == 302 and location.startswith(place.provider.issuer)
    assert asked["code_challenge_method"] == "S256" and len(asked["nonce"]) == 43 and asked["redirect_uri"] == place.callback


def test_a_provider_that_says_no_is_a_sentence_and_nothing_that_it_says_is_markup(place: Place) -> None:
    query = urllib.parse.urlencode({"error": "access_denied<script>", "error_description": "<b>evil</b>", "state": "x"})
    status, _, page = Visitor(place).go(f"{place.callback}?{query}")
    assert status == 403 and "The identity provider did not let you in (access_deniedscript)" in page and "evil" not in page


def test_a_name_that_has_passed_to_somebody_else_does_not_open_the_first_ones_account(place: Place) -> None:
    """The provider begins anew: the same names, other people, other signing keys."""
    assert Visitor(place).sign_in("alice")[0] == 200
    port = place.provider.port
    place.provider.close()
    place.provider = Provider(port, place.callback, place.log)
    other = Visitor(place)
    status, _, page = other.sign_in("alice")
    assert status == 403 and "The name alice belongs to somebody else here." in page, page[:2000]
    assert other.whoami() is None


def test_a_user_whom_an_administrator_deletes_does_not_come_in_again(place: Place) -> None:
    token = (place.platform.state_dir / "secrets/operator_token").read_text().strip()
    assert place.platform.request("DELETE", "/hub/api/users/alice", token=token).status == 204
    visitor = Visitor(place)
    status, _, page = visitor.sign_in("alice")
    assert status == 403 and "You are not admitted here." in page
    assert visitor.whoami() is None
