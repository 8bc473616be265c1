"""Which public keys are taken, what is said of the others, and that nothing pasted is repeated."""

from __future__ import annotations

import base64
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_extensions.domain.errors import InvalidField
from ark_extensions.domain.ssh_keys import ALGORITHMS, check_key_name, parse_public_key


def wire(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def line(algorithm: str, *parts: bytes, comment: str = "") -> str:
    return f"{algorithm} {base64.b64encode(wire(algorithm.encode(), *parts)).decode()} {comment}".strip()


def mpint(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def rsa(bits: int, exponent: int = 65537) -> str:
    return line("ssh-rsa", mpint(exponent), mpint(1 << (bits - 1) | 1))


POINT = b"\x04" + bytes(range(64))
ED25519 = line("ssh-ed25519", bytes(range(32)), comment="alice@laptop")
GOOD = {
    "ed25519": ED25519,
    "rsa-3072": rsa(3072),
    "rsa-4096": rsa(4096),
    "ecdsa-256": line("ecdsa-sha2-nistp256", b"nistp256", POINT),
    "ecdsa-384": line("ecdsa-sha2-nistp384", b"nistp384", b"\x04" + bytes(96)),
    "ecdsa-521": line("ecdsa-sha2-nistp521", b"nistp521", b"\x04" + bytes(132)),
    "sk-ed25519": line("sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"),
    "sk-ecdsa": line("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", POINT, b"ssh:"),
}
OPENSSH_PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUSECRET\n-----END OPENSSH PRIVATE KEY-----\n"
BAD = {
    "empty": ("", "Paste a public key"),
    "only a comment": ("# my key\n", "Paste a public key"),
    "prose": ("hello there", "This is not a public key"),
    "type alone": ("ssh-ed25519", "incomplete"),
    "cut": (ED25519.split()[0] + " " + ED25519.split()[1][:40], "damaged or incomplete"),
    "odd letters": ("ssh-ed25519 AAAA!!!!", "damaged or incomplete"),
    "bytes after it": (line("ssh-ed25519", bytes(32), b"more"), "damaged or incomplete"),
    "short key": (line("ssh-ed25519", bytes(31)), "damaged or incomplete"),
    "two types": ("ssh-rsa " + ED25519.split()[1], "two different types"),
    "compressed point": (line("ecdsa-sha2-nistp256", b"nistp256", b"\x02" + bytes(64)), "damaged or incomplete"),
    "wrong curve": (line("ecdsa-sha2-nistp256", b"nistp384", POINT), "damaged or incomplete"),
    "dsa": (line("ssh-dss", b"\x01", b"\x01", b"\x01", b"\x01"), "DSA keys are broken"),
    "rsa-1024": (rsa(1024), "1024 bits"),
    "rsa-3071": (rsa(3071), "3071 bits"),
    "rsa of exponent 1": (rsa(4096, 1), "no good key has"),
    "giant rsa": (rsa(20_000), "no good key has"),
    "certificate": (line("ssh-ed25519-cert-v01@openssh.com", bytes(32)), "certificate"),
    "unknown": (line("ssh-ed448", bytes(57)), "ssh-ed448"),
    "options": (f'no-pty,from="10.0.0.1" {ED25519}', "Options"),
    "two keys": (f"{ED25519}\n{rsa(3072)}", "several keys"),
    "pem": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "ssh-keygen -i"),
    "endless": ("ssh-rsa " + "A" * 30_000, "too long"),
}
PRIVATE = {
    "openssh": OPENSSH_PEM,
    "pkcs1": "-----BEGIN RSA PRIVATE KEY-----\nSECRET\n",
    "pkcs8": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nSECRET\n",
    "putty": "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nSECRET\n",
    "body alone": "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAASECRET",
    "after a public one": ED25519 + "\n" + OPENSSH_PEM,
}


@pytest.mark.parametrize("kind", GOOD)
def test_safe_keys_are_taken_as_type_and_body(kind: str) -> None:
    key = parse_public_key(GOOD[kind])
    assert key.algorithm in ALGORITHMS
    assert key.line == " ".join(GOOD[kind].split()[:2])
    assert key.fingerprint.startswith("SHA256:") and not key.fingerprint.endswith("=")


@pytest.mark.parametrize("kind", BAD)
def test_others_are_refused_with_the_reason(kind: str) -> None:
    text, said = BAD[kind]
    with pytest.raises(InvalidField) as refused:
        parse_public_key(text)
    assert refused.value.field == "public_key" and said in str(refused.value)


@pytest.mark.parametrize("kind", ["dsa", "rsa-1024", "unknown", "rsa of exponent 1"])
def test_a_refusal_of_a_weak_key_has_the_command_that_makes_a_good_one(kind: str) -> None:
    with pytest.raises(InvalidField, match="ssh-keygen -t ed25519"):
        parse_public_key(BAD[kind][0])


@pytest.mark.parametrize("kind", PRIVATE)
def test_a_private_key_is_recognised_and_never_repeated(kind: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_public_key(PRIVATE[kind])
    assert refused.value.code == "private_key"
    assert "SECRET" not in repr(refused.value) + str(refused.value) + repr(refused.value.params)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + ED25519 + "\r\n",
        "\n  " + ED25519 + "  \n\n",
        "# laptop\n" + ED25519,
        ED25519.replace(" alice", "\t alice"),
        ED25519.split()[0] + "\n" + ED25519.split()[1],
        ED25519.split()[0] + " " + ED25519.split()[1][:30] + "\n" + ED25519.split()[1][30:] + " alice@laptop",
    ],
)
def test_what_editors_and_terminals_do_to_a_line_is_undone(text: str) -> None:
    assert parse_public_key(text).line == " ".join(ED25519.split()[:2])


def test_what_putty_saves_is_read() -> None:
    body = ED25519.split()[1]
    text = f'---- BEGIN SSH2 PUBLIC KEY ----\r\nComment: "my laptop"\r\n{body[:40]}\r\n{body[40:]}\r\n---- END SSH2 PUBLIC KEY ----\r\n'
    key = parse_public_key(text)
    assert key.line == " ".join(ED25519.split()[:2]) and key.comment == "my laptop"


@pytest.mark.parametrize("kind", [("ed25519",), ("ecdsa", "-b", "384"), ("rsa", "-b", "3072")])
def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path, kind: tuple[str, ...]) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", *kind, "-N", "", "-f", str(path)], check=True, timeout=60)
    told = subprocess.run(["ssh-keygen", "-l", "-f", str(path) + ".pub"], check=True, capture_output=True, text=True, timeout=20).stdout
    assert parse_public_key(path.with_suffix(".pub").read_text()).fingerprint == told.split()[1]


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda b: "ssh-rsa " + base64.b64encode(b).decode()))
def test_whatever_is_pasted_is_a_key_or_a_refusal(text: str) -> None:
    try:
        parse_public_key(text)
    except InvalidField as refused:
        assert refused.field == "public_key"


def test_a_good_key_with_any_byte_changed_never_breaks_the_reader() -> None:
    chance = random.Random(7)
    for text in GOOD.values():
        for _ in range(60):
            at = chance.randrange(len(text))
            try:
                parse_public_key(text[:at] + chance.choice("A/ =\n\0€") + text[at + 1 :])
            except InvalidField:
                pass


def test_a_key_is_called_what_its_owner_says_or_its_comment_or_its_type() -> None:
    key = parse_public_key(ED25519)
    assert check_key_name(" 笔记本 ", key) == "笔记本"
    assert check_key_name(None, key) == "alice@laptop"
    assert check_key_name("", parse_public_key(GOOD["rsa-3072"])) == "ssh-rsa"
    for bad in ("x" * 101, "a\nb", "a\x1b[31m"):
        with pytest.raises(InvalidField) as refused:
            check_key_name(bad, key)
        assert refused.value.field == "name"
