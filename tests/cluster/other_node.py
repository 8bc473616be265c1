"""A second node that is only on record, for what one machine cannot show: another GPU model. It is ready as long as the test lasts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tests.cluster.conftest import Cluster
from tests.kubernetes import objects

#: well within the test cluster's node-monitor-grace-period
BEAT_SECONDS = 4.0


@contextmanager
def other_node(cluster: Cluster, name: str, *, gpus: int, model: str) -> Iterator[None]:
    """Named ``name``, with ``gpus`` GPUs of a ``model`` as NVIDIA's label has it. Whatever is put there waits for ever."""
    over = threading.Event()

    def beat() -> None:
        told = json.dumps(objects.other_node_status(datetime.now(UTC), **{objects.GPU: str(gpus)}))
        cluster.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", told)

    def live() -> None:
        while not over.wait(BEAT_SECONDS):
            beat()

    heart = threading.Thread(target=live, daemon=True)
    cluster.apply(objects.other_node(name, {f"{objects.GPU}.product": model}))
    try:
        beat()
        heart.start()
        yield
    finally:
        over.set()
        if heart.is_alive():
            heart.join(60)
        cluster.kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")
