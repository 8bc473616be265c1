"""``python -m ark_extensions.netdisk``: the netdisk service, as a process of the platform."""

from __future__ import annotations

import asyncio

from ark_extensions.loop import log_to_stderr
from ark_extensions.netdisk.app import serve
from ark_extensions.settings import Settings

if __name__ == "__main__":
    log_to_stderr()
    asyncio.run(serve(Settings()))
