"""Who may begin to speak: limits that hold before any key is looked at. Pure, the time is an argument.

Each address has an allowance of attempts that refills slowly; an attempt that ends signed in is given back, so that two
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
class _Allowance:
    left: float
    at: float


class Admission:
    """``per_minute``: how many attempts an address may have at once, and how many it gets back in a minute."""

    def __init__(self, *, per_minute: int, unauthenticated_max: int) -> None:
        self._per_minute, self._max = per_minute, unauthenticated_max
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()
        self.unauthenticated = 0

    def admit(self, place: str, now: float) -> str | None:
        """None: it may speak, and counts as unauthenticated until `left`. Otherwise why not."""
        if self.unauthenticated >= self._max:
            return TOO_MANY_ALL
        allowance = self._allowance(place, now)
        if allowance.left < 1:
            return TOO_MANY_HERE
        allowance.left -= 1
        self.unauthenticated += 1
        return None

    def left(self, place: str, now: float, *, signed_in: bool) -> None:
        """It is signed in now, or gone without; to be called once for each that was admitted."""
        self.unauthenticated -= 1
        if signed_in:
            allowance = self._allowance(place, now)
            allowance.left = min(allowance.left + 1, self._per_minute)

    def _allowance(self, place: str, now: float) -> _Allowance:
        allowance = self._allowances.pop(place, None) or _Allowance(self._per_minute, now)
        allowance.left = min(allowance.left + (now - allowance.at) * self._per_minute / 60, self._per_minute)
        allowance.at = now
        self._allowances[place] = allowance
        while len(self._allowances) > ADDRESSES_MAX:
            self._allowances.popitem(last=False)
        return allowance
