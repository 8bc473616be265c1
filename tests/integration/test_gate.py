"""The form is not the gate: servers started through the Hub's own API, with whatever a user may send."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tests.platform import Answer, Platform, wait_until


@pytest.fixture(scope="module")
def people(platform: Platform) -> Platform:
    for name in ("gate-alice", "gate-bob"):
        platform.add_user(name)
    return platform


def order(platform: Platform, user: str, name: str) -> dict[str, Any]:
    """A workspace that runs."""
    offer = platform.api("GET", "/offers", user=user).json["items"][0]["id"]
    body = {"request_id": f"{user}-{name}", "offer": offer, "image": "python-cpu", "name": name}
    answer = platform.api("POST", "/workspaces", body, user=user)
    assert answer.status == 201, answer.text
    found: dict[str, Any] = answer.json
    return found


def state(platform: Platform, user: str, name: str) -> str:
    return str(platform.api("GET", f"/workspaces/{name}", user=user).json["state"])


def start(platform: Platform, user: str, name: str, body: Any, *, path: str = "servers/") -> Answer:
    return platform.request("POST", f"/hub/api/users/{user}/{path}{name}", body, user=user, seconds=60)


def rows(platform: Platform) -> set[str]:
    """Every server the Hub has ever heard of and kept."""
    with sqlite3.connect(f"file:{platform.state_dir}/jupyterhub.sqlite?mode=ro", uri=True) as connection:
        return {name for (name,) in connection.execute("select name from spawners where name != ''")}


def disks(platform: Platform) -> set[str]:
    return {
        path.name for shelf in ("disks", "runs") if (platform.state_dir / shelf).exists() for path in (platform.state_dir / shelf).iterdir()
    }


HOSTILE: dict[str, Any] = {
    "nothing": None,
    "empty": {"user_options": {}},
    "invented": {"user_options": {"workspace": "0" * 32}},
    "a list": {"user_options": {"workspace": ["a"]}},
    "nested": {"user_options": {"workspace": {"workspace": {"workspace": {}}}}},
    "a path": {"user_options": {"workspace": "../../../etc"}},
    "a flag": {"user_options": {"workspace": "--bind"}},
    "very long": {"user_options": {"workspace": "x" * 500_000}},
    "more than asked": {"user_options": {"workspace": "0" * 32, "image": "evil", "cpu": 1000}},
    "old form": {"image": "evil", "workspace": "0" * 32},
    "unicode": {"user_options": {"workspace": "𝓦𝓸𝓻𝓴\u202e"}},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_invented_options_are_refused_in_a_sentence_and_leave_nothing(people: Platform, kind: str) -> None:
    before = rows(people), disks(people)
    answer = start(people, "gate-alice", "evil", HOSTILE[kind])
    assert 400 <= answer.status < 500, answer.text
    message = answer.json["message"]
    assert message.endswith(".") and "Traceback" not in message and len(message) < 300
    assert (rows(people), disks(people)) == before
    assert people.request("GET", "/hub/api/users/gate-alice/servers/evil", user="gate-alice").status == 404


def test_the_default_server_is_refused(people: Platform) -> None:
    answer = start(people, "gate-alice", "", {}, path="server")
    assert answer.status in (400, 403) and "console" in answer.json["message"]


def test_another_users_workspace_cannot_be_started(people: Platform) -> None:
    theirs = order(people, "gate-bob", "theirs")
    wait_until(lambda: state(people, "gate-bob", "theirs") == "running")
    answer = start(people, "gate-alice", "theirs", {"user_options": {"workspace": theirs["id"]}})
    assert answer.status == 404
    assert people.request("POST", "/hub/api/users/gate-bob/servers/theirs", {}, user="gate-alice").status in (403, 404)
    assert state(people, "gate-bob", "theirs") == "running"
    assert people.request("GET", "/user/gate-bob/theirs/api/status", user="gate-alice").status in (302, 403)
    people.api("POST", "/workspaces/theirs/stop", {}, user="gate-bob")


def test_stale_options_do_not_start_again_what_was_released(people: Platform) -> None:
    mine = order(people, "gate-alice", "released")
    wait_until(lambda: state(people, "gate-alice", "released") == "running")
    people.api("POST", "/workspaces/released/stop", {}, user="gate-alice")
    wait_until(lambda: state(people, "gate-alice", "released") == "stopped")
    gone = people.api("DELETE", "/workspaces/released", {"confirm": "released"}, user="gate-alice")
    assert gone.status < 300, gone.text
    for body in ({"user_options": {"workspace": mine["id"]}}, {}):

        def refused(body: dict[str, Any] = body) -> bool:
            """The Hub answers 500 to a start that the server's removal, which follows the release, has cut short."""
            answer = start(people, "gate-alice", "released", body)
            assert answer.status >= 400, answer.text
            return answer.status < 500

        wait_until(refused)
    assert not (people.state_dir / "runs" / mine["id"]).exists()


def test_a_workspace_may_be_started_through_the_hub_and_is_counted_all_the_same(people: Platform) -> None:
    mine = order(people, "gate-alice", "by-hub")
    wait_until(lambda: state(people, "gate-alice", "by-hub") == "running")
    stopped = people.request("DELETE", "/hub/api/users/gate-alice/servers/by-hub", user="gate-alice", seconds=60)
    assert stopped.status in (202, 204)
    wait_until(lambda: state(people, "gate-alice", "by-hub") == "stopped")
    assert start(people, "gate-alice", "by-hub", {"user_options": {"workspace": mine["id"]}}).status in (201, 202)
    wait_until(lambda: state(people, "gate-alice", "by-hub") == "running")
    renamed = people.request("PATCH", "/hub/api/users/gate-alice/servers/by-hub", {"name": "other"}, user="gate-alice")
    assert renamed.status in (400, 403)
    people.api("POST", "/workspaces/by-hub/stop", {}, user="gate-alice")
    wait_until(lambda: state(people, "gate-alice", "by-hub") == "stopped")
    renamed = people.request("PATCH", "/hub/api/users/gate-alice/servers/by-hub", {"name": "other"}, user="gate-alice")
    assert renamed.status == 403 and "other" not in rows(people)
    assert len(people.api("GET", "/bills", user="gate-alice").json["items"]) >= 2


def test_many_refusals_do_not_stop_the_hub(people: Platform) -> None:
    pid = people.pid("hub")
    for number in range(12):
        assert start(people, "gate-alice", f"evil-{number}", {"user_options": {"workspace": "f" * 32}}).status == 404
    assert people.pid("hub") == pid and people.request("GET", "/hub/health").status == 200
    assert not [name for name in rows(people) if name.startswith("evil")]


MORE: dict[str, Any] = {
    "a profile": {"workspace": "0" * 32, "profile": "gpu"},
    "fields of a pod": {"workspace": "0" * 32, "extra_pod_config": {"hostNetwork": True}},
    "a price": {"workspace": "0" * 32, "price": "0"},
    "a number": 5,
    "a text": "x",
    "a list of what is right": [{"workspace": "0" * 32}],
    "a prototype": {"__proto__": {}, "workspace": "0" * 32},
}


@pytest.mark.parametrize("kind", MORE)
def test_nothing_but_an_id_is_taken_from_a_start(people: Platform, kind: str) -> None:
    before = rows(people)
    answer = start(people, "gate-alice", "evil", {"user_options": MORE[kind]})
    assert answer.status == 400 and "Traceback" not in answer.text, answer.text
    assert rows(people) == before


def test_what_is_nested_beyond_all_measure_is_no_json(people: Platform) -> None:
    nested = b'{"user_options":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001
    assert start(people, "gate-alice", "evil", nested).status == 400


@pytest.mark.parametrize("name", ["..", "a.b", "a%2Fb", "%2e%2e", "a%00", "UPPER", "x" * 300, "%F0%9F%98%80", "-a", "a--b", "a%0a"])
def test_odd_names_of_servers_are_refused(people: Platform, name: str) -> None:
    before = rows(people)
    for method in ("POST", "PUT", "DELETE"):
        path = f"/hub/api/users/gate-alice/servers/{name}"
        assert people.request(method, path, {"user_options": {"workspace": "0" * 32}}, user="gate-alice").status in (400, 404)
    assert rows(people) == before
