"""The Kubernetes API as the adapters call it: bad answers, broken connections, expired cursors, and how it is found."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ark_extensions.cluster_api import Access, ClusterApi, ClusterError, access_of, from_kubeconfig, quantity
from ark_extensions.settings import Kubernetes, Settings
from tests.api_stand_in import StandIn, stand_in

PODS = "/api/v1/namespaces/ark/pods"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as state:
        yield state


def api(server: StandIn, pauses: list[float] | None = None, seconds: float = 5.0) -> ClusterApi:
    told = pauses if pauses is not None else []
    return ClusterApi(Access(server.url, None, lambda: "secret-token"), timeout_seconds=seconds, sleep=told.append)


def test_a_list_is_whole_whatever_its_pages(server: StandIn) -> None:
    for n in range(7):
        server.add("pods", f"p{n}", labels={"a": "b"})
    server.add("pods", "other")
    assert [p["metadata"]["name"] for p in api(server).items(PODS, labelSelector="a=b")] == [f"p{n}" for n in range(7)]


def test_a_list_whose_cursor_expired_is_begun_again_and_given_up_after_some_tries(server: StandIn) -> None:
    for n in range(5):
        server.add("pods", f"p{n}")
    server.fail(2, "GET", "continue=4", 410)
    assert len(api(server).items(PODS)) == 5
    server.fail(99, "GET", "continue=2", 410)
    with pytest.raises(ClusterError, match="its cursor expired again and again"):
        api(server).items(PODS)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again_and_what_stays_is_one_error(server: StandIn, status: int) -> None:
    server.add("pods", "p")
    server.fail(2, "GET", "/pods/p", status, Retry_After="3")
    pauses: list[float] = []
    assert api(server, pauses).get(f"{PODS}/p") is not None
    assert pauses == [3, 3]
    server.fail(99, "GET", "/pods/p", status)
    with pytest.raises(ClusterError) as refused:
        api(server).get(f"{PODS}/p")
    assert refused.value.status == status
    assert "told to answer" in str(refused.value)


def test_a_refusal_is_not_repeated(server: StandIn) -> None:
    server.fail(9, "GET", "/pods", 403)
    with pytest.raises(ClusterError) as refused:
        api(server).items(PODS)
    assert (refused.value.status, len(server.calls)) == (403, 1)


def test_a_dropped_connection_is_tried_again(server: StandIn) -> None:
    server.add("pods", "p")
    server.drop(2, "GET", "/pods/p")
    assert api(server).get(f"{PODS}/p") is not None


def test_a_server_that_never_answers_ends_in_time_with_one_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = ClusterApi(Access(url, None, lambda: None), timeout_seconds=0.05, sleep=lambda seconds: None)
        with pytest.raises(ClusterError) as refused:
            client.get(PODS)
    assert refused.value.status == 0


def test_deleting_is_idempotent_and_hits_the_very_object_only(server: StandIn) -> None:
    uid = server.add("pods", "p")["metadata"]["uid"]
    assert not api(server).delete(f"{PODS}/p", uid="another")
    assert server.names("pods") == ["p"]
    assert api(server).delete(f"{PODS}/p", uid=uid)
    assert not api(server).delete(f"{PODS}/p", uid=uid)


def test_the_token_is_read_at_each_call_and_is_in_no_error(server: StandIn) -> None:
    tokens = iter(["one", "two"])
    client = ClusterApi(Access(server.url, None, lambda: next(tokens)))
    server.fail(9, "GET", "/pods", 403)
    for _ in range(2):
        with pytest.raises(ClusterError) as refused:
            client.items(PODS)
        assert "one" not in str(refused.value) and "two" not in str(refused.value)
    assert next(tokens, None) is None


def kubeconfig(place: Path, user: dict[str, object], server: str = "https://10.0.0.1:6443") -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }
    place.write_text(yaml.safe_dump(document))
    return place


def test_a_kubeconfig_is_read_and_what_it_lacks_is_said(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    found = from_kubeconfig(kubeconfig(tmp_path / "k", {"tokenFile": "token"}))
    assert (found.server, found.token()) == ("https://10.0.0.1:6443", "from-a-file")
    assert from_kubeconfig(kubeconfig(tmp_path / "k", {"token": "t"}, "http://127.0.0.1:1")).tls is None
    with pytest.raises(ClusterError, match="it runs a program to sign in"):
        from_kubeconfig(kubeconfig(tmp_path / "k", {"exec": {"command": "cloud"}}))
    bad = {"client-certificate-data": base64.b64encode(b"x").decode(), "client-key-data": base64.b64encode(b"y").decode()}
    for content in (bad, {"client-certificate": "/nowhere"}):
        with pytest.raises(ClusterError, match="the kubeconfig"):
            from_kubeconfig(kubeconfig(tmp_path / "k", content))
    with pytest.raises(ClusterError, match="the kubeconfig"):
        access_of(Settings(state_dir=tmp_path, kubernetes=Kubernetes(kubeconfig=tmp_path / "none")))


@pytest.mark.parametrize(
    ("text", "number"),
    [("100m", "0.1"), ("2", "2"), (3, "3"), ("1Gi", "1073741824"), ("1.5k", "1500"), ("1e3", "1000"), ("128974848", "128974848")],
)
def test_quantities(text: str | int, number: str) -> None:
    assert str(quantity(text).normalize()) == str(quantity(number).normalize())
    with pytest.raises(ValueError, match="no quantity"):
        quantity("2 GiB")
