"""The environment of a workspace's processes: pure. Nothing of the host's environment leaks into it, and the operator's
mirrors reach every kernel, terminal and editor because every process inherits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ark_extensions.domain.workspaces import LaunchSpec
from ark_spawner import filesystem as fs

MIB = 1024 * 1024


@dataclass(frozen=True)
class Mirrors:
    """Where packages, code and models are fetched from instead of their origins."""

    git_instead_of: Mapping[str, str] = field(default_factory=dict)
    pip_index_url: str | None = None
    conda_channel_alias: str | None = None
    hf_endpoint: str | None = None
    npm_registry: str | None = None

    def __deepcopy__(self, memo: object) -> Mirrors:
        return self  # traitlets copies what is configured for each spawner, and nobody changes this


def mirror_environment(mirrors: Mirrors) -> dict[str, str]:
    """The variables by which git, pip, uv, conda, Hugging Face and npm learn of the mirrors."""
    environment: dict[str, str] = {}
    pairs = sorted(mirrors.git_instead_of.items())
    for number, (origin, mirror) in enumerate(pairs):
        environment[f"GIT_CONFIG_KEY_{number}"] = f"url.{mirror}.insteadOf"
        environment[f"GIT_CONFIG_VALUE_{number}"] = origin
    if pairs:
        environment["GIT_CONFIG_COUNT"] = str(len(pairs))
    single: tuple[tuple[str | None, tuple[str, ...]], ...] = (
        (mirrors.pip_index_url, ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")),
        (mirrors.conda_channel_alias, ("CONDA_CHANNEL_ALIAS",)),
        (mirrors.hf_endpoint, ("HF_ENDPOINT",)),
        (mirrors.npm_registry, ("NPM_CONFIG_REGISTRY",)),
    )
    for url, names in single:
        if url:
            environment.update(dict.fromkeys(names, url))
    return environment


@dataclass(frozen=True)
class Places:
    """Where a process of the workspace finds things: the sandbox's own paths, or the host's where there is no sandbox."""

    home: PurePosixPath = fs.HOME
    runtime: PurePosixPath = fs.RUNTIME
    tmp: PurePosixPath = fs.TMP
    platform: PurePosixPath | None = fs.PLATFORM
    code_server: PurePosixPath | None = fs.CODE_SERVER
    node: PurePosixPath | None = fs.NODE

    def path_variable(self, environment_prefix: PurePosixPath) -> str:
        """PATH: the user's own installs, the image, the platform's command, then the system."""
        own = [self.home / ".local/bin", environment_prefix / "bin", *([self.platform / "bin"] if self.platform else [])]
        return ":".join(map(str, (*own, "/usr/local/bin", "/usr/bin", "/bin")))


def visible_gpus(devices: tuple[str, ...], *, others_hidden: bool) -> str:
    """CUDA_VISIBLE_DEVICES. Where the other devices are hidden, CUDA numbers what is left from 0; ``-1`` shows none."""
    shown = [str(number) for number in range(len(devices))] if others_hidden else list(devices)
    return ",".join(shown) or "-1"


def workspace_environment(
    spec: LaunchSpec,
    *,
    hub: Mapping[str, str],
    mirrors: Mirrors,
    environment_prefix: PurePosixPath,
    api_url: str,
    gpus_hidden: bool = True,
    places: Places = Places(),
) -> dict[str, str]:
    """Everything a workspace's first process is given. ``hub``: the Hub's JUPYTERHUB_* variables, tokens among them."""
    quantities = spec.quantities
    environment = {
        "HOME": str(places.home),
        "USER": fs.USER,
        "LOGNAME": fs.USER,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TMPDIR": str(places.tmp),
        "PATH": places.path_variable(environment_prefix),
        "XDG_RUNTIME_DIR": str(places.runtime),
        "JUPYTER_RUNTIME_DIR": str(places.runtime / "jupyter"),
        "ARK_WORKSPACE": spec.workspace_name,
        "ARK_WORKSPACE_ID": spec.workspace_id,
        "ARK_API_URL": api_url,
        "CUDA_VISIBLE_DEVICES": visible_gpus(spec.gpu_devices, others_hidden=gpus_hidden),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "OMP_NUM_THREADS": str(max(quantities.vcpu, 1)),
        "CPU_LIMIT": str(quantities.vcpu),
        "MEM_LIMIT": str(quantities.memory_mib * MIB),
    }
    if spec.language:
        environment["ARK_LANGUAGE"] = spec.language
    if places.platform is not None:
        environment |= {
            "JUPYTER_CONFIG_PATH": str(places.platform / "etc/jupyter"),
            "JUPYTER_PATH": str(places.platform / "share/jupyter"),
            "PYTHONPATH": str(places.platform / "lib"),
        }
    if places.code_server is not None and places.node is not None:
        environment |= {"ARK_CODE_SERVER": str(places.code_server), "ARK_NODE": str(places.node)}
    environment.update(mirror_environment(mirrors))
    environment.update((key, value) for key, value in hub.items() if key.startswith(("JUPYTERHUB_", "JPY_API_TOKEN")))
    return environment
