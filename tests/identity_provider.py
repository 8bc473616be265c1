"""A real OpenID Connect provider (Canaille) on the loopback, in memory: ``python -m tests.identity_provider PORT CALLBACK``.

Its people are alice, bob (of the group ``ark-admins``) and mallory; a password is ``secret-`` and the name. Each start makes
other signing keys and other subjects for the same names.
"""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = ("alice", "bob", "mallory")
CLIENT, SECRET = "ark", "known-to-both"


class Provider:
    """The provider as a process of its own."""

    def __init__(self, port: int, callback: str, log: Path) -> None:
        self.port, self.issuer = port, f"http://localhost:{port}"
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.identity_provider", str(port), callback], cwd=ROOT, stdout=file, stderr=file
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=20)
        try:
            connection.request("GET", "/.well-known/openid-configuration")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def serve(port: int, callback: str) -> None:
    from asgiref.wsgi import WsgiToAsgi
    from canaille import create_app  # type: ignore[import-untyped]
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from hypercorn.asyncio import serve as serve_asgi
    from hypercorn.config import Config

    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    mapping = {"SUB": "{{ user.id }}", "PREFERRED_USERNAME": "{{ user.user_name }}"}
    settings = {
        "SECRET_KEY": "of this run",
        "SERVER_NAME": f"localhost:{port}",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {"DATABASE": "memory", "SMTP": None},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [key], "USERINFO_MAPPING": mapping},
    }
    app = create_app(settings)
    with app.app_context():
        _fill(callback)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    asyncio.run(serve_asgi(WsgiToAsgi(app), config))  # type: ignore[no-untyped-call]


def _fill(callback: str) -> None:
    from canaille.app import models  # type: ignore[import-untyped]
    from canaille.backends import Backend  # type: ignore[import-untyped]

    people = {
        name: models.User(user_name=name, family_name=name, emails=[f"{name}@example.org"], password=f"secret-{name}") for name in PEOPLE
    }
    for person in people.values():
        Backend.instance.save(person)
    Backend.instance.save(models.Group(display_name="ark-admins", members=[people["bob"]]))
    client = models.Client(
        client_id=CLIENT,
        client_secret=SECRET,
        client_name="Ark",
        client_uri="http://127.0.0.1",
        redirect_uris=[callback],
        grant_types=["authorization_code"],
        response_types=["code"],
        token_endpoint_auth_method="client_secret_basic",
        scope=["openid", "profile", "email", "groups"],
    )
    Backend.instance.save(client)
    client.audience = [client]
    Backend.instance.save(client)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
