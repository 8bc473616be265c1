"""Voucher codes: made from a secret, read back however a person types them, kept only as a hash."""

from __future__ import annotations

import hashlib
import hmac

#: Crockford's base 32: no letter that a person takes for another
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS = 5
GROUP = 5
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "U": "V", "-": None, " ": None})
MAX_BATCH = 10_000


def derive(key: bytes, actor: str, request_id: str, number: int) -> bytes:
    """The bytes of one code of a batch: as good as random to whoever does not know ``key``."""
    if len(key) < 32:
        raise ValueError("the key has 32 bytes or more")
    return hmac.digest(key, f"ark voucher\n{len(actor)} {actor}\n{request_id}\n{number}".encode(), "sha256")


def write_code(random_bytes: bytes) -> str:
    """25 characters of 5 bits from 16 or more random bytes, in groups: ``7K3QZ-…``."""
    number = int.from_bytes(random_bytes, "big")
    characters = [ALPHABET[(number >> (5 * n)) & 31] for n in range(GROUPS * GROUP)]
    return "-".join("".join(characters[n : n + GROUP]) for n in range(0, len(characters), GROUP))


def hash_code(text: str) -> str:
    """What is stored of a code; the same for small letters, spaces and the usual misreadings."""
    plain = text.strip().upper().translate(_MISREAD)[:100]
    return hashlib.sha256(b"ark voucher " + plain.encode()).hexdigest()
