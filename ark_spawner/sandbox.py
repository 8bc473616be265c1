"""A workspace as a bubblewrap command line: pure, so that a person can read it in a golden file.

Promises of the line: the root is read-only and holds nothing of the host but its /usr and a few files of /etc; only the
workspace's own disks are writable; data sets are read-only; own process, IPC and host name spaces; only bought GPUs.
There is no ``--die-with-parent``: a workspace outlives the Hub. Tokens travel in the environment, never here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ark_extensions.domain.workspaces import LaunchSpec, Mount
from ark_spawner import filesystem as fs

BWRAP = "/usr/bin/bwrap"
MIB = 1024 * 1024

#: of the host's /etc: what programs need to find libraries, names, certificates, fonts and the time
ETC = (
    *("ssl/certs", "ssl/openssl.cnf", "pki", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives"),
    *("resolv.conf", "nsswitch.conf", "services", "protocols", "fonts", "localtime", "timezone", "mime.types", "magic"),
    *("OpenCL", "vulkan", "glvnd"),
)
#: written for each run: who the user is, the host's names, and a shell that keeps the image's PATH
RUN_ETC = ("passwd", "group", "hosts", "profile", "bash.bashrc")
GPU_CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/nvidia-caps")


@dataclass(frozen=True)
class HostPaths:
    """Where on the host the parts of one workspace lie.

    ``root_links``: (name under /, link target or None when the host has a directory there). ``read_only``: bound at
    their own paths (the image's environment, its interpreter when that is outside /usr).
    """

    home: Path
    netdisk: Path
    tmp: Path
    var_tmp: Path
    runtime: Path
    etc: Path
    items: tuple[tuple[Mount, Path], ...] = ()
    read_only: tuple[Path, ...] = ()
    platform: Path | None = None
    code_server: Path | None = None
    node: Path | None = None
    ssh: Path | None = None
    root_links: tuple[tuple[str, str | None], ...] = field(
        default=(("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"))
    )


def arguments(spec: LaunchSpec, paths: HostPaths, *, user_namespace: int | None) -> list[str]:
    """bubblewrap's options. ``user_namespace``: None makes one as an ordinary user; with a number bubblewrap runs as
    root, and `command` enters the prepared user namespace at that descriptor."""
    return [
        *_namespaces(spec, user_namespace),
        *_system(paths),
        *_devices(spec),
        *_writable(paths),
        *_image(paths),
        *_home_mounts(paths),
        *("--remount-ro", "/dev", "--remount-ro", "/run", "--remount-ro", "/"),
        *(("--chdir", str(fs.HOME)) if user_namespace is None else ()),
    ]


def command(program: list[str], *, args_fd: int, user_namespace: int | None) -> list[str]:
    """The command line that a person on the machine sees in the process list: no paths, no tokens."""
    enter = [] if user_namespace is None else _enter(user_namespace)
    return [BWRAP, "--args", str(args_fd), "--", *enter, *program]


def _enter(user_namespace: int) -> list[str]:
    """Become the workspace's user, and only then go home: the home is closed to everybody else."""
    user = ["/usr/bin/nsenter", f"--user=/proc/self/fd/{user_namespace}", f"--setuid={fs.UID}", f"--setgid={fs.GID}", "--"]
    return [*user, "/usr/bin/env", f"--chdir={fs.HOME}"]


def _namespaces(spec: LaunchSpec, user_namespace: int | None) -> list[str]:
    line = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", spec.workspace_name]
    if user_namespace is None:
        return ["--unshare-user", "--uid", str(fs.UID), "--gid", str(fs.GID), *line]
    return [*line, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]


def _system(paths: HostPaths) -> list[str]:
    line = ["--ro-bind", "/usr", "/usr"]
    for name, target in paths.root_links:
        line += ["--symlink", target, f"/{name}"] if target else ["--ro-bind", f"/{name}", f"/{name}"]
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", *_parents(paths)]
    for name in ETC:
        line += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in RUN_ETC:
        line += ["--ro-bind", str(paths.etc / name), f"/etc/{name}"]
    brought: tuple[tuple[Path | None, PurePosixPath], ...] = (
        (paths.platform, fs.PLATFORM),
        # its dependencies lie beside it
        (paths.code_server.parent if paths.code_server else None, fs.NODE_MODULES),
        (paths.node, fs.NODE),
        (paths.ssh, fs.SSH),
    )
    if paths.ssh is not None:  # bubblewrap makes missing parents for their owner alone
        line += ["--perms", "0755", "--dir", str(fs.SSH.parent)]
    for source, place in brought:
        if source is not None:
            line += ["--ro-bind", str(source), str(place)]
    return line


def _parents(paths: HostPaths) -> list[str]:
    """The directories above every mount, open to all: bubblewrap would make some with the closed mode of what it mounts."""
    mounts = [PurePosixPath("/etc", name) for name in (*ETC, *RUN_ETC)]
    mounts += [fs.HOME, fs.NETDISK, fs.VAR_TMP, fs.RUNTIME, fs.PLATFORM, *map(PurePosixPath, paths.read_only)]
    above = {parent for mount in mounts for parent in mount.parents if len(parent.parts) > 1}
    return [word for parent in sorted(above) for word in ("--perms", "0755", "--dir", str(parent))]


def _devices(spec: LaunchSpec) -> list[str]:
    line = ["--perms", "1777", "--size", str(spec.quantities.memory_mib * MIB), "--tmpfs", "/dev/shm"]
    if spec.gpu_devices:
        for device in (*(f"/dev/nvidia{number}" for number in spec.gpu_devices), *GPU_CONTROL):
            line += ["--dev-bind-try", device, device]
        for tree in ("/sys/devices", "/sys/bus/pci"):
            line += ["--ro-bind-try", tree, tree]
    return line


def _writable(paths: HostPaths) -> list[str]:
    places = (
        (paths.tmp, fs.TMP),
        (paths.var_tmp, fs.VAR_TMP),
        (paths.runtime, fs.RUNTIME),
        (paths.home, fs.HOME),
        (paths.netdisk, fs.NETDISK),
        (paths.netdisk, fs.HOME_NETDISK),
    )
    return [word for source, target in places for word in ("--bind", str(source), str(target))]


def _image(paths: HostPaths) -> list[str]:
    """At its own path, even where that lies below a writable place: its programs name their interpreter by it."""
    line: list[str] = []
    for path in map(PurePosixPath, paths.read_only):
        for parent in reversed(path.parents):
            if any(parent.is_relative_to(place) and parent != place for place in (fs.TMP, fs.VAR_TMP)):
                line += ["--perms", "0755", "--dir", str(parent)]
        line += ["--ro-bind", str(path), str(path)]
    return line


def _home_mounts(paths: HostPaths) -> list[str]:
    """The imported directories lie on a tmpfs of their own, so that no mount point is left on the data disk."""
    line: list[str] = []
    for kind, directory in fs.IMPORTED.items():
        line += ["--perms", "0755", "--tmpfs", str(directory)]
        for mount, source in paths.items:
            if mount.kind == kind:
                line += ["--ro-bind", str(source), str(fs.item_path(mount))]
        line += ["--remount-ro", str(directory)]
    return line
