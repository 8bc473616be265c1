"""Tokens for programs, made at the netdisk and kept by a real Hub: what they open, and which of an account's tokens are theirs to end."""

from __future__ import annotations

import base64
import secrets

from tests.integration.test_signin import Browser
from tests.platform import Answer, Platform

PREFIX = "/services/netdisk"


def netdisk(platform: Platform, method: str, path: str, token: str, body: object = None) -> Answer:
    return platform.request(method, f"{PREFIX}/{path}", body=body, headers={"Authorization": f"token {token}"})


def tokens_of(platform: Platform, user: str, token: str) -> set[str]:
    answer = platform.request("GET", f"/hub/api/users/{user}/tokens", headers={"Authorization": f"token {token}"})
    return {model["id"] for model in answer.json["api_tokens"]}


def account_token(platform: Platform, user: str) -> str:
    """A token for the whole account, made at the Hub as its page for tokens makes one."""
    browser = Browser(platform)
    browser.sign_in(user, platform.add_user(user))
    browser.go("GET", "/hub/token")
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    signed_in = {"Cookie": cookies, "X-XSRFToken": browser.cookies["_xsrf"]}
    return platform.request("POST", f"/hub/api/users/{user}/tokens", body={"note": "own"}, headers=signed_in).json["token"]


def test_the_netdisk_ends_the_tokens_that_it_made_and_no_other_of_the_account(platform: Platform) -> None:
    user = f"u{secrets.token_hex(4)}"
    account = account_token(platform, user)
    own = tokens_of(platform, user, account)
    made = [netdisk(platform, "POST", "api/v1/tokens", account, {"name": name, "days": 1}).json for name in ("laptop", "server")]
    listed = netdisk(platform, "GET", "api/v1/tokens", account).json["items"]
    assert {item["name"]: item["id"] for item in listed} == {one["name"]: one["id"] for one in made}, "and the account's own is not shown"

    for id in own:
        assert netdisk(platform, "DELETE", f"api/v1/tokens/{id}", account).status == 404
    assert own <= tokens_of(platform, user, account)

    laptop, server = (one["token"] for one in made)
    basic = base64.b64encode(f"{user}:{laptop}".encode()).decode()
    opened = platform.request("PROPFIND", f"{PREFIX}/dav/", headers={"Authorization": f"Basic {basic}", "Depth": "0"})
    assert opened.status == 207
    elsewhere = platform.request("POST", f"/hub/api/users/{user}/servers/w1", body={}, headers={"Authorization": f"token {laptop}"})
    assert elsewhere.status in (403, 404), "it opens the netdisk and nothing else"
    assert netdisk(platform, "DELETE", f"api/v1/tokens/{made[0]['id']}", account).status == 204
    assert netdisk(platform, "GET", "api/v1/usage", laptop).status in (401, 403)
    assert netdisk(platform, "GET", "api/v1/usage", server).status == 200
