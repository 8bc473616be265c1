"""Signing in with the platform's own passwords, and the Hub's pages around it."""

from __future__ import annotations

import http.client
import re
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from ark_extensions.web.tokens import CACHE_SECONDS
from tests.platform import API, Platform, wait_until


class Browser:
    """Cookies and forms, no more."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.cookies: dict[str, str] = {}

    def go(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.platform.port, timeout=30)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), "Accept": "text/html"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, body=urlencode(form) if form is not None else None, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        for header in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(header).items():
                self.cookies[name] = morsel.value
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def walk(self, path: str) -> int:
        """Follow redirects; the status of where they end."""
        for _ in range(10):
            status, headers, _ = self.go("GET", path)
            if status not in (302, 303):
                return status
            path = headers["location"].removeprefix(self.platform.address)
        raise AssertionError("redirected in circles")

    def sign_in(self, name: str, password: str) -> tuple[int, dict[str, str], str]:
        _, _, page = self.go("GET", "/hub/login")
        found = re.search(r'name="_xsrf" value="([^"]+)"', page)
        assert found
        return self.go("POST", "/hub/login", {"username": name, "password": password, "_xsrf": found[1]})


@pytest.fixture
def browser(platform: Platform) -> Browser:
    return Browser(platform)


def test_the_right_password_leads_to_the_console(browser: Browser) -> None:
    status, headers, _ = browser.sign_in("admin", browser.platform.admin_password)
    assert status == 302 and headers["location"].endswith("/services/console/")
    status, _, home = browser.go("GET", "/hub/home")
    assert status == 200 and 'href="/services/console/"' in home and "控制台" in home
    assert "Start My Server" not in home


def test_a_new_user_signs_in_and_has_the_opening_credit(browser: Browser) -> None:
    password = browser.platform.add_user("signin-new")
    status, _, _ = browser.sign_in("signin-new", password)
    assert status == 302
    assert browser.platform.api("GET", "/wallet", user="signin-new").json["balance"]["amount"] != "0.00"


@pytest.mark.parametrize(
    ("name", "password"), [("signin-nobody", "whatever-it-is"), ("admin", ""), ("", "x"), ("admin", "x" * 100_000), ("a\x00b", "x")]
)
def test_a_wrong_password_and_an_unknown_name_are_told_alike(browser: Browser, name: str, password: str) -> None:
    status, _, page = browser.sign_in(name, password)
    assert status in (401, 403)
    assert "Invalid username or password" in page
    assert (
        not [cookie for cookie in browser.cookies if cookie == "jupyterhub-session-id"]
        or "admin" not in page.split("login_widget")[1][:200]
    )


def test_guesses_are_slowed_down_and_the_name_is_free_again_elsewhere(browser: Browser) -> None:
    password = browser.platform.add_user("signin-guessed")
    answers = [browser.sign_in("signin-guessed", f"guess-{number}") for number in range(8)]
    assert answers[-1][0] == 429 and "Too many tries" in answers[-1][2]
    assert browser.sign_in("signin-guessed", password)[0] == 429, "also the right one has to wait"
    assert browser.sign_in("admin", browser.platform.admin_password)[0] == 302, "others do not"


def test_the_sign_in_page_says_where_the_password_comes_from(browser: Browser) -> None:
    _, headers, page = browser.go("GET", "/hub/login")
    assert "make up" in page and 'lang="zh"' in page
    assert headers["x-content-type-options"] == "nosniff" and "frame-ancestors 'none'" in headers["content-security-policy"]


def test_a_name_does_not_break_out_of_the_page(browser: Browser) -> None:
    _, _, page = browser.sign_in('"><script>alert(1)</script>', "x")
    assert "<script>alert(1)" not in page


#: longer than a service believes what the Hub said of a token
FORGOTTEN_SECONDS = CACHE_SECONDS + 15


def signed_in(platform: Platform, name: str, password: str) -> Browser:
    """A browser that has been to the console and to the netdisk."""
    browser = Browser(platform)
    assert browser.sign_in(name, password)[0] == 302
    for page in PAGES[1:]:
        browser.walk(page)
    assert opens(browser) == [True, True, True]
    return browser


PAGES = ("/hub/home", "/services/console/wallet", "/services/netdisk/")


def opens(browser: Browser) -> list[bool]:
    return [browser.go("GET", page)[0] == 200 for page in PAGES]


def test_a_new_password_and_a_sign_out_by_an_operator_end_every_browsers_sessions(platform: Platform) -> None:
    others = signed_in(platform, "admin", platform.admin_password)
    olds, news, ended = {}, {}, []
    for command in ("password", "sign-out"):
        name = f"signin-out-{command}"
        olds[name] = platform.add_user(name)
        token = platform.token(name)
        browsers = [signed_in(platform, name, olds[name]) for _ in range(2)]
        said = platform.ark("user", command, name)
        assert said.stderr == ""
        news[name] = said.stdout.strip() or olds[name]
        assert not any(opens(browser)[0] for browser in browsers), "the Hub's own pages, at once"
        assert platform.request("GET", f"{API}/wallet", token=token).status == 200, "a personal token is no session"
        ended += browsers
    assert Browser(platform).sign_in("signin-out-password", olds["signin-out-password"])[0] in (401, 403)
    again = [signed_in(platform, name, password) for name, password in news.items()]
    wait_until(lambda: not any(any(opens(browser)) for browser in ended), seconds=FORGOTTEN_SECONDS, every=1.0)
    assert all(opens(browser) == [True, True, True] for browser in (others, *again)), "who is somebody else, or came later"


def test_only_who_administrates_users_ends_their_sessions(platform: Platform) -> None:
    for name in ("signin-mallory", "signin-victim"):
        password = platform.add_user(name)
    victim = signed_in(platform, "signin-victim", password)
    for method in ("DELETE", "GET", "POST"):
        for user, token in (("signin-mallory", None), (None, "0" * 32), (None, None)):
            answer = platform.request(method, "/hub/api/users/signin-victim/sessions", user=user, token=token)
            assert answer.status in (403, 404, 405), (method, user, answer.text)
    assert opens(victim) == [True, True, True]
