"""What a workspace's processes are told: the mirrors, their own GPUs, and nothing of the host."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from ark_extensions.domain.offers import Quantities
from ark_extensions.domain.workspaces import LaunchSpec
from ark_spawner.environment import Mirrors, Places, mirror_environment, visible_gpus, workspace_environment

SPEC = LaunchSpec("ws1", "train", "alice", "launch1", "python-cpu", "workspace", Quantities(4, 8192, 50), (), 0)


def environment(spec: LaunchSpec = SPEC, **how: object) -> dict[str, str]:
    arguments = {
        "hub": {},
        "mirrors": Mirrors(),
        "environment_prefix": PurePosixPath("/opt/env"),
        "api_url": "http://127.0.0.1:1/api",
        **how,
    }
    return workspace_environment(spec, **arguments)  # type: ignore[arg-type]


def test_nothing_of_the_host_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    made = environment(hub={"JUPYTERHUB_API_TOKEN": "t", "PATH": "/opt/host/bin", "LD_PRELOAD": "/evil.so", "SECRET": "s"})
    assert "hunter2" not in made.values() and "LD_PRELOAD" not in made and "SECRET" not in made
    assert made["JUPYTERHUB_API_TOKEN"] == "t"
    assert made["HOME"] == "/home/user" and made["SHELL"] == "/bin/bash" and made["LANG"] == "C.UTF-8"
    assert made["PATH"].split(":")[:2] == ["/home/user/.local/bin", "/opt/env/bin"] and "/opt/host/bin" not in made["PATH"]


def test_it_knows_its_size() -> None:
    made = environment()
    assert (made["CPU_LIMIT"], made["MEM_LIMIT"], made["OMP_NUM_THREADS"]) == ("4", str(8 * 1024**3), "4")


def test_it_knows_its_owners_language_where_the_platform_does() -> None:
    assert environment(replace(SPEC, language="zh"))["ARK_LANGUAGE"] == "zh"
    assert "ARK_LANGUAGE" not in environment()
    assert environment(replace(SPEC, language="zh"))["LANG"] == "C.UTF-8", "programs' own messages stay as they are searched for"


def test_no_gpu_bought_means_none_seen() -> None:
    assert environment()["CUDA_VISIBLE_DEVICES"] == "-1"


def test_bought_gpus_are_numbered_as_cuda_will_see_them() -> None:
    spec = replace(SPEC, gpu_devices=("3", "5"))
    assert environment(spec)["CUDA_VISIBLE_DEVICES"] == "0,1", "the others are hidden, so CUDA counts from 0"
    assert visible_gpus(("3", "5"), others_hidden=False) == "3,5"


def test_mirrors_reach_every_tool() -> None:
    mirrors = Mirrors(
        git_instead_of={"https://github.com/": "https://mirror.example/github/"},
        pip_index_url="https://mirror.example/simple",
        conda_channel_alias="https://mirror.example/conda",
        hf_endpoint="https://mirror.example/hf",
        npm_registry="https://mirror.example/npm",
    )
    made = environment(mirrors=mirrors)
    assert made["PIP_INDEX_URL"] == made["UV_INDEX_URL"] == made["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert made["CONDA_CHANNEL_ALIAS"] == "https://mirror.example/conda"
    assert made["HF_ENDPOINT"] == "https://mirror.example/hf"
    assert made["NPM_CONFIG_REGISTRY"] == "https://mirror.example/npm"


def test_git_itself_rewrites_addresses() -> None:
    made = mirror_environment(Mirrors(git_instead_of={"https://github.com/": "https://mirror.example/gh/", "git@x:": "https://y/"}))
    said = subprocess.run(
        ["git", "config", "--get-regexp", "url"], env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **made}, capture_output=True
    )
    assert b"url.https://mirror.example/gh/.insteadof https://github.com/" in said.stdout
    assert b"url.https://y/.insteadof git@x:" in said.stdout


def test_mirrors_with_the_same_address_all_arrive() -> None:
    made = mirror_environment(Mirrors(hf_endpoint="https://m.example", npm_registry="https://m.example"))
    assert made == {"HF_ENDPOINT": "https://m.example", "NPM_CONFIG_REGISTRY": "https://m.example"}


def test_without_a_sandbox_the_hosts_paths_are_told() -> None:
    places = Places(
        home=PurePosixPath("/state/disks/ws1"), runtime=PurePosixPath("/state/runs/ws1/runtime"), platform=None, code_server=None, node=None
    )
    made = environment(places=places)
    assert made["HOME"] == "/state/disks/ws1" and made["PATH"].startswith("/state/disks/ws1/.local/bin:/opt/env/bin:")
    assert "ARK_CODE_SERVER" not in made and "PYTHONPATH" not in made
