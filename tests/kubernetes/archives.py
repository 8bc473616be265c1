"""Image archives written by hand: where no builder and no registry is needed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def archive(file: Path, name: str, layer: bytes, *, entrypoint: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Write a docker-archive of one layer: what `ctr images import` takes, without a registry or a builder."""
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "Env": [f"{key}={value}" for key, value in (environment or {}).items()]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(file, "w") as tar:
        for member, content in (("manifest.json", manifest), ("config.json", config), ("layer.tar", layer)):
            tar.addfile(_entry(member, len(content)), io.BytesIO(content))


def pause_layer(program: Path) -> bytes:
    """The layer of the sandbox image: one static program."""
    layer, content = io.BytesIO(), program.read_bytes()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = _entry("pause", len(content))
        entry.mode = 0o755
        tar.addfile(entry, io.BytesIO(content))
    return layer.getvalue()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry
