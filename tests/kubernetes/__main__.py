"""`python -m tests.kubernetes up|down|images`: what `make cluster`, `make cluster-down` and `make images` run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hub_config.bootstrap.progress import StepFailed
from tests.kubernetes import build, processes, teardown
from tests.kubernetes.place import Place, default_directory


def main() -> int:
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run in (("up", up), ("down", down)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--dir", type=Path, default=default_directory(), help="where all of it lives")
    arguments = parser.parse_args()
    try:
        status: int = arguments.run(arguments)
        return status
    except StepFailed as failure:
        print(f"{failure.tail}\n• {failure}")
        return 1
    except processes.NotUp as failure:
        print(f"• {failure}")
        return 1


def up(arguments: argparse.Namespace) -> int:
    if found := build.problems():
        print("\n".join(["A cluster cannot run here:", *(f"  • {problem}" for problem in found)]))
        return 1
    built = build.programs()
    build.ensure(built)
    processes.up(Place(arguments.dir.expanduser().resolve()), built)
    return 0


def down(arguments: argparse.Namespace) -> int:
    place = Place(arguments.dir.expanduser().resolve())
    print("The cluster is gone." if teardown.down(place) else f"No cluster runs in {place.directory}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
