"""What every handler does alike that takes one file in its body: its receiver is handed on to the base of all handlers."""

from __future__ import annotations

from tornado.iostream import IOStream

from ark_extensions.netdisk.receiving import Receiver


class TakesAFile:
    """Mixed in before a handler class, which makes the receiver when it knows where the file goes."""

    receiver: Receiver | None = None

    @property
    def pulls(self) -> bool:
        return self.receiver is not None and self.receiver.pulls

    async def pull(self, stream: IOStream) -> None:
        assert self.receiver is not None
        await self.receiver.pull(stream)

    @property
    def holds(self) -> bool:
        return self.receiver is not None and self.receiver.holds

    async def release(self) -> None:
        if self.receiver is not None:
            await self.receiver.release()
