"""The API and the gate where workspaces are pods: a console and a Hub set up as in a cluster, before a stand-in for its API."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.console_stage import ADMIN, Stage, ask, running_stage, until
from tests.integration.test_api_fuzzed import SECONDS, fuzz
from tests.integration.test_gate import HOSTILE, MORE
from tests.kube_hub import ClusterProcess

WHO = "pods-mallory"

#: what turns that Hub into one whose workspaces are pods, put together as the product does it
PODS = """
from ark_extensions.settings import Settings
from hub_config import kubernetes
from hub_config.base import storage_of
settings = Settings()
c.Spawner.open_storage = lambda: storage_of(settings.resolved_database_url)
c.Spawner.apply_user_options = lambda spawner, options: None
kubernetes.configure(c, settings)
"""


class Pods:
    """A stage, and what its cluster has."""

    def __init__(self, stage: Stage, cluster: ClusterProcess) -> None:
        self.stage, self.cluster = stage, cluster

    def names(self) -> set[str]:
        return set(ask(urlsplit(self.cluster.url).port or 0, "GET", "/state").json["pods"])

    def start(self, name: str, body: Any, method: str = "POST") -> Any:
        path = f"/users/{WHO}/servers/{quote(name)}"
        return self.stage.hub(method, path, token=self.stage.user(WHO), body=body)


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    place: Path = tmp_path_factory.mktemp("cluster")
    address = f"127.79.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"  # of the pods: no other test's
    cluster = ClusterProcess(place, address=address)
    told = {"kubeconfig": str(cluster.kubeconfig), "namespace": "stage"}
    try:
        with running_stage(hub_config=PODS, runtime="kubernetes", kubernetes=told, ssh_enabled=False) as made:
            for user in (ADMIN, WHO):
                assert made.order(user, name="ws").status == 201
                until(lambda user=user: made.state(user, "ws") == "running")
            yield Pods(made, cluster)
    finally:
        cluster.close()


def test_two_workspaces_are_two_pods(pods: Pods) -> None:
    assert len(pods.names()) == 2


@pytest.mark.parametrize("kind", [*HOSTILE, *MORE])
def test_invented_options_make_no_pod(pods: Pods, kind: str) -> None:
    before = pods.names()
    body = HOSTILE[kind] if kind in HOSTILE else {"user_options": MORE[kind]}
    for answer in (pods.start("evil", body), pods.start("evil", None)):
        assert 400 <= answer.status < 500 and b"Traceback" not in answer.body, answer.body
    assert pods.names() == before


def test_options_that_were_left_with_a_server_are_no_way_round(pods: Pods) -> None:
    """The Hub keeps what it was sent before anybody looks at it, and starts with that when it is sent nothing."""
    before = pods.names()
    theirs = pods.stage.api("GET", "/workspaces/ws", token=pods.stage.user(ADMIN)).json["id"]
    mine = pods.stage.api("GET", "/workspaces/ws", token=pods.stage.user(WHO)).json["id"]
    for options in ({"workspace": theirs}, {"workspace": mine}, {"workspace": mine, "extra_pod_config": {"hostNetwork": True}}):
        for method in ("PUT", "PATCH"):
            pods.start("poison", {"user_options": options}, method)
            assert 400 <= pods.start("poison", None).status < 500
            assert 400 <= pods.start("poison", {"user_options": options}).status < 500
    assert pods.names() == before
    assert pods.stage.state(ADMIN, "ws") == pods.stage.state(WHO, "ws") == "running"


def test_every_answer_is_as_documented(pods: Pods, tmp_path: Path) -> None:
    fuzz(pods.stage, tmp_path, ADMIN, seconds=SECONDS // 2)
