"""What the platform relies on of JupyterHub, through `ark_extensions.hub` against a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ark_extensions import hub as hub_module
from ark_extensions.domain.errors import ArkError, Forbidden, NotFound, Unavailable
from ark_extensions.hub import Hub, Refused, Unanswered
from tests.console_stage import Stage, stage
from tests.ports import free_port

__all__ = ["stage"]

USER = "contract"


@pytest.fixture
def hub(stage: Stage) -> Hub:
    return Hub(stage.settings.hub_api_url, token=stage.user(USER))


async def state_becomes(hub: Hub, name: str, wanted: str, *, user: str = USER) -> None:
    for _ in range(400):
        state = await hub.server_state(user, name)
        if state == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name} is {state}, not {wanted}")


async def test_a_server_from_start_to_removal(hub: Hub) -> None:
    assert await hub.server_state(USER, "free-a") == "absent"
    await hub.start_server(USER, "free-a", "w1")
    await state_becomes(hub, "free-a", "ready")
    await hub.start_server(USER, "free-a", "w1")  # what runs may be started
    await hub.stop_server(USER, "free-a")
    await state_becomes(hub, "free-a", "stopped")
    await hub.stop_server(USER, "free-a")  # what is stopped may be stopped
    await hub.remove_server(USER, "free-a")
    assert await hub.server_state(USER, "free-a") == "absent"
    await hub.remove_server(USER, "free-a")
    await hub.stop_server(USER, "free-a")


async def test_a_slow_start_is_pending_and_can_be_stopped(hub: Hub) -> None:
    await hub.start_server(USER, "free-slow", "w1")
    assert await hub.server_state(USER, "free-slow") == "pending_spawn"
    await hub.start_server(USER, "free-slow", "w1")  # starting what starts
    await hub.stop_server(USER, "free-slow")
    await state_becomes(hub, "free-slow", "stopped")


async def test_a_refusal_arrives_as_its_own_sentence(hub: Hub) -> None:
    with pytest.raises(Refused, match=r"^This server is not one of your workspaces\.$"):
        await hub.start_server(USER, "free-refused", "w1")
    await state_becomes(hub, "free-refused", "stopped")


async def test_a_crash_of_a_spawner_tells_nothing_of_the_inside(hub: Hub) -> None:
    with pytest.raises(Unavailable) as caught:
        await hub.start_server(USER, "free-crash", "w1")
    assert "passwd" not in str(caught.value)


async def test_a_name_that_the_hub_does_not_take_is_refused(hub: Hub) -> None:
    with pytest.raises(Refused):
        await hub.start_server(USER, "No-Such-Name", "w1")


async def test_rights_are_the_tokens(stage: Stage, hub: Hub) -> None:
    weak = hub.acting_as(stage.token(USER, scopes=["access:services!service=console"]))
    other = hub.acting_as(stage.user("contract-other"))
    for acting in (weak, other, hub.acting_as("invented")):
        with pytest.raises((Forbidden, NotFound)):
            await acting.start_server(USER, "free-b", "w1")
    assert await hub.server_state(USER, "free-b") == "absent"


async def test_a_service_stops_anybodys_server(stage: Stage, hub: Hub) -> None:
    await hub.start_server(USER, "free-c", "w1")
    service = hub.acting_as(stage.tokens["console"])
    await state_becomes(hub, "free-c", "ready")
    await service.stop_server(USER, "free-c")
    await state_becomes(hub, "free-c", "stopped")


async def test_users_with_unusual_names(stage: Stage) -> None:
    for name in ("a.b+c@example.org", "王小明"):
        hub = Hub(stage.settings.hub_api_url, token=stage.user(name))
        await hub.start_server(name, "free-a", "w1")
        await state_becomes(hub, "free-a", "ready", user=name)
        await hub.stop_server(name, "free-a")
        owner = await hub.user_of_token(stage.user(name))
        assert owner is not None and owner.name == name


async def test_whose_token_it_is(stage: Stage, hub: Hub) -> None:
    mine = await hub.user_of_token(stage.user(USER))
    assert mine is not None
    assert (mine.name, mine.kind, mine.admin) == (USER, "user", False)
    assert {"custom:ark:account", "access:services!service=console", f"start:servers!user={USER}"} <= mine.scopes
    service = await hub.user_of_token(stage.tokens["other"])
    assert service is not None and service.kind == "service"
    assert await hub.user_of_token("invented") is None


@pytest.mark.parametrize(
    "ask",
    [
        lambda hub: hub.start_server(USER, "a", "w1"),
        lambda hub: hub.stop_server(USER, "a"),
        lambda hub: hub.server_state(USER, "a"),
        lambda hub: hub.remove_server(USER, "a"),
        lambda hub: hub.user_of_token("t"),
    ],
)
async def test_a_hub_that_is_not_there(ask: Callable[[Hub], asyncio.Future[object]]) -> None:
    with pytest.raises(Unavailable) as caught:
        await ask(Hub(f"http://127.0.0.1:{free_port()}/hub/api", token="t"))
    assert not isinstance(caught.value, Unanswered)
    assert caught.value.code == "hub_unreachable"


async def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent and not answered is told apart: whether the Hub acted is not known."""
    monkeypatch.setattr(hub_module, "ACT_SECONDS", 0.3)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    for behaviour in (silent, hangs_up):
        server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unanswered):
            await Hub(f"http://127.0.0.1:{port}/hub/api", token="t").start_server(USER, "a", "w1")
        server.close()


async def test_nonsense_from_a_hub_is_a_domain_error() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 502 Bad\r\nContent-Length: 5\r\n\r\n<htm>")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    hub = Hub(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hub/api", token="t")
    for ask in (hub.start_server(USER, "a", "w1"), hub.server_state(USER, "a"), hub.user_of_token("t")):
        with pytest.raises(ArkError) as caught:
            await ask
        assert "htm" not in str(caught.value)
    server.close()
