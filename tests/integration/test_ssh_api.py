"""SSH keys through the API: added, refused, listed, deleted; what a person copies; who may see what."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.console_stage import ADMIN, Answer, Stage, stage

__all__ = ["stage"]


def fresh(comment: str = "laptop") -> str:
    return Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " " + comment


def api(stage: Stage, user: str, method: str, path: str, body: Any = None) -> Answer:
    return stage.api(method, path, token=stage.user(user), body=body)


def test_a_keys_way(stage: Stage) -> None:
    text = fresh("my laptop")
    made = api(stage, "keyring", "POST", "/ssh-keys", {"public_key": text + "\r\n"})
    assert made.status == 201, made.body
    assert (made.json["name"], made.json["algorithm"], made.json["last_used_at"]) == ("my laptop", "ssh-ed25519", None)
    assert made.json["fingerprint"].startswith("SHA256:") and made.json["public_key"] == " ".join(text.split()[:2])
    again = api(stage, "keyring", "POST", "/ssh-keys", {"public_key": text, "name": "other"})
    assert (again.status, again.code) == (409, "key_exists")
    theirs = api(stage, "stranger", "POST", "/ssh-keys", {"public_key": text})
    assert (theirs.status, theirs.code) == (409, "key_taken") and "keyring" not in str(theirs.json)
    assert [key["id"] for key in api(stage, "keyring", "GET", "/ssh-keys").json["items"]] == [made.json["id"]]
    assert api(stage, "stranger", "GET", "/ssh-keys").json["items"] == []
    assert api(stage, "stranger", "DELETE", f"/ssh-keys/{made.json['id']}", {}).status == 404
    assert api(stage, "keyring", "DELETE", f"/ssh-keys/{made.json['id']}", {}).status == 204
    assert api(stage, "keyring", "GET", "/ssh-keys").json["items"] == []


def test_a_private_key_is_refused_at_its_field_and_written_nowhere(stage: Stage) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    body = pem.splitlines()[2]
    refused = api(stage, "careless", "POST", "/ssh-keys", {"public_key": pem, "name": "oops"})
    assert (refused.status, refused.field, refused.code) == (422, "public_key", "private_key")
    assert body not in str(refused.json)
    for path in Path(stage.settings.state_dir).rglob("*"):
        if path.is_file():
            assert body.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_key"),
        ("ssh-dss AAAA", "weak_key"),
        ("hello", "invalid_key"),
        ("ssh-ed25519 AAAA", "invalid_key"),
        ("x" * 39_000, "invalid_key"),
    ],
)
def test_what_is_no_good_key_is_refused_at_its_field(stage: Stage, text: str, code: str) -> None:
    refused = api(stage, "careless", "POST", "/ssh-keys", {"public_key": text})
    assert (refused.status, refused.field, refused.code) == (422, "public_key", code), refused.body


def test_sentences_come_in_the_readers_language(stage: Stage) -> None:
    answer = stage.api(
        "POST", "/ssh-keys", token=stage.user("careless"), body={"public_key": "ssh-dss AAAA"}, headers={"Accept-Language": "zh"}
    )
    assert "ssh-keygen -t ed25519" in answer.json["error"]["message"] and "密钥" in answer.json["error"]["message"]


def test_the_copyable_lines_are_what_openssh_reads(stage: Stage, tmp_path: Path) -> None:
    assert stage.order("copier", name="ws").status == 201
    ssh = api(stage, "copier", "GET", "/workspaces/ws/access").json["ssh"]
    port = stage.settings.ssh_port
    assert ssh["command"] == f"ssh -J copier@127.0.0.1:{port} user@ws"
    config = api(stage, "copier", "GET", "/ssh-config")
    assert config.headers["Content-Type"].startswith("text/plain") and "attachment" in config.headers["Content-Disposition"]
    path = tmp_path / "config"
    path.write_bytes(config.body)
    told = subprocess.run(["ssh", "-G", "-F", str(path), "ws"], check=True, capture_output=True, text=True, timeout=20).stdout
    assert f"proxyjump ark-127-0-0-1-{port}\n" in told and "user user\n" in told


def test_an_operator_can_sign_somebody_off_and_see_it_in_the_audit(stage: Stage) -> None:
    stage.user("leaver")
    assert api(stage, "stranger", "DELETE", "/admin/users/leaver/ssh-sessions", {}).status == 403
    assert api(stage, ADMIN, "DELETE", "/admin/users/leaver/ssh-sessions", {}).status == 204
    assert api(stage, ADMIN, "DELETE", "/admin/users/nobody-here/ssh-sessions", {}).status == 404
    assert api(stage, "leaver", "DELETE", "/ssh-sessions", {}).status == 204
    lines = [line for line in api(stage, ADMIN, "GET", "/admin/ssh-audit").json["items"] if line["user"] == "leaver"]
    assert [(line["kind"], line["reason"]) for line in lines] == [("signed_off", "leaver"), ("signed_off", ADMIN)]
