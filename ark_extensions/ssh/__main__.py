"""`python -m ark_extensions.ssh`: the gateway, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ark_extensions.hub import Hub
from ark_extensions.loop import Job, in_thread, log_to_stderr, run_until_sigterm, utc_now
from ark_extensions.settings import Settings
from ark_extensions.ssh.admission import Admission
from ark_extensions.ssh.connector import open_connector
from ark_extensions.ssh.gateway import Gateway
from ark_extensions.ssh.hostkey import gateway_key
from ark_extensions.ssh.starting import Starter
from ark_extensions.storage import Storage
from ark_extensions.usecases.ssh_sessions import gateway_started, seal_host_keys

log = logging.getLogger("ark")

ROUND_SECONDS = 2.0
METRICS_SECONDS = 10.0
#: a port that another program holds is tried again
PORT_SECONDS = 5.0


def write_metrics(path: Path, text: str) -> None:
    """Whole or not at all, as Prometheus' textfile collector wants it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def the_secret(settings: Settings) -> str | None:
    """None where the gateway has no rights at the Hub: then connections start nothing, and no key was made to be sealed."""
    try:
        return settings.secret("ssh_token")
    except OSError:
        return None


async def listen(gateway: Gateway, settings: Settings) -> None:
    """Until the port is ours."""
    host = settings.host if settings.ssh_host is None else settings.ssh_host
    while True:
        try:
            port = await gateway.listen(host, settings.ssh_port)
        except OSError as error:
            log.warning(
                "ssh: port %d cannot be used (%s). Free it, or set `ssh_port`. Next try in %.0f s.", settings.ssh_port, error, PORT_SECONDS
            )
            await asyncio.sleep(PORT_SECONDS)
        else:
            log.info("ssh: listening on %s port %d.", host, port)
            return


async def main() -> None:
    settings = Settings()
    storage = Storage(settings.resolved_database_url)
    secret = the_secret(settings)
    hub = Hub(settings.hub_api_url, token=secret) if secret is not None else None
    gateway = Gateway(
        storage,
        open_connector(settings),
        gateway_key(settings.state_dir / "secrets"),
        admission=Admission(per_minute=settings.ssh_attempts_per_minute, unauthenticated_max=settings.ssh_unauthenticated_max),
        sessions_max=settings.ssh_sessions_per_user,
        look_seconds=settings.ssh_activity_seconds,
        keepalive_seconds=settings.ssh_keepalive_seconds,
        starter=Starter(storage, hub, f"{settings.base_url}/services/console/workspaces"),
    )
    if secret is not None:
        await in_thread(seal_host_keys, storage, secret=secret, now=utc_now())
    left = await in_thread(gateway_started, storage, now=utc_now())
    if left:
        log.info("ssh: %d sessions of an earlier gateway had ended with it.", left)

    async def measured() -> None:
        await in_thread(write_metrics, settings.state_dir / "runtime" / "ssh.prom", gateway.metrics())

    jobs = [
        Job("ssh keys", ROUND_SECONDS, gateway.authorize),
        Job("ssh report", ROUND_SECONDS, gateway.report),
        Job("ssh void connections", ROUND_SECONDS, gateway.end_void),
        Job("ssh metrics", METRICS_SECONDS, measured),
    ]
    listening = asyncio.create_task(listen(gateway, settings))
    await run_until_sigterm("ssh", jobs, state_dir=settings.state_dir)
    listening.cancel()
    gateway.close()
    await asyncio.sleep(0.1)
    await gateway.report()
    storage.close()


if __name__ == "__main__":
    log_to_stderr()
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    asyncio.run(main())
