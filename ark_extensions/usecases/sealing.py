"""What must be kept in a database and read again, closed to whoever has only the database: authenticated encryption with a key that
follows from one of the installation's secrets. A text is bound to what it is for: moved elsewhere, it does not open."""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MARK = "sealed:1:"
NONCE_BYTES = 12


def seal(text: str, *, secret: str, purpose: str) -> str:
    """Printable; another one each time."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return MARK + base64.b64encode(nonce + AESGCM(_key(secret)).encrypt(nonce, text.encode(), purpose.encode())).decode()


def unseal(sealed: str, *, secret: str, purpose: str) -> str | None:
    """None: it was sealed with another secret, for another purpose, or has been changed."""
    try:
        raw = base64.b64decode(sealed.removeprefix(MARK), validate=True)
        return AESGCM(_key(secret)).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], purpose.encode()).decode()
    except (InvalidTag, ValueError):
        return None


def is_sealed(text: str) -> bool:
    return text.startswith(MARK)


def _key(secret: str) -> bytes:
    return HKDF(SHA256(), 32, None, b"ark sealing").derive(secret.encode())
