"""Several tabs sign in at once: a browser that restores its tabs, or somebody who opens JupyterLab and at once VS Code."""

from __future__ import annotations

import pytest

from tests.integration.test_signin import Browser
from tests.platform import Platform, wait_until

NAME = "tabs"


@pytest.fixture(scope="module")
def signed_in(platform: Platform) -> Browser:
    browser = Browser(platform)
    assert browser.sign_in(NAME, platform.add_user(NAME))[0] == 302
    return browser


@pytest.fixture(scope="module")
def server(platform: Platform, signed_in: Browser) -> str:
    platform.make_room()
    offer = platform.api("GET", "/offers", user=NAME).json["items"][0]["id"]
    order = {"offer": offer, "image": "python-cpu", "data_disk_gib": 0, "request_id": "tabs-00000001"}
    name = platform.api("POST", "/workspaces", order, user=NAME).json["name"]
    wait_until(lambda: platform.api("GET", f"/workspaces/{name}", user=NAME).json["state"] == "running")
    return f"/user/{NAME}/{name}"


def both_arrive(browser: Browser, pages: tuple[str, str]) -> None:
    """Both tabs ask before either has an answer, as the first of them would fail alone."""
    known = dict(browser.cookies)
    on_the_way = []
    for page in pages:
        tab = Browser(browser.platform)
        tab.cookies = dict(known)
        status, headers, _ = tab.go("GET", page)
        assert status == 302 and "/oauth2/authorize" in headers["location"]
        browser.cookies.update(tab.cookies)  # one browser has one jar
        on_the_way.append(headers["location"])
    for page, place in zip(pages, on_the_way, strict=True):
        while place.split("?")[0] != page.split("?")[0]:
            status, headers, text = browser.go("GET", place)
            assert status == 302, text[:500]
            place = headers["location"]
    assert browser.go("GET", pages[1])[0] == 200


def test_jupyterlab_and_vscode_open_at_once(signed_in: Browser, server: str) -> None:
    both_arrive(signed_in, (f"{server}/lab", f"{server}/vscode/?folder=/home/user"))


@pytest.mark.parametrize(
    "pages", [("/services/console/wallet", "/services/console/workspaces"), ("/services/netdisk/", "/services/netdisk/?path=x")]
)
def test_two_tabs_of_a_service_open_at_once(signed_in: Browser, pages: tuple[str, str]) -> None:
    both_arrive(signed_in, pages)


def test_a_sign_in_that_this_browser_has_not_begun_is_refused(signed_in: Browser, platform: Platform) -> None:
    stranger = Browser(platform)
    _, headers, _ = stranger.go("GET", "/services/console/wallet")
    state = headers["location"].split("state=")[1].split("&")[0]
    assert Browser(platform).go("GET", f"/services/console/oauth_callback?code=abc&state={state}")[0] == 403
