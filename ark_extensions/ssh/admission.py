"""Who may begin to speak: limits that hold before any key is looked at. Pure, the time is an argument.

Each address has a purse of attempts that refills slowly; an attempt that ends signed in is given back, so that two
hundred sessions of a class behind one address cost nothing while ten thousand bad ones end at the door.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

#: addresses remembered at once; the one that was quiet longest is forgotten first
ADDRESSES_MAX = 20_000

TOO_MANY_HERE, TOO_MANY_ALL = "rate", "full"


def place_of(address: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 that one host has to itself in IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


@dataclass
class _Purse:
    left: float
    at: float


class Admission:
    """``per_minute``: how many attempts an address may have at once, and how many it gets back in a minute."""

    def __init__(self, *, per_minute: int, unauthenticated_max: int) -> None:
        self._per_minute, self._max = per_minute, unauthenticated_max
        self._purses: OrderedDict[str, _Purse] = OrderedDict()
        self.unauthenticated = 0

    def admit(self, place: str, now: float) -> str | None:
        """None: it may speak, and counts as unauthenticated until `left`. Otherwise why not."""
        if self.unauthenticated >= self._max:
            return TOO_MANY_ALL
        purse = self._purse(place, now)
        if purse.left < 1:
            return TOO_MANY_HERE
        purse.left -= 1
        self.unauthenticated += 1
        return None

    def left(self, place: str, now: float, *, signed_in: bool) -> None:
        """It is signed in now, or gone without; to be called once for each that was admitted."""
        self.unauthenticated -= 1
        if signed_in:
            purse = self._purse(place, now)
            purse.left = min(purse.left + 1, self._per_minute)

    def _purse(self, place: str, now: float) -> _Purse:
        purse = self._purses.pop(place, None) or _Purse(self._per_minute, now)
        purse.left = min(purse.left + (now - purse.at) * self._per_minute / 60, self._per_minute)
        purse.at = now
        self._purses[place] = purse
        while len(self._purses) > ADDRESSES_MAX:
            self._purses.popitem(last=False)
        return purse
