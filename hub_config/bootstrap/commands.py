"""The set-up's commands: look, install, build, then hand over to `ark up` in the platform's own environment."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ark_extensions.environments import PROJECT, Environments, cache_directory, environments
from ark_extensions.supervisor import lock
from ark_extensions.supervisor.background import start_in_background
from ark_extensions.supervisor.words import NO_SANDBOX, phrase
from hub_config.bootstrap import builds, machine
from hub_config.bootstrap.preflight import Request, examine, packages, problems, sandbox_sentence
from hub_config.bootstrap.progress import StepFailed, Steps

BACKGROUND_SECONDS = 120.0
STOP_SECONDS = 120.0

#: dpkg asks it before it starts a service (Debian's invoke-rc.d)
POLICY = Path("/usr/sbin/policy-rc.d")
SSHD = Path("/usr/sbin/sshd")
#: package → the program whose absence calls for it
TEST_PROGRAMS = {
    "openssh-server": str(SSHD), "openssh-client": "ssh", "rsync": "rsync", "litmus": "litmus", "davfs2": "/usr/sbin/mount.davfs",
    "gvfs-backends": "/usr/libexec/gvfsd-dav", "libglib2.0-bin": "gio", "dbus": "dbus-run-session",
}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except StepFailed as failure:
        print(failure.tail)
        print(f"• {failure}")
        return 1
    except KeyboardInterrupt:
        print()
        print(phrase("Interrupted. What was finished is kept: the next run goes on from there."))
        return 130
    return status


def up(arguments: argparse.Namespace) -> int:
    request = _request(arguments)
    built = environments(request.cache)
    if (status := set_up(request, built, _wanted(request, built))) != 0:
        return status
    command, environment = ark_up(request, built)
    if arguments.background:
        log = request.state_dir / "logs/ark.log"
        return start_in_background(command, environment=environment, log=log, timeout_seconds=BACKGROUND_SECONDS)
    sys.stdout.flush()
    os.execve(command[0], command, environment)


def down(arguments: argparse.Namespace) -> int:
    state_dir = _state_dir(arguments)
    if lock.holder(state_dir) is None:
        print(phrase("Ark does not run on {dir}.", dir=state_dir))
        return 0
    print(phrase("Stopping: workspaces first, then the platform …"), flush=True)
    if not lock.stop(state_dir, timeout_seconds=STOP_SECONDS):
        print(phrase("It has not stopped within {seconds} s. Its log: {log}", seconds=int(STOP_SECONDS), log=state_dir / "logs/ark.log"))
        return 1
    print(phrase("Ark has stopped. Workspaces, files and money are kept."))
    return 0


def test_environment(arguments: argparse.Namespace) -> int:
    """All that `make test` and `make check` need; prints the dev environment's Python last."""
    request = replace(_request(arguments), starts=False, sandbox=False)
    built = environments(request.cache)
    wanted = ["dev"] if arguments.only_dev else ["dev", "hub", "workspace", "node", "npm", "axe", *_vscode(request, built)]
    if not arguments.only_dev:
        _install_for_tests()
    return set_up(request, built, wanted)


def vscode(arguments: argparse.Namespace) -> int:
    """Try again to build VS Code after it could not be built."""
    request = replace(_request(arguments), starts=False, sandbox=False, vscode=True)
    built = environments(request.cache)
    built.code_server_problem.unlink(missing_ok=True)
    return set_up(request, built, ["node", "code_server"])


def restore(arguments: argparse.Namespace) -> int:
    """A backup comes to a machine that may have nothing yet: build what `ark restore` runs in, then hand over to it."""
    request = replace(_request(arguments), starts=False, sandbox=False, vscode=False)
    built = environments(request.cache)
    if (status := set_up(request, built, ["hub"])) != 0:
        return status
    command, environment = ark_command(request, built, "restore", str(Path(arguments.source).expanduser().resolve()))
    sys.stdout.flush()
    os.execve(command[0], command, environment)


def set_up(request: Request, built: Environments, wanted: Sequence[str]) -> int:
    """Preflight, packages, environments. Status 0: everything ``wanted`` is there."""
    python = machine.workspace_python() or machine.any_python()
    to_build = builds.missing(built, wanted, python=python)
    facts = examine(request, to_build)
    if found := problems(request, facts):
        print(phrase("Nothing was changed. To go on:"))
        for sentence in found:
            print(f"  • {sentence}")
        return 1
    to_install = packages(request, facts)
    steps = Steps(len(to_build) + bool(to_install), log_dir=request.cache / "logs")
    if to_install:
        install_packages(to_install, steps)
        if "bubblewrap" in to_install and (why := machine.sandbox_problem()) is not None:
            print(f"  • {sandbox_sentence(why)}")
            return 1
    if to_build:
        print(
            phrase(
                "Building what is missing in {cache}, once for all installations of this account.",
                cache=request.cache,
            )
        )
        if "code_server" in to_build and request.starts:
            print(
                phrase("Most of the time goes to VS Code. To begin without it: Ctrl-C, then `make up NO_VSCODE=1`; later: `make vscode`.")
            )
        for warning in builds.build(to_build, built, steps, python):
            print(f"  • {warning}")
    if not request.sandbox and request.starts:
        print("  • " + phrase(NO_SANDBOX))
    if request.starts and not built.code_server.exists():
        print("  • " + phrase("VS Code is missing: workspaces have JupyterLab only. To build it: `make vscode`."))
    if request.starts and not SSHD.exists():
        print("  • " + phrase("SSH is missing: workspaces cannot be entered by ssh. To have it: `apt-get install openssh-server`."))
    return 0


def ark_up(request: Request, built: Environments) -> tuple[list[str], dict[str, str]]:
    """The command line and environment of `ark up`."""
    command, environment = ark_command(request, built, "up", "--host", request.host, "--port", str(request.port))
    return (command if request.sandbox else [*command, "--no-sandbox"]), environment


def ark_command(request: Request, built: Environments, *words: str) -> tuple[list[str], dict[str, str]]:
    """The command line and environment of an `ark` command."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "ARK_STATE_DIR": str(request.state_dir), "ARK_CACHE_DIR": str(request.cache)}
    return [str(built.hub / "bin/python"), "-m", "ark_extensions.cli", *words], environment


def install_packages(names: Sequence[str], steps: Steps) -> None:
    """Install, and start none of the services that the packages bring: only programs are wanted."""
    steps.begin(phrase("Debian packages: {names}", names=", ".join(names)))
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        steps.run(["apt-get", "update", "-q"], log_name="apt", environment=quiet)
        steps.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *names], log_name="apt", environment=quiet)
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)
    steps.end()


def _install_for_tests() -> None:
    """Sandbox, browser, a Chinese font, and the programs that tests run, where this account may install them."""
    wanted = [] if machine.run(["bwrap", "--version"]).returncode == 0 else ["bubblewrap"]
    wanted += [package for package, program in TEST_PROGRAMS.items() if not (shutil.which(program) or Path(program).exists())]
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        wanted.append("postgresql")
    if machine.run(["chromium", "--version"]).returncode != 0:
        wanted.append("chromium")
    if not machine.run(["fc-list", ":lang=zh"]).stdout.strip():
        wanted += ["fontconfig", "fonts-wqy-microhei"]
    if not wanted:
        return
    if not (machine.is_root() and machine.has_apt()):
        command = f"sudo apt-get install -y {' '.join(wanted)}"
        print(
            "  • " + phrase("These packages are missing: {names}. Install them with `{command}`.", names=", ".join(wanted), command=command)
        )
        return
    try:
        install_packages(wanted, Steps(1, log_dir=cache_directory() / "logs"))
    except StepFailed as failure:
        print(f"  • {failure}")


def _wanted(request: Request, built: Environments) -> list[str]:
    return ["hub", "workspace", "node", "npm", *_vscode(request, built), *(["pytorch"] if request.pytorch else [])]


def _vscode(request: Request, built: Environments) -> list[str]:
    return ["code_server"] if request.vscode and not built.code_server_problem.exists() else []


def _request(arguments: argparse.Namespace) -> Request:
    state_dir = _state_dir(arguments)
    settings = _plain_settings(state_dir / "ark.yaml")
    return Request(
        state_dir=state_dir,
        cache=cache_directory(),
        host=arguments.host or os.environ.get("ARK_HOST") or settings.get("host", "127.0.0.1"),
        port=int(arguments.port or os.environ.get("ARK_PORT") or settings.get("port") or 8000),
        sandbox=not arguments.no_sandbox and settings.get("sandbox") != "false",
        vscode=not arguments.no_vscode,
        pytorch=arguments.pytorch or machine.has_gpu(),
    )


def _state_dir(arguments: argparse.Namespace) -> Path:
    return Path(arguments.dir or os.environ.get("ARK_STATE_DIR") or PROJECT / ".ark").expanduser().resolve()


def _plain_settings(file: Path) -> dict[str, str]:
    """The top-level ``host``, ``port`` and ``sandbox`` of a settings file, read without a YAML library."""
    try:
        text = file.read_text()
    except OSError:
        return {}
    return {key: value.strip("'\"") for key, value in re.findall(r"^(host|port|sandbox):[ \t]*([^\s#]+)", text, re.MULTILINE)}


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(phrase("a port is a number from 1 to 65535"))
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run in (("up", up), ("down", down), ("restore", restore), ("test-env", test_environment), ("vscode", vscode)):
        command = commands.add_parser(name)
        command.set_defaults(run=run, host=None, port=None, dir=None, no_sandbox=False, no_vscode=False, pytorch=False, background=False)
        command.add_argument("--dir", metavar="DIR", help="where all state lives")
        if name == "up":
            command.add_argument("--host")
            command.add_argument("--port", type=_port)
            for flag in ("--background", "--no-sandbox", "--no-vscode", "--pytorch"):
                command.add_argument(flag, action="store_true")
        if name == "restore":
            command.add_argument("source", metavar="BACKUP", help="the directory that `ark backup` wrote")
        if name == "test-env":
            command.add_argument("--only-dev", action="store_true")
            command.add_argument("--no-vscode", action="store_true")
    return parser
