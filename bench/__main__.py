"""`python -m bench [name …]` (`make bench BENCH=name`): run the benches, print a table, write bench/results.json.

The exit status is 0 even where a target is missed: a number is reported, not asserted. It is 1 when a bench could not run.
"""

from __future__ import annotations

import importlib
import sys
import traceback

from bench.measure import CannotRun, Row, table, write_results

#: name → module with ``run() -> list[Row]``; the cheap ones first
BENCHES = {
    "journal": "bench.journal",
    "looks": "bench.looks",
    "settling": "bench.settling",
    "postgresql": "bench.postgresql",
    "lateness": "bench.lateness",
    "ssh": "bench.ssh",
    "netdisk": "bench.netdisk",
    "list": "bench.list_page",
    "pods": "bench.pods",
    "start": "bench.start",
    "cluster": "bench.cluster",
    "up": "bench.up",
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"No bench is called {', '.join(unknown)}. There are: {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failed = []
    for name in names or list(BENCHES):
        print(f"· {name}", file=sys.stderr, flush=True)
        try:
            rows += importlib.import_module(BENCHES[name]).run()
        except CannotRun as why:
            print(f"  not measured here: {why}", file=sys.stderr, flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    if rows:
        print(table(rows))
        write_results(rows)
    if failed:
        print(f"Could not run: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
