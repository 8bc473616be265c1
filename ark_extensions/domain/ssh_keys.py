"""Public keys of people: which are taken, which are refused, and what a person can do about it.

Pure parsing of OpenSSH's one-line form and of RFC 4716 (what PuTTY saves). A private key is recognised by its looks and
refused; no error here ever repeats what was pasted. One key, without options, is what the platform stores.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from ark_extensions.domain.errors import InvalidField

#: the one command that makes a good key, on Linux, macOS and Windows 10 or newer
GOOD_KEY_COMMAND = "ssh-keygen -t ed25519"
TEXT_MAX = 20_000
NAME_MAX = 100
RSA_MIN_BITS, RSA_MAX_BITS = 3072, 16_384

ED25519, RSA = "ssh-ed25519", "ssh-rsa"
SK_ED25519, SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
#: algorithm → (curve, bytes of a point)
ECDSA = {"ecdsa-sha2-nistp256": ("nistp256", 65), "ecdsa-sha2-nistp384": ("nistp384", 97), "ecdsa-sha2-nistp521": ("nistp521", 133)}
ALGORITHMS = (ED25519, *ECDSA, RSA, SK_ED25519, SK_ECDSA)

#: what a client may sign with; SHA-1 (the signature called ssh-rsa) is not among them
SIGNATURES = (ED25519, SK_ED25519, *ECDSA, SK_ECDSA, "rsa-sha2-256", "rsa-sha2-512")

_PRIVATE = re.compile(r"PRIVATE KEY|PuTTY-User-Key-File|b3BlbnNzaC1rZXktdjE|SSH PRIVATE KEY FILE", re.IGNORECASE)
_NAME = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
#: where a refusal stands, and what it is called
_BAD = {"field": "public_key", "code": "invalid_key"}
_WEAK = {"field": "public_key", "code": "weak_key"}


@dataclass(frozen=True)
class PublicKey:
    """``line`` is ``algorithm base64``, ready for authorized_keys; ``comment`` is the rest of what was pasted."""

    algorithm: str
    line: str
    fingerprint: str
    comment: str


def fingerprint_of(blob: bytes) -> str:
    """As ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def parse_public_key(text: str) -> PublicKey:
    """One public key as pasted or read from a file; raises InvalidField with the reason and the way out."""
    if _PRIVATE.search(text):
        raise InvalidField(
            "This is a private key. It was not stored. Keep it secret, and paste the public one: the file ending in .pub.",
            field="public_key",
            code="private_key",
        )
    if len(text) > TEXT_MAX:
        raise InvalidField("This is too long for a public key. Paste the one line of the file ending in .pub.", **_BAD)
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise InvalidField("Paste a public key, or choose the file ending in .pub.", **_BAD)
    if lines[0].startswith("---- BEGIN SSH2 PUBLIC KEY"):
        return _from_rfc4716(lines)
    if lines[0].startswith("-----BEGIN"):
        raise InvalidField(
            "This key is in a PEM file. Turn it into one line first: {command}", **_BAD, command="ssh-keygen -i -m PKCS8 -f key.pem"
        )
    algorithm, encoded, comment = _one_line(lines)
    return _checked(algorithm, encoded, comment)


def _one_line(lines: list[str]) -> tuple[str, str, str]:
    """(algorithm, base64, comment); a key that a terminal has wrapped is put together again."""
    words = lines[0].split(None, 2)
    if not _NAME.fullmatch(words[0]):
        if any(_NAME.fullmatch(word) for word in lines[0].split()[1:]):
            raise InvalidField(
                "Options before the key are not supported. Paste the line from the key type on, such as ssh-ed25519 AAAA….", **_BAD
            )
        raise InvalidField("This is not a public key. It is one line that begins with ssh-ed25519, ecdsa-sha2-… or ssh-rsa.", **_BAD)
    for line in lines[1:]:
        if _NAME.fullmatch(line.split()[0]):
            raise InvalidField("These are several keys. Add them one at a time.", **_BAD)
    if len(words) == 1:
        if len(lines) == 1:
            raise InvalidField("The key is incomplete: only its type is there. Paste the whole line.", **_BAD)
        words = [words[0], *lines[1].split(None, 1)]
        lines = lines[1:]
    encoded, comment, rest = words[1], words[2] if len(words) > 2 else "", lines[1:]
    while rest and not comment:
        more, _, comment = rest.pop(0).partition(" ")
        encoded += more
    return words[0], encoded, comment


def _from_rfc4716(lines: list[str]) -> PublicKey:
    comment, body, continued = "", [], False
    for line in lines[1:]:
        if line.startswith("---- END"):
            break
        if continued or ":" in line:
            if line.lower().startswith("comment:"):
                comment = line.partition(":")[2].strip().strip('"').rstrip("\\")
            continued = line.endswith("\\")
            continue
        body.append(line)
    encoded = "".join(body)
    blob = _decoded(encoded)
    algorithm, _ = _string(blob)
    return _checked(algorithm.decode("ascii", "replace"), encoded, comment)


def _decoded(encoded: str) -> bytes:
    try:
        if not _BASE64.fullmatch(encoded):
            raise ValueError
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidField("The key is damaged or incomplete. Copy the whole line again.", **_BAD) from None


def _string(data: bytes) -> tuple[bytes, bytes]:
    """The first length-prefixed string of ``data``, and the rest."""
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 or len(data) - 4 < size:
        raise InvalidField("The key is damaged or incomplete. Copy the whole line again.", **_BAD)
    return data[4 : 4 + size], data[4 + size :]


def _checked(algorithm: str, encoded: str, comment: str) -> PublicKey:
    _check_algorithm(algorithm)
    blob = _decoded(encoded)
    inner, rest = _string(blob)
    if inner != algorithm.encode():
        raise InvalidField("The key says two different types. Copy the whole line again.", **_BAD)
    fields = []
    while rest:
        part, rest = _string(rest)
        fields.append(part)
    _check_numbers(algorithm, fields)
    said = "".join(c for c in comment if c.isprintable()).strip()[:NAME_MAX]
    return PublicKey(algorithm, f"{algorithm} {base64.b64encode(blob).decode()}", fingerprint_of(blob), said)


def _check_algorithm(algorithm: str) -> None:
    if algorithm in ALGORITHMS:
        return
    if "-cert-" in algorithm:
        raise InvalidField("This is a certificate. Paste the public key itself: the file ending in .pub without -cert.", **_BAD)
    if algorithm == "ssh-dss":
        raise InvalidField("DSA keys are broken and no longer accepted. Make a new key: {command}", **_WEAK, command=GOOD_KEY_COMMAND)
    raise InvalidField(
        "Keys of the type {type} are not accepted. Make a new key: {command}", **_BAD, type=algorithm[:40], command=GOOD_KEY_COMMAND
    )


def _check_numbers(algorithm: str, fields: list[bytes]) -> None:
    """The parts that the algorithm wants, no more and no less, each of its size."""
    sizes = [len(part) for part in fields]
    if algorithm == RSA and len(fields) == 2:
        _check_rsa(*fields)
        return
    good = False
    if algorithm == ED25519:
        good = sizes == [32]
    elif algorithm == SK_ED25519:
        good = len(sizes) == 2 and sizes[0] == 32 and sizes[1] > 0
    elif algorithm in ECDSA or algorithm == SK_ECDSA:
        curve, size = ECDSA.get(algorithm, ECDSA["ecdsa-sha2-nistp256"])
        shape = sizes[1:] == [size] if algorithm in ECDSA else len(sizes) == 3 and sizes[1] == size and sizes[2] > 0
        good = shape and fields[0] == curve.encode() and fields[1][0] == 4
    if not good:
        raise InvalidField("The key is damaged or incomplete. Copy the whole line again.", **_BAD)


def _check_rsa(exponent_bytes: bytes, modulus_bytes: bytes) -> None:
    exponent, modulus = (int.from_bytes(part, "big", signed=True) for part in (exponent_bytes, modulus_bytes))
    bits = modulus.bit_length()
    if modulus <= 0 or exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 64 or modulus % 2 == 0 or bits > RSA_MAX_BITS:
        raise InvalidField("This RSA key has numbers that no good key has. Make a new key: {command}", **_WEAK, command=GOOD_KEY_COMMAND)
    if bits < RSA_MIN_BITS:
        raise InvalidField(
            "This RSA key has {bits} bits, and {min} are the least that is safe. Make a new key: {command}",
            **_WEAK,
            bits=bits,
            min=RSA_MIN_BITS,
            command=GOOD_KEY_COMMAND,
        )


def check_key_name(name: str | None, key: PublicKey) -> str:
    """The name a person gives, or the key's comment, or its type: 1–100 printable characters."""
    chosen = (name or "").strip() or key.comment or key.algorithm
    if len(chosen) > NAME_MAX or any(not c.isprintable() for c in chosen):
        raise InvalidField("A key's name has 1 to {max} printable characters.", field="name", max=NAME_MAX)
    return chosen
