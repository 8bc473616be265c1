"""Building what is missing: each environment under a name of its own until it is whole, then renamed.

A directory under its final name is therefore always finished, whatever interrupted the one before; a lock keeps
two set-ups of one account from building the same thing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ark_extensions.environments import PROJECT, Environments
from ark_extensions.supervisor.words import phrase
from hub_config.bootstrap import machine
from hub_config.bootstrap.progress import StepFailed, Steps

TITLES = {
    "hub": "Environment of the platform",
    "dev": "Environment for checks and tests",
    "workspace": "Environment of workspaces (JupyterLab)",
    "pytorch": "Environment of workspaces with PyTorch",
    "node": "Node 24",
    "npm": "Proxy and console assets",
    "code_server": "VS Code (a few minutes, once)",
    "axe": "Rules that the tests hold pages against",
}
# node before what is built with it
ORDER = ("hub", "dev", "workspace", "node", "npm", "axe", "code_server", "pytorch")
LOCKS = {"hub": "hub.txt", "dev": "dev.txt", "workspace": "workspace.txt", "pytorch": "pytorch.txt", "node": "node.txt"}
#: where the pins of what npm installs lie; only VS Code's packages build something
PINS = {"npm": PROJECT, "axe": PROJECT / "locks/pages", "code_server": PROJECT / "images/code-server"}


def missing(environments: Environments, wanted: Sequence[str], *, python: Path | None = None) -> list[str]:
    """Which of ``wanted`` are not built yet (or were built on a Python that the system has since replaced), in building order."""
    return [name for name in ORDER if name in wanted and not is_built(name, getattr(environments, name), python)]


def is_built(name: str, place: Path, python: Path | None = None) -> bool:
    if name not in LOCKS:
        return place.is_dir()
    if not (place / "bin/python").exists():
        return False
    return python is None or (place / "lib" / "python{}.{}".format(*machine.python_version(python))).is_dir()


def build(names: Sequence[str], environments: Environments, steps: Steps, python: Path) -> list[str]:
    """Build ``names``; returns sentences about what could not be built and can be done without (VS Code)."""
    warnings = []
    cache = environments.hub.parent
    with one_at_a_time(cache):
        for name in names:
            place: Path = getattr(environments, name)
            if is_built(name, place, python):
                continue  # another set-up was quicker
            steps.begin(phrase(TITLES[name]))
            try:
                with unfinished(place) as draft:
                    _BUILDERS.get(name, _python_environment)(name, draft, environments, steps, python)
            except StepFailed as failure:
                if name != "code_server":
                    raise
                sentence = phrase("VS Code could not be built, so workspaces have JupyterLab only. {why}", why=failure)
                environments.code_server_problem.write_text(f"{sentence}\n{failure.tail}\n")
                warnings.append(sentence)
            else:
                if name == "code_server":
                    environments.code_server_problem.unlink(missing_ok=True)
                steps.end()
    return warnings


def uv(cache: Path, steps: Steps | None, python: Path) -> str:
    """The uv to use: the one on PATH, or a pinned one in the cache, which is installed when ``steps`` are given."""
    if machine.run(["uv", "--version"]).returncode == 0:
        return "uv"
    place = next(iter(sorted(cache.glob("uv-*"))), None) or cache / "uv-pinned"
    if not (place / "bin/uv").exists() and steps is not None:
        with unfinished(place) as draft:
            steps.run([str(python), "-m", "venv", str(draft)], log_name="build-uv")
            pip = [str(draft / "bin/python"), "-m", "pip", "install", "--require-hashes", "-r", str(PROJECT / "locks/uv.txt")]
            steps.run(pip, log_name="build-uv")
    return str(place / "bin/uv")


def _python_environment(name: str, draft: Path, environments: Environments, steps: Steps, python: Path) -> None:
    program = uv(environments.hub.parent, steps, python)
    # bytecode now: inside a sandbox the environment is read-only, so every start would compile again
    quiet = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "UV_COMPILE_BYTECODE": "1"}
    log = f"build-{name}"
    # relocatable: the scripts must not name the draft directory
    steps.run([program, "venv", "--relocatable", "--python", str(python), str(draft)], log_name=log, environment=quiet)
    lock = str(PROJECT / "locks" / LOCKS[name])
    install = [program, "pip", "install", "--python", str(draft / "bin/python"), "--require-hashes", "-r", lock]
    steps.run(install, log_name=log, environment=quiet)


def _npm_packages(name: str, draft: Path, environments: Environments, steps: Steps, python: Path) -> None:
    draft.mkdir()
    for pin in ("package.json", "package-lock.json"):
        shutil.copyfile(PINS[name] / pin, draft / pin)
    environment = {
        "PATH": f"{environments.node / 'bin'}:{os.environ['PATH']}",
        "npm_config_nodedir": str(environments.node_headers),
        "npm_config_python": str(python),
        "npm_config_ignore_scripts": "false" if name == "code_server" else "true",
    }
    npm = [str(environments.node / "bin/npm"), "ci", "--no-audit", "--no-fund", "--no-update-notifier"]
    steps.run(npm, log_name=f"build-{name}", cwd=draft, environment=environment)


_BUILDERS: dict[str, Callable[[str, Path, Environments, Steps, Path], None]] = dict.fromkeys(PINS, _npm_packages)


@contextlib.contextmanager
def unfinished(place: Path) -> Iterator[Path]:
    """A directory beside ``place`` that takes its name when the block ends well."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f"{place.name}.building")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
        if place.exists():
            shutil.rmtree(place)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def one_at_a_time(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(phrase("Another set-up is building in {cache}; waiting for it.", cache=cache), flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
