"""The line under the top bar: what needs the reader now, and what the platform has told them that they did not dismiss.

What is true only now (the balance, a stop that is near) is worked out for each page and goes by itself; what was told
stays until it is dismissed, but for warnings of a low wallet, which the first says better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ark_extensions.console.pages import look
from ark_extensions.usecases import notices as told_usecases
from ark_extensions.usecases.views import Sentence, WalletView
from ark_extensions.web.frame import level

SOON = timedelta(minutes=15)
NOW_MAX = 3
TOLD_MAX = 3
TONES = {"info": "info", "warning": "warning", "error": "danger"}
#: the page on which the reader can do something about a notice of that kind
PLACES = {
    "arrears": "recharge",
    "arrears_released": "recharge",
    "term_ends": "assets",
    "term_over": "assets",
    "term_renewed": "assets",
    "recharged": "wallet",
    "term_converted": "wallet",
    "posting_halted": "admin/money",
}


@dataclass(frozen=True)
class Notice:
    """``id`` 0: it goes by itself. ``place``: a page of ours, or nothing."""

    tone: str
    sentence: Sentence
    id: int = 0
    place: str = ""


def _of_wallet(wallet: WalletView, now: datetime) -> list[Notice]:
    urgency = level(wallet)
    if not urgency:
        return []
    if wallet.runway is None or wallet.runway <= timedelta():
        used_up = look.say("The balance is used up. Recharge it, then start your workspaces again. Nothing was deleted.")
        return [Notice("danger", used_up, place="recharge")]
    empty_at = (now + wallet.runway).isoformat()
    if urgency == "amber":
        return [Notice("warning", look.say("The balance lasts until {empty_at}.", empty_at=empty_at), place="recharge")]
    sentence = look.say(
        "The balance lasts until {empty_at}. Then your workspaces are stopped; their files stay. "
        "Recharge it, or stop what you do not need.",
        empty_at=empty_at,
    )
    return [Notice("danger", sentence, place="recharge")]


def notices(wallet: WalletView, soon: Sequence[tuple[str, datetime]], now: datetime) -> list[Notice]:
    """What needs the reader now. ``soon``: (display name, when) of workspaces that stop within `SOON`."""
    found = _of_wallet(wallet, now)
    for name, at in soon:
        sentence = look.say("{name} stops at {stop_at}. Extend it in its row if you still need it.", name=name, stop_at=at.isoformat())
        found.append(Notice("warning", sentence))
    return found[:NOW_MAX]


def told(stored: Sequence[told_usecases.Notice]) -> list[Notice]:
    """What was told and not dismissed, the newest first."""
    kept = [n for n in stored if n.kind != "wallet_low"]
    return [Notice(TONES.get(n.severity, "info"), n.message, n.id, PLACES.get(n.kind, "")) for n in kept[:TOLD_MAX]]
