"""Who a token makes its bearer, and how long the Hub's word about it is believed."""

from __future__ import annotations

import asyncio

import pytest

from ark_extensions.console.auth import header_token, principal_of
from ark_extensions.domain.errors import Forbidden, Unavailable
from ark_extensions.hub import Hub, TokenOwner
from ark_extensions.web.tokens import TokenLookup

ACCESS = "access:services!service=console"


def owner(*scopes: str, kind: str = "user", admin: bool = False) -> TokenOwner:
    return TokenOwner("ann", kind, admin, frozenset(scopes))


def test_an_account() -> None:
    principal = principal_of(
        owner(ACCESS, "custom:ark:account", "servers!user=ann", "start:servers!user=ann", admin=True), "t", by_cookie=False
    )
    assert (principal.user, principal.account, principal.admin, principal.workspace) == ("ann", True, True, None)
    assert principal.may_act_on_servers("start") and not principal.may_act_on_servers("delete")


def test_a_workspaces_own_token_is_no_account_and_no_administrator() -> None:
    principal = principal_of(owner(ACCESS, "access:servers!server=ann/ws", "users:activity!user=ann", admin=True), "t", by_cookie=False)
    assert (principal.account, principal.admin, principal.workspace) == (False, False, "ws")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (owner(ACCESS, "custom:ark:account", kind="service"), "token_of_service"),
        (owner("custom:ark:account"), "token_without_access"),
        (owner("access:services!service=other", "custom:ark:account"), "token_without_access"),
        (owner(ACCESS), "token_without_account"),
        (owner(ACCESS, "access:servers!server=ann/"), "token_without_account"),
        (owner(ACCESS, "access:servers!server=bob/ws"), "token_without_account"),
        (owner(ACCESS, "access:servers!server=ann/a", "access:servers!server=ann/b"), "token_without_account"),
        (owner(ACCESS, "access:servers!user=ann"), "token_without_account"),
        (owner(ACCESS, "custom:ark:account!user=bob"), "token_without_account"),
    ],
)
def test_others_have_nothing_to_do_here(found: TokenOwner, code: str) -> None:
    with pytest.raises(Forbidden) as caught:
        principal_of(found, "t", by_cookie=False)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("header", "token"),
    [("", None), ("token abc", "abc"), ("Bearer abc", "abc"), ("TOKEN  abc ", "abc"), ("Basic abc", ""), ("token", ""), ("token a b", "")],
)
def test_the_authorization_header(header: str, token: str | None) -> None:
    assert header_token(header) == token


class CountingHub(Hub):
    def __init__(self) -> None:
        super().__init__("http://nowhere")
        self.asked = 0
        self.found: TokenOwner | None = owner(ACCESS)
        self.down = False

    async def user_of_token(self, token: str) -> TokenOwner | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("The Hub does not answer now.")
        return self.found


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_is_asked_for_once_and_again_when_the_time_is_over() -> None:
    hub, clock = CountingHub(), Clock()
    tokens = TokenLookup(hub, clock=clock, seconds=20)
    answers = await asyncio.gather(*(tokens.owner_of("t") for _ in range(50)))
    assert hub.asked == 1 and set(answers) == {hub.found}
    clock.now, hub.found = 19.9, None
    assert await tokens.owner_of("t") is not None
    clock.now = 20.0
    assert await tokens.owner_of("t") is None
    assert hub.asked == 2


async def test_a_session_that_ends_is_asked_for_anew() -> None:
    hub = CountingHub()
    tokens = TokenLookup(hub, clock=Clock())
    await tokens.owner_of("t", session_id="one")
    hub.found = None
    assert await tokens.owner_of("t", session_id="") is None


async def test_a_hub_that_is_down_is_not_remembered() -> None:
    hub = CountingHub()
    tokens = TokenLookup(hub, clock=Clock())
    hub.down = True
    with pytest.raises(Unavailable):
        await tokens.owner_of("t")
    hub.down = False
    assert await tokens.owner_of("t") is not None


async def test_invented_tokens_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ark_extensions.web.tokens.CACHE_SIZE", 100)
    hub = CountingHub()
    hub.found = None
    tokens = TokenLookup(hub, clock=Clock())
    for number in range(500):
        await tokens.owner_of(str(number))
    assert len(tokens._known) <= 100
