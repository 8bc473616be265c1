"""The gateway's rules without a socket: who is admitted, what is counted, what people copy, what counts as work."""

from __future__ import annotations

import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ark_extensions.domain.ssh_access import Gateway, access, config_block, is_work, known_hosts
from ark_extensions.ssh.admission import ADDRESSES_MAX, Admission, place_of
from ark_extensions.ssh.tally import DIFFERENT_REFUSALS_MAX, Tally

T0 = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
GATE = Gateway("gw.example.org", 2222, ("ssh-ed25519 AAAAgate",))


def test_an_address_that_never_signs_in_gets_its_attempts_and_no_more() -> None:
    admission = Admission(per_minute=10, unauthenticated_max=1000)
    answers = []
    for _ in range(100):
        answers.append(admission.admit("a", 0.0))
        if answers[-1] is None:
            admission.left("a", 0.0, signed_in=False)
    assert answers.count(None) == 10 and set(answers[10:]) == {"rate"}
    assert admission.admit("b", 0.0) is None, "another address is not touched"
    assert admission.admit("a", 6.0) is None, "a tenth of a minute later one more"
    assert admission.admit("a", 6.0) == "rate"


def test_people_who_sign_in_are_never_slowed() -> None:
    admission = Admission(per_minute=3, unauthenticated_max=10)
    for _ in range(500):
        assert admission.admit("lab", 0.0) is None
        admission.left("lab", 0.0, signed_in=True)
    assert admission.unauthenticated == 0


def test_all_addresses_together_are_bounded() -> None:
    admission = Admission(per_minute=10, unauthenticated_max=5)
    assert [admission.admit(f"a{n}", 0.0) for n in range(7)] == [None] * 5 + ["full"] * 2
    admission.left("a0", 1.0, signed_in=False)
    assert admission.admit("a9", 1.0) is None


def test_memory_of_addresses_is_bounded() -> None:
    admission = Admission(per_minute=10, unauthenticated_max=5)
    for n in range(ADDRESSES_MAX + 500):
        if admission.admit(f"a{n}", 0.0) is None:
            admission.left(f"a{n}", 0.0, signed_in=False)
    assert len(admission._allowances) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_place_is_an_address_or_a_network_that_one_host_owns(address: str, place: str) -> None:
    assert place_of(address) == place


def test_refusals_are_counted_by_the_minute_and_their_kinds_are_bounded() -> None:
    tally = Tally()
    for n in range(3 * DIFFERENT_REFUSALS_MAX):
        tally.refused("unknown_key", address=f"10.0.{n // 256}.{n % 256}", now=T0, user="x")
    tally.refused("unknown_key", address="10.0.0.0", now=T0 + timedelta(seconds=59), user="x")
    report = tally.take()
    assert len(report.refusals) == DIFFERENT_REFUSALS_MAX + 1
    assert sum(refusal.count for refusal in report.refusals) == 3 * DIFFERENT_REFUSALS_MAX + 1
    tally.refused("unknown_key", address="10.0.0.0", now=T0 + timedelta(seconds=59), user="x")
    assert [r.count for r in tally.take().refusals] == [3], "told again with the whole minute's count, so telling twice adds nothing"
    assert 'ark_ssh_refused_total{reason="unknown_key"} 1502' in tally.metrics({"connections": 0})


def test_a_forged_name_cannot_write_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    tally.refused("unknown_key", address="10.0.0.1", now=T0, user="alice\n2026 INFO all is well \x1b[2J" + "x" * 500)
    [record] = caplog.records
    assert "\n" not in record.getMessage() and "\x1b" not in record.getMessage() and len(record.getMessage()) < 300


def test_a_report_that_could_not_be_told_is_told_with_the_next() -> None:
    tally = Tally()
    tally.report.used["k"] = T0
    lost = tally.take()
    tally.report.closed["s"] = T0
    tally.give_back(lost)
    assert tally.take() == type(lost)(used={"k": T0}, closed={"s": T0})


@pytest.mark.parametrize(
    ("moved", "seconds", "work"), [(0, 15, False), (300, 60, False), (1500, 60, False), (2000, 60, True), (400, 15, True)]
)
def test_keeping_alive_is_no_work_and_typing_is(moved: int, seconds: float, work: bool) -> None:
    assert is_work(moved, seconds) is work


def test_the_line_that_is_copied() -> None:
    shown = access("alice", "ws1", GATE, "ssh-ed25519 AAAAws1")
    assert shown.command == "ssh -J alice@gw.example.org:2222 user@ws1"
    assert shown.known_hosts == "[gw.example.org]:2222 ssh-ed25519 AAAAgate\nws1 ssh-ed25519 AAAAws1\n"


@pytest.mark.parametrize("owner", ["a b", "x;rm -rf ~", "$(id)", "a'b", "-oProxyCommand=id", "张三", "a@b.org"])
def test_a_name_is_one_word_of_the_command_whatever_it_is(owner: str) -> None:
    words = shlex.split(access(owner, "ws1", GATE, None).command)
    assert words == ["ssh", "-J", f"{owner}@gw.example.org:2222", "user@ws1"]


def test_a_name_with_control_characters_gets_no_command_and_no_lines_of_its_own() -> None:
    shown = access("a\nHost *\n ProxyCommand id", "ws1", GATE, None)
    assert "ProxyCommand" not in shown.command + shown.config


def test_openssh_reads_the_configuration_block(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(config_block("alice", ["ws1", "train-2"], GATE))
    told = subprocess.run(["ssh", "-G", "-F", str(path), "ws1"], check=True, capture_output=True, text=True, timeout=20).stdout.splitlines()
    assert {"user user", "hostname ws1", "proxyjump ark-gw-example-org-2222"} <= set(told)
    jump = subprocess.run(["ssh", "-G", "-F", str(path), "ark-gw-example-org-2222"], check=True, capture_output=True, text=True, timeout=20)
    assert {"user alice", "hostname gw.example.org", "port 2222"} <= set(jump.stdout.splitlines())


def test_port_22_and_ipv6_are_written_as_openssh_wants() -> None:
    assert known_hosts(Gateway("gw", 22, ("k v",)), {}) == "gw k v\n"
    assert access("a", "ws1", Gateway("2001:db8::1", 2222), None).command == "ssh -J 'a@[2001:db8::1]:2222' user@ws1"
