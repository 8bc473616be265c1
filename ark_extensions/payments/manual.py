"""Bank transfer confirmed by an operator: the user sees what to write on the transfer, the operator confirms what arrived."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ark_extensions.payments import Begun, Forged, Paid


def transfer_reference(recharge_id: str) -> str:
    """What the payer writes on the transfer, so that an operator knows whose it is."""
    return recharge_id[:12].upper()


class ManualTransfer:
    """``instructions`` is the operator's text (account, bank); the recharge's id is the reference on the transfer."""

    name = "manual"
    acknowledgement = b""

    def __init__(self, instructions: str) -> None:
        self._instructions = instructions

    def begin(self, *, recharge_id: str, amount_micros: int, currency: str, return_url: str, notify_url: str) -> Begun:
        return Begun(None, instructions=f"{self._instructions}\n{transfer_reference(recharge_id)}")

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, now: datetime) -> Paid:
        raise Forged("nobody calls back for a transfer")
