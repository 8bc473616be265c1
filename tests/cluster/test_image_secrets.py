"""No layer of an image has a secret in it: no key, no credentials, nothing of the configuration that its build was lent."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.kubernetes import images

NAMES = ("hub", "workspace-base")
#: larger files are programs, and nobody's configuration
LARGEST_BYTES = 300_000
CREDENTIALS = re.compile(
    r"(^|/)(\.npmrc|ark-npmrc|\.netrc|\.pypirc|pip\.conf|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)|ssh_host_\w+_key|admin_password|\w+_token|cookie_secret)$"
)
PRIVATE_KEY = b"PRIVATE KEY-----\n"
#: keys that libraries publish with their own tests
PUBLISHED = re.compile(r"/(test|tests|fixtures)/")
PROGRAMS = (".py", ".pyc", ".js", ".map", ".md", ".so")


def files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every small file of every layer, also of those that a later layer removes."""
    with tarfile.open(archive) as whole:
        manifest = json.loads(_read(whole, "manifest.json"))[0]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=whole.extractfile(layer)) as inside:
                for member in inside:
                    if member.isfile() and 0 < member.size <= LARGEST_BYTES:
                        yield member.name, _read(inside, member)


def _read(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    assert opened is not None
    return opened.read()


def history(archive: Path) -> list[str]:
    with tarfile.open(archive) as whole:
        manifest = json.loads(_read(whole, "manifest.json"))[0]
        document = json.loads(_read(whole, manifest["Config"]))
    return [*(step.get("created_by", "") for step in document.get("history", [])), *((document.get("config") or {}).get("Env") or [])]


@pytest.mark.parametrize("name", NAMES)
def test_no_layer_holds_a_secret(cluster: Cluster, name: str, tmp_path: Path) -> None:
    archive = images.built(name)
    if archive is None:
        pytest.skip(f"the image {name} is not built here (make images)")
    lent = [line for file in images._secrets(tmp_path).values() for line in file.read_bytes().splitlines() if _is_secret(line)]
    found, looked = [], 0
    for path, content in files(archive):
        looked += 1
        if CREDENTIALS.search(path) and not PUBLISHED.search(path):
            found.append(path)
        if PRIVATE_KEY in content and not path.endswith(PROGRAMS) and not PUBLISHED.search(path):
            found.append(path)
        found += [path for line in lent if line in content]
    assert not found
    assert looked > 500, "the layers were read"
    assert not [
        step for step in history(archive) if re.search(r"(?i)(token|password|secret)=(?!id=|secret,)\S", step.replace("type=secret", ""))
    ]


def _is_secret(line: bytes) -> bool:
    """Of a configuration: what names a user, a password or a token."""
    return re.search(rb"(?i)(_auth|_password|token|//[^/\s]+@)", line) is not None
