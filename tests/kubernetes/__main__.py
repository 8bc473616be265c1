"""`python -m tests.kubernetes up|down|images|build`: what `make cluster`, `make cluster-down` and `make images` run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hub_config.bootstrap.progress import StepFailed
from tests.kubernetes import build, images, processes, teardown
from tests.kubernetes.place import Place, Running, default_directory


def main() -> int:
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run in (("up", up), ("down", down), ("images", make_images), ("build", make_all)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--pytorch", action="store_true", help="the image pytorch too: several GB")
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


def make_images(arguments: argparse.Namespace) -> int:
    """Build, and bring them into the cluster of ``--dir`` when one runs there."""
    archives = images.ensure([name for name in images.IMAGES if name != "code-server" and (arguments.pytorch or name != "pytorch")])
    for name, archive in archives.items():
        print(f"{images.reference(name)}: {archive} ({archive.stat().st_size / 1e9:.2f} GB)")
    place = Place(arguments.dir.expanduser().resolve())
    running = Running.read(place)
    if running is None or not running.alive:
        print(f"No cluster runs in {place.directory}: `make cluster` first, then `make images` brings them in.")
        return 0
    images.bring(place, archives)
    print(f"They are in the cluster of {place.directory}.")
    return 0


def make_all(arguments: argparse.Namespace) -> int:
    """What the cluster tier stands on, so that its time is spent on tests."""
    if found := build.problems():
        print("\n".join(["A cluster cannot run here:", *(f"  • {problem}" for problem in found)]))
        return 1
    build.ensure(build.programs())
    images.ensure(images.FOR_TESTS)
    return 0


def down(arguments: argparse.Namespace) -> int:
    place = Place(arguments.dir.expanduser().resolve())
    print("The cluster is gone." if teardown.down(place) else f"No cluster runs in {place.directory}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
