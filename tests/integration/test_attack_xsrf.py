"""What another site makes a signed-in browser send: every address that writes, of the console, the netdisk and the Hub, found in their own
tables of routes, so that a new one is tried too. The session is an administrator's: nothing but the page's own token stands in the way.
"""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from jupyterhub import apihandlers, handlers
from tornado.web import RequestHandler

from ark_extensions.console.app import make_app as make_console
from ark_extensions.hub import Hub
from ark_extensions.netdisk.app import make_app as make_netdisk
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_extensions.web.oauth import service_oauth
from hub_config.authentication import ArkPasswordAuthenticator
from tests.platform import Answer, Platform, wait_until

WRITES = ("POST", "PUT", "PATCH", "DELETE")
SERVICES = {"hub": "/hub/", "console": "/services/console/", "netdisk": "/services/netdisk/"}
#: what stands for the parts of an address, the first that fits
PARTS = ("0123456789abcdef0123456789abcdef", "0123456789abcdef", "nothing", "/nothing", "x", "1")
#: addresses whose caller is known by something else than a cookie: a provider's signature, a service's secret, a WebDAV client's token; and
#: some at which nothing is done
BY_OTHER_MEANS = re.compile(
    r"/payments/\w+/callback|/hub/api/oauth2/token|/services/netdisk/dav/.*"
    r"|/hub/security/csp-report|/hub/user/.*|/hub/api/authorizations/token.*"
)


@dataclass
class Session:
    """A signed-in browser: its cookies go where they belong."""

    platform: Platform
    cookies: dict[tuple[str, str], str] = field(default_factory=dict)

    def go(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.platform.port, timeout=30)
        mine = "; ".join(f"{name}={value}" for (name, place), value in self.cookies.items() if path.startswith(place) and value)
        connection.request(
            method, path, body=body, headers={"Cookie": mine, "User-Agent": "test", "Accept-Language": "en", **(headers or {})}
        )
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name, morsel["path"] or "/"] = morsel.value
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def walk(self, path: str) -> Answer:
        """Open a page and follow where it leads."""
        for _ in range(10):
            answer = self.go("GET", path, headers={"Sec-Fetch-Mode": "navigate"})
            if answer.status not in (302, 303):
                return answer
            target = urlsplit(answer.headers["location"])
            path = target.path + (f"?{target.query}" if target.query else "")
        raise AssertionError("redirected in circles")

    def xsrf(self, service: str) -> str:
        """The token of a service's own pages."""
        return self.cookies["_xsrf", SERVICES[service]]


def signed_in(platform: Platform, name: str, password: str) -> Session:
    session = Session(platform)
    session.walk("/hub/login")
    form = urlencode({"username": name, "password": password, "_xsrf": session.xsrf("hub")}).encode()
    assert session.go("POST", "/hub/login", form, {"Content-Type": "application/x-www-form-urlencoded"}).status == 302
    for page in ("/hub/token", "/services/console/wallet", "/services/netdisk/"):
        assert session.walk(page).status == 200, page
    return session


@pytest.fixture(scope="module")
def victim(platform: Platform) -> Session:
    return signed_in(platform, "admin", platform.admin_password)


@pytest.fixture(scope="module")
def attacker(platform: Platform) -> Session:
    return signed_in(platform, "xsrf-mallory", platform.add_user("xsrf-mallory"))


def address_of(pattern: str) -> str:
    """An address that this pattern takes."""
    for part in PARTS:
        path = re.sub(r"\((?:\?P<\w+>|\?:)?[^()]*(?:\([^()]*\)[^()]*)*\)\??", lambda _, part=part: part, pattern.removesuffix("$"))
        path = path.removesuffix("/?").replace("\\", "")
        if re.fullmatch(pattern.removesuffix("$"), path):
            return path
    raise AssertionError(f"no address is known for {pattern}")


def writes_of(handler: type[RequestHandler]) -> list[str]:
    nothing = RequestHandler._unimplemented_method
    return [method for method in WRITES if getattr(handler, method.lower()) is not nothing]


def found_rules(platform: Platform) -> Iterator[tuple[str, str, list[str], list[str]]]:
    """(service, address, methods that write, all its methods)."""
    settings = Settings(state_dir=platform.state_dir)
    storage = Storage(settings.resolved_database_url)
    hub = Hub(settings.hub_api_url)
    console = make_console(settings, storage, hub)
    netdisk = make_netdisk(settings, storage, LocalDirVolumes(settings.state_dir), hub, service_oauth(settings, "netdisk"))
    storage.close()
    for service, app in (("console", console), ("netdisk", netdisk)):
        for rule in app.wildcard_router.rules:
            routes = rule.target_kwargs.get("routes")
            methods = list(routes) if routes is not None else writes_of(rule.target)  # type: ignore[arg-type]
            yield service, address_of(rule.matcher.regex.pattern), [m for m in methods if m in WRITES], methods  # type: ignore[attr-defined]
    for pattern, handler, *_ in (*ArkPasswordAuthenticator().get_handlers(None), *handlers.default_handlers, *apihandlers.default_handlers):
        yield "hub", "/hub" + address_of(pattern), writes_of(handler), []


@pytest.fixture(scope="module")
def doors(platform: Platform) -> list[tuple[str, str, str]]:
    """(service, method, address) of all that writes."""

    async def look() -> list[tuple[str, str, str]]:
        return [(service, method, path) for service, path, writes, _ in found_rules(platform) for method in writes]

    return sorted({door for door in asyncio.run(look()) if not BY_OTHER_MEANS.search(door[2])})


#: what a refusal for the token's sake says, as a page or to a program
REFUSAL = re.compile("xsrf|out of date", re.IGNORECASE)
ELSEWHERE = {"Origin": "https://evil.example", "Referer": "https://evil.example/"}


def forgeries(service: str, others: Session) -> dict[str, tuple[bytes, dict[str, str]]]:
    """What a page of another site, or of another workspace on this origin, can have a browser send."""
    json_body = {"Content-Type": "application/json"}
    theirs = others.xsrf(service)
    return {
        "a script": (b"{}", {**json_body, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}),
        "a browser that says nothing": (b"{}", json_body),
        "a form": (
            urlencode({"theme": "dark", "_xsrf": theirs}).encode(),
            {
                **ELSEWHERE,
                "Content-Type": "application/x-www-form-urlencoded",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Site": "cross-site",
            },
        ),
        "text": (b"{}", {**ELSEWHERE, "Content-Type": "text/plain", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}),
        "another user's token": (b"{}", {**json_body, "X-XSRFToken": theirs, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}),
    }


def test_no_address_writes_for_another_sites_page(victim: Session, attacker: Session, doors: list[tuple[str, str, str]]) -> None:
    assert {service for service, *_ in doors} == set(SERVICES) and len(doors) > 80
    done = []
    for service, method, path in doors:
        for what, (body, headers) in forgeries(service, attacker).items():
            answer = victim.go(method, path, body, headers)
            unread = answer.status in (400, 403) and path.startswith("/hub/") and path.endswith("/tokens")  # it reads the body first
            if not (answer.status == 405 or unread or (answer.status == 403 and REFUSAL.search(answer.text))):
                done.append((what, method, path, answer.status, answer.text[-100:]))
    assert not done, "\n".join(map(str, done))


def test_the_page_itself_may(victim: Session, doors: list[tuple[str, str, str]]) -> None:
    """The same session with the page's own token gets as far as the wrong field: it was the token that was missing."""
    refused = []
    for service, method, path in doors:
        if service == "hub":
            continue  # some of these would act
        headers = {"Content-Type": "application/json", "X-XSRFToken": victim.xsrf(service), "Sec-Fetch-Mode": "cors"}
        answer = victim.go(method, path, b'{"no_such_field": 1}', headers)
        if answer.status in (401, 403):
            refused.append((method, path, answer.status, answer.text[:100]))
    assert refused == []
    answer = victim.go("PATCH", "/hub/api/users/admin", b"[]", {"X-XSRFToken": victim.xsrf("hub"), "Sec-Fetch-Mode": "cors"})
    assert answer.status == 400, answer.text


def test_a_session_opens_no_webdav(victim: Session) -> None:
    for method in ("GET", "PUT", "DELETE", "PROPFIND", "MKCOL", "MOVE"):
        answer = victim.go(method, "/services/netdisk/dav/x", b"", {"X-XSRFToken": victim.xsrf("netdisk")})
        assert answer.status == 401, (method, answer.status)


def test_what_writes_is_not_done_by_opening_its_address(victim: Session, platform: Platform) -> None:
    async def look() -> list[str]:
        return [path for service, path, _, methods in found_rules(platform) if service == "console" and methods and "GET" not in methods]

    paths = [path for path in asyncio.run(look()) if "/api/v1/" in path]
    assert len(paths) > 10
    assert [path for path in paths if victim.go("GET", path).status != 405] == []


def test_a_link_on_another_site_starts_no_workspace_and_signs_nobody_out(platform: Platform) -> None:
    platform.make_room()
    name = "xsrf-started"
    session = signed_in(platform, name, platform.add_user(name))
    offer = platform.api("GET", "/offers", user=name).json["items"][0]["id"]
    order = {"offer": offer, "image": "python-cpu", "request_id": "xsrf-1", "name": "ws"}
    assert platform.api("POST", "/workspaces", order, user=name).status == 201

    def state() -> Any:
        return platform.api("GET", "/workspaces/ws", user=name).json["state"]

    wait_until(lambda: state() == "running", seconds=120)
    platform.api("POST", "/workspaces/ws/stop", {}, user=name)
    wait_until(lambda: state() == "stopped", seconds=120)
    spawn = f"/hub/spawn/{name}/ws"
    for says in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}, ELSEWHERE, {}):
        for query in ("", "?workspace=x", "?_xsrf=guessed"):
            answer = session.go("GET", spawn + query, headers=says)
            assert (answer.status, answer.headers["location"]) == (302, f"/hub/user/{name}/ws"), says
    assert session.go("GET", "/hub/logout", headers={"Sec-Fetch-Site": "cross-site"}).status == 302
    assert session.go("GET", "/hub/home").status == 200, "still signed in"
    assert state() == "stopped"
    page = session.walk(f"/user/{name}/ws/lab")
    button = re.search(r'id="start"[^>]*href="([^"]+)"', page.text)
    assert button is not None, page.text
    assert session.go("GET", button[1].replace("&amp;", "&")).status == 302
    wait_until(lambda: state() in ("starting", "running"), seconds=60)
    platform.make_room()
