"""The bubblewrap command line as data: golden files that a person can read, and what must never be in them.

After a change that is meant, run with ``ARK_WRITE_GOLDEN=1`` and read the difference.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ark_extensions.domain.offers import Quantities
from ark_extensions.domain.workspaces import LaunchSpec, Mount
from ark_spawner import sandbox

GOLDEN = Path(__file__).parent / "golden"
DIGITS, MODEL = Mount("dataset", "digits", 1, "h1"), Mount("model", "digits-mlp", 2, "h2")
SPEC = LaunchSpec("ws1", "train", "alice", "launch1", "python-cpu", "workspace", Quantities(4, 8192, 50), (), 0)
STATE = Path("/state")
PATHS = sandbox.HostPaths(
    home=STATE / "disks/ws1",
    netdisk=STATE / "netdisk/alice/data",
    tmp=STATE / "runs/ws1/tmp",
    var_tmp=STATE / "runs/ws1/var-tmp",
    runtime=STATE / "runs/ws1/runtime",
    etc=STATE / "runs/ws1/etc",
    read_only=(Path("/cache/workspace"),),
    platform=Path("/ark/workspace"),
    code_server=Path("/cache/node_modules/code-server"),
    node=Path("/cache/node"),
)
GPU = replace(SPEC, quantities=Quantities(8, 65536, 150, "A100", 2), gpu_devices=("1", "3"), mounts=(DIGITS, MODEL))
GPU_PATHS = replace(PATHS, items=((DIGITS, STATE / "catalog/dataset/digits/1"), (MODEL, STATE / "catalog/model/digits-mlp/2")))
CASES = {
    "cpu-as-user": (SPEC, PATHS, None),
    "cpu-as-root": (SPEC, PATHS, 9),
    "gpu-with-data": (GPU, GPU_PATHS, None),
    "with-ssh": (SPEC, replace(PATHS, ssh=STATE / "runs/ws1/ssh"), None),
    "bare": (SPEC, replace(PATHS, platform=None, code_server=None, node=None), None),
}


def lines(arguments: list[str]) -> str:
    """One option a line."""
    found: list[list[str]] = []
    for word in arguments:
        if word.startswith("--"):
            found.append([])
        found[-1].append(word)
    return "".join(" ".join(words) + "\n" for words in found)


@pytest.mark.parametrize("name", CASES)
def test_the_command_line_is_as_a_person_has_read_it(name: str) -> None:
    spec, paths, namespace = CASES[name]
    made = lines(sandbox.arguments(spec, paths, user_namespace=namespace))
    golden = GOLDEN / f"sandbox-{name}.txt"
    if os.environ.get("ARK_WRITE_GOLDEN"):
        golden.write_text(made)
    assert made == golden.read_text()


@pytest.mark.parametrize("name", CASES)
def test_only_the_workspaces_own_places_are_writable(name: str) -> None:
    spec, paths, namespace = CASES[name]
    made = sandbox.arguments(spec, paths, user_namespace=namespace)
    writable = {made[at + 2] for at, word in enumerate(made) if word == "--bind"}
    assert writable == {"/tmp", "/var/tmp", "/run/user/1000", "/home/user", "/ark-contexts/data", "/home/user/data"}
    assert made[-2:] == ["--remount-ro", "/"] or made[-4:-2] == ["--remount-ro", "/"]


@pytest.mark.parametrize("name", CASES)
def test_a_workspace_outlives_the_hub_and_sees_only_its_own_processes(name: str) -> None:
    spec, paths, namespace = CASES[name]
    made = sandbox.arguments(spec, paths, user_namespace=namespace)
    assert "--die-with-parent" not in made
    assert {"--unshare-pid", "--unshare-ipc", "--unshare-uts"} <= set(made)


def test_only_bought_gpus_are_there() -> None:
    with_gpus = sandbox.arguments(GPU, GPU_PATHS, user_namespace=None)
    assert {word for word in with_gpus if word.startswith("/dev/nvidia") and word[-1].isdigit()} == {"/dev/nvidia1", "/dev/nvidia3"}
    assert not [word for word in sandbox.arguments(SPEC, PATHS, user_namespace=None) if "nvidia" in word or word.startswith("/sys")]


def test_the_process_list_shows_no_paths_of_the_installation() -> None:
    for namespace in (None, 9):
        shown = " ".join(sandbox.command(["/cache/workspace/bin/jupyterhub-singleuser"], args_fd=7, user_namespace=namespace))
        assert "/state" not in shown and "--args 7" in shown


def test_as_root_the_user_is_become_before_going_home() -> None:
    shown = sandbox.command(["prog"], args_fd=7, user_namespace=9)
    assert shown.index("/usr/bin/nsenter") < shown.index("/usr/bin/env") < shown.index("prog")
    assert "--unshare-user" not in sandbox.arguments(SPEC, PATHS, user_namespace=9)
