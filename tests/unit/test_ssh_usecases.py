"""Keys, targets, sessions and their records, on a real SQLite file, with the time as an argument."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from sqlalchemy import select

from ark_extensions.domain.errors import Conflict, InvalidField, NotFound
from ark_extensions.storage import Storage
from ark_extensions.storage.tables_ssh import ssh_hosts
from ark_extensions.usecases import deadlines, ssh_keys, ssh_sessions
from ark_extensions.usecases.sealing import is_sealed, unseal
from ark_extensions.usecases.ssh_sessions import Refusal, Report, SessionOpened
from tests.unit.test_platform_flow import ORDER, T0, later, launch, stop
from tests.unit.test_platform_flow import storage as platform_storage

storage = platform_storage
URL = "http://ark.test/services/console/workspaces"


def public_key(comment: str = "laptop") -> str:
    return Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " " + comment


@pytest.fixture
def key(storage: Storage) -> Iterator[ssh_keys.KeyView]:
    yield ssh_keys.add_key(storage, user="alice", public_key=public_key(), now=T0)


def test_a_key_is_added_listed_found_used_and_deleted(storage: Storage, key: ssh_keys.KeyView) -> None:
    assert (key.name, key.algorithm, key.last_used_at) == ("laptop", "ssh-ed25519", None)
    holder = ssh_keys.key_holder(storage, fingerprint=key.fingerprint)
    assert holder == ssh_keys.KeyHolder(key.id, "alice")
    ssh_sessions.record_gateway(storage, report=Report(used={key.id: later(minutes=1)}))
    assert [k.last_used_at for k in ssh_keys.list_keys(storage, user="alice")] == [later(minutes=1)]
    with pytest.raises(NotFound):
        ssh_keys.delete_key(storage, user="bob", key_id=key.id, now=T0)
    ssh_keys.delete_key(storage, user="alice", key_id=key.id, now=T0)
    assert ssh_keys.list_keys(storage, user="alice") == []
    assert ssh_keys.key_holder(storage, fingerprint=key.fingerprint) is None


def test_the_same_key_twice_is_refused_and_a_strangers_without_saying_whose(storage: Storage, key: ssh_keys.KeyView) -> None:
    with pytest.raises(Conflict, match="laptop"):
        ssh_keys.add_key(storage, user="alice", public_key=key.public_key + " again", now=T0)
    with pytest.raises(Conflict) as refused:
        ssh_keys.add_key(storage, user="bob", public_key=key.public_key, now=T0)
    assert refused.value.code == "key_taken" and "alice" not in str(refused.value) + str(refused.value.params)


def test_a_point_that_is_on_no_curve_is_refused(storage: Storage) -> None:
    body = b"".join(len(p).to_bytes(4, "big") + p for p in (b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\x01" * 64))
    with pytest.raises(InvalidField, match="damaged"):
        ssh_keys.add_key(storage, user="alice", public_key="ecdsa-sha2-nistp256 " + base64.b64encode(body).decode(), now=T0)


def test_a_private_key_leaves_no_trace(storage: Storage) -> None:
    pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nTOPSECRETBODY\n-----END OPENSSH PRIVATE KEY-----"
    with pytest.raises(InvalidField):
        ssh_keys.add_key(storage, user="alice", public_key=pem, name="oops", now=T0)
    file = Path(storage.url.removeprefix("sqlite:///"))
    assert all(b"TOPSECRETBODY" not in path.read_bytes() for path in file.parent.iterdir() if path.is_file())


def test_keys_are_bounded(storage: Storage) -> None:
    for _ in range(ssh_keys.MAX_KEYS):
        ssh_keys.add_key(storage, user="alice", public_key=public_key(), now=T0)
    with pytest.raises(Conflict) as refused:
        ssh_keys.add_key(storage, user="alice", public_key=public_key(), now=T0)
    assert refused.value.code == "too_many_keys"


def test_only_the_callers_own_running_workspace_is_found(storage: Storage, key: ssh_keys.KeyView) -> None:
    workspace_id, name, launch_id = launch(storage, T0)
    target = ssh_sessions.find_target(storage, owner="alice", workspace=name, console_url=URL)
    assert (target.workspace_id, target.launch_id, target.authorized_keys) == (workspace_id, launch_id, key.public_key + "\n")
    assert ssh_sessions.running_targets(storage) == [target]
    with pytest.raises(NotFound, match="You have no workspace"):
        ssh_sessions.find_target(storage, owner="bob", workspace=name, console_url=URL)
    for odd in ("localhost", "127.0.0.1", workspace_id, "", "x" * 10_000, "ws1'; --", "*"):
        with pytest.raises(NotFound):
            ssh_sessions.find_target(storage, owner="alice", workspace=odd, console_url=URL)
    stop(storage, workspace_id, launch_id, later(hours=1))
    with pytest.raises(Conflict, match="is stopped. Start it in the console") as refused:
        ssh_sessions.find_target(storage, owner="alice", workspace=name, console_url=URL)
    assert URL in str(refused.value)
    assert ssh_sessions.running_targets(storage) == []


def test_a_host_key_lives_as_long_as_its_workspace(storage: Storage) -> None:
    workspace_id, name, launch_id = launch(storage, T0)
    first = ssh_sessions.host_key(storage, workspace_id=workspace_id, secret="s", now=T0)
    assert first.public.startswith("ssh-ed25519 ")
    private = load_ssh_private_key(first.private.encode(), None)
    assert private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() == first.public
    stop(storage, workspace_id, launch_id, later(hours=1))
    assert ssh_sessions.host_key(storage, workspace_id=workspace_id, secret="s", now=later(days=1)) == first
    assert ssh_sessions.host_public_keys(storage, owner="alice") == {name: first.public}
    assert ssh_sessions.host_public_keys(storage, owner="bob") == {}


def kept_key(storage: Storage, workspace_id: str) -> str:
    with storage.read() as connection:
        return str(connection.execute(select(ssh_hosts.c.private_key).where(ssh_hosts.c.workspace_id == workspace_id)).scalar_one())


def test_the_database_alone_gives_no_host_key_away(storage: Storage) -> None:
    workspace_id, _, _ = launch(storage, T0)
    made = ssh_sessions.host_key(storage, workspace_id=workspace_id, secret="s", now=T0)
    kept = kept_key(storage, workspace_id)
    assert "PRIVATE KEY" not in kept and is_sealed(kept)
    assert unseal(kept, secret="s", purpose=f"host key of {workspace_id}") == made.private
    assert unseal(kept, secret="t", purpose=f"host key of {workspace_id}") is None
    assert unseal(kept, secret="s", purpose="host key of another") is None
    assert unseal(kept[:-4] + "AAAA", secret="s", purpose=f"host key of {workspace_id}") is None
    assert unseal("sealed:1:no base64", secret="s", purpose="") is None
    again = ssh_sessions.host_key(storage, workspace_id=workspace_id, secret="another", now=T0)
    assert again != made, "with the secret lost, a new key is better than none"


def test_keys_of_a_version_that_did_not_seal_are_sealed_and_stay_the_same(storage: Storage) -> None:
    workspace_id, _, _ = launch(storage, T0)
    made = ssh_sessions.host_key(storage, workspace_id=workspace_id, secret="s", now=T0)
    with storage.write() as connection:
        connection.execute(ssh_hosts.update().values(private_key=made.private))
    assert ssh_sessions.seal_host_keys(storage, secret="s", now=T0) == 1
    assert is_sealed(kept_key(storage, workspace_id))
    assert ssh_sessions.seal_host_keys(storage, secret="s", now=T0) == 0
    assert ssh_sessions.host_key(storage, workspace_id=workspace_id, secret="s", now=T0) == made


def test_connections_are_void_when_their_key_is_gone_or_their_user_signed_off(storage: Storage, key: ssh_keys.KeyView) -> None:
    mine, later_mine = (key.id, "alice", later(minutes=1)), (key.id, "alice", later(minutes=3))
    unknown, stolen = ("f" * 32, "alice", T0), (key.id, "bob", T0)
    assert ssh_keys.void_connections(storage, opened=[mine, unknown, stolen]) == {unknown, stolen}
    ssh_keys.sign_off(storage, user="alice", actor="alice", now=later(minutes=2))
    assert ssh_keys.void_connections(storage, opened=[mine, later_mine]) == {mine}
    ssh_keys.delete_key(storage, user="alice", key_id=key.id, now=later(minutes=4))
    assert ssh_keys.void_connections(storage, opened=[later_mine]) == {later_mine}
    with pytest.raises(NotFound):
        ssh_keys.sign_off(storage, user="nobody", actor="root", now=T0)


def test_what_a_user_allows_is_kept_apart_from_signing_off(storage: Storage) -> None:
    assert ssh_keys.account(storage, user="alice") == ssh_keys.SshAccount(False, None)
    ssh_keys.set_start_on_connect(storage, user="alice", allowed=True)
    ssh_keys.sign_off(storage, user="alice", actor="alice", now=T0)
    assert ssh_keys.account(storage, user="alice") == ssh_keys.SshAccount(True, T0)


def test_sessions_count_as_work_and_a_report_told_twice_changes_nothing(storage: Storage, key: ssh_keys.KeyView) -> None:
    workspace_id, name, _ = launch(storage, T0, replace(ORDER, idle_stop_minutes=30))
    opened = SessionOpened("s" * 32, workspace_id, "alice", key.fingerprint, "10.0.0.1", T0)
    report = Report(opened=[opened], seen={opened.id: (later(minutes=20), later(minutes=20))})
    for _ in range(2):
        ssh_sessions.record_gateway(storage, report=report)
    assert deadlines.due_stops(storage, now=later(minutes=49)) == []
    quiet = Report(seen={opened.id: (later(minutes=40), later(minutes=20))})
    ssh_sessions.record_gateway(storage, report=quiet)
    [order] = deadlines.due_stops(storage, now=later(minutes=50))
    assert (order.name, order.reason) == (name, "idle")


def test_an_idle_deadline_never_moves_back(storage: Storage, key: ssh_keys.KeyView) -> None:
    from ark_extensions.usecases.workspaces import record_activity

    workspace_id, name, _ = launch(storage, T0, replace(ORDER, idle_stop_minutes=30))
    record_activity(storage, owner="alice", name=name, now=later(minutes=25))
    opened = SessionOpened("s" * 32, workspace_id, "alice", key.fingerprint, "10.0.0.1", T0)
    ssh_sessions.record_gateway(storage, report=Report(opened=[opened], seen={opened.id: (later(minutes=26), T0)}))
    assert deadlines.due_stops(storage, now=later(minutes=54)) == []


def test_sessions_of_a_killed_gateway_end_with_it(storage: Storage, key: ssh_keys.KeyView) -> None:
    workspace_id, _, _ = launch(storage, T0)
    opened = SessionOpened("s" * 32, workspace_id, "alice", key.fingerprint, "10.0.0.1", T0)
    ssh_sessions.record_gateway(storage, report=Report(opened=[opened]))
    assert ssh_sessions.gateway_started(storage, now=later(minutes=5)) == 1
    assert ssh_sessions.gateway_started(storage, now=later(minutes=5)) == 0


def test_refusals_are_one_row_a_minute_and_kept_for_a_while(storage: Storage) -> None:
    refusal = Refusal(T0, "alice", "10.0.0.1", "SHA256:x", "unknown_key", count=3)
    for count in (3, 3, 7, 5):
        ssh_sessions.record_gateway(storage, report=Report(refusals=[replace(refusal, count=count)]))
    [row] = [r for r in ssh_sessions.audit_log(storage, since=T0) if r["kind"] == "refused"]
    assert (row["count"], row["address"], row["fingerprint"]) == (7, "10.0.0.1", "SHA256:x")
    ssh_sessions.gateway_started(storage, now=T0 + ssh_sessions.KEPT + timedelta(days=1))
    assert ssh_sessions.audit_log(storage, since=T0) == []
