"""What the gateway counts and will report: sessions, keys used, refusals by the minute, and metrics for Prometheus.

Bounded whatever comes in: beyond so many different refusals in one minute the rest is counted together.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime

from ark_extensions.usecases.ssh_sessions import Refusal, Report

log = logging.getLogger("ark")

DIFFERENT_REFUSALS_MAX = 500
#: the same refusal is written to the log at most this often in a minute
LOGGED_MAX = 5


def clean(text: str, most: int = 64) -> str:
    """Bounded and printable: safe in a log line, whatever a client called itself."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


class Tally:
    def __init__(self) -> None:
        self._report = Report()
        self._minute: datetime | None = None
        self._counts: dict[tuple[str, str, str, str, str], int] = {}
        self._changed: set[tuple[str, str, str, str, str]] = set()
        self.totals: Counter[str] = Counter()

    def refused(self, reason: str, *, address: str, now: datetime, user: str = "", fingerprint: str = "", workspace: str = "") -> None:
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._keep_refusals()
            self._minute, self._counts = minute, {}
        key = (clean(user), address, clean(fingerprint), reason, clean(workspace, 40))
        if key not in self._counts and len(self._counts) >= DIFFERENT_REFUSALS_MAX:
            key = ("", "others", "", reason, "")
        self._counts[key] = self._counts.get(key, 0) + 1
        self._changed.add(key)
        self.totals[f"refused:{reason}"] += 1
        if self._counts[key] <= LOGGED_MAX:
            more = " (more of these in this minute are only counted)" if self._counts[key] == LOGGED_MAX else ""
            log.warning("ssh: refused %s: user=%r address=%s key=%s workspace=%r%s", reason, key[0], address, key[2], key[4], more)

    @property
    def report(self) -> Report:
        return self._report

    def take(self) -> Report:
        """All that has happened since the last time; to be given back with `give_back` when it could not be told."""
        self._keep_refusals()
        report, self._report = self._report, Report()
        return report

    def give_back(self, report: Report) -> None:
        newer, self._report = self._report, report
        report.used |= newer.used
        report.seen |= newer.seen
        report.closed |= newer.closed
        report.opened += newer.opened
        report.refusals += newer.refusals

    def _keep_refusals(self) -> None:
        if self._minute is None:
            return
        for key in self._changed:
            user, address, fingerprint, reason, workspace = key
            self._report.refusals.append(Refusal(self._minute, user, address, fingerprint, reason, workspace, self._counts[key]))
        self._changed = set()

    def metrics(self, gauges: dict[str, int]) -> str:
        """Prometheus' text format."""
        lines = []
        for name, value in gauges.items():
            lines += [f"# TYPE ark_ssh_{name} gauge", f"ark_ssh_{name} {value}"]
        lines.append("# TYPE ark_ssh_refused_total counter")
        plain = {name: value for name, value in self.totals.items() if not name.startswith("refused:")}
        lines += [f'ark_ssh_refused_total{{reason="{n.partition(":")[2]}"}} {v}' for n, v in sorted(self.totals.items()) if n not in plain]
        for name, value in sorted(plain.items()):
            lines += [f"# TYPE ark_ssh_{name}_total counter", f"ark_ssh_{name}_total {value}"]
        return "\n".join(lines) + "\n"
