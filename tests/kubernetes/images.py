"""The project's images, built from their Dockerfiles by buildah into archives in the cache, and brought into a cluster.

Without a registry the first base is a Debian that debootstrap makes. How this machine reaches package indices goes into
the builds as secrets, so that no image remembers it.
"""

from __future__ import annotations

import configparser
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ark_extensions.environments import PROJECT, cache_directory, environments
from hub_config.bootstrap import machine
from hub_config.bootstrap.builds import one_at_a_time
from hub_config.bootstrap.commands import install_packages
from hub_config.bootstrap.progress import Steps
from tests.kubernetes.place import Place
from tests.kubernetes.processes import import_archive

DEBIAN = "bookworm"
PACKAGES = {"buildah": "/usr/bin/buildah", "debootstrap": "/usr/sbin/debootstrap"}
LITTLE_GIB = 20.0
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


@dataclass(frozen=True)
class Image:
    """``parents``: build argument → the image given for it. ``inputs``: what it is made of beside its Dockerfile."""

    parents: Mapping[str, str]
    inputs: tuple[str, ...] = ()
    large: bool = False


IMAGES = {
    "base": Image({}),
    "code-server": Image({"BASE": "base"}, ("locks/node.txt", "images/code-server/package.json", "images/code-server/package-lock.json")),
    "workspace-base": Image({"BASE": "base", "VSCODE": "code-server"}, ("locks/workspace.txt", "ark_extensions/workspace")),
    "pytorch": Image({"BASE": "workspace-base"}, ("locks/pytorch.txt",), large=True),
    "hub": Image(
        {"BASE": "base"},
        (
            "locks/hub.txt",
            "locks/node.txt",
            "package.json",
            "package-lock.json",
            "ark_extensions",
            "ark_spawner",
            "hub_config",
            "pyproject.toml",
        ),
    ),
}
#: what the cluster tier needs
FOR_TESTS = ("base", "workspace-base", "hub")


def reference(name: str) -> str:
    """An image's name in the test cluster."""
    return f"localhost/ark/{name}:test"


def ensure(names: Iterable[str]) -> dict[str, Path]:
    """Name → archive, all of them built; raises `StepFailed`."""
    # asked once: somebody may edit the sources while the images are built
    wanted = {name: _archive(name) for name in names}
    missing = [name for name, archive in wanted.items() if not archive.exists()]
    order = [name for name in IMAGES if name in _with_parents(missing)]
    packages = [package for package, program in PACKAGES.items() if not Path(program).exists()] if order else []
    steps = Steps(bool(packages) + len(order), log_dir=cache_directory() / "logs")
    if packages:
        install_packages(packages, steps)
    if order:
        with one_at_a_time(cache_directory() / "buildah"), tempfile.TemporaryDirectory(prefix="ark-images-") as scratch:
            builder = Builder(steps, Path(scratch))
            for name in order:
                steps.begin(f"Image {name}" + (" (several minutes, once)" if name in ("code-server", "pytorch") else ""))
                builder.make(name, wanted.get(name))
                steps.end()
            builder.tidy()
    return wanted


def bring(place: Place, archives: Mapping[str, Path]) -> None:
    """Into a running cluster's containerd, each under its `reference`."""
    for archive in archives.values():
        import_archive(place.bin, archive)


def built(name: str) -> Path | None:
    """Its archive, if there is one for the present sources."""
    return archive if (archive := _archive(name)).exists() else None


def key(name: str) -> str:
    """Changes when the image would."""
    image, digest = IMAGES[name], sha256(DEBIAN.encode())
    for parent in image.parents.values():
        digest.update(key(parent).encode())
    for source in (f"images/{name}/Dockerfile", *image.inputs):
        for file in _files(PROJECT / source):
            digest.update(f"{file.relative_to(PROJECT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source] if source.exists() else []
    return sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _archive(name: str) -> Path:
    return cache_directory() / f"image-{name}-{key(name)}.tar"


def _with_parents(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        found |= {name} | _with_parents(IMAGES[name].parents.values())
    return found


class Builder:
    """Runs buildah with a storage of its own in the cache, so that layers are kept between builds."""

    def __init__(self, steps: Steps, scratch: Path) -> None:
        self._steps, self._scratch = steps, scratch
        self._storage = storage = cache_directory() / "buildah"
        self._buildah = ["buildah", "--root", f"{storage}/storage", "--runroot", f"{storage}/run", "--storage-driver", "overlay"]
        (scratch / "policy.json").write_text(POLICY)
        self._policy = f"--signature-policy={scratch}/policy.json"

    def make(self, name: str, archive: Path | None) -> None:
        """``archive``: where one is written as well. An image that is there from these very sources is not built again."""
        noted = self._storage / f"{name}.key"
        there = noted.exists() and noted.read_text() == key(name)
        if not (there and self._run("inspect", "--type", "image", reference(name), may_fail=True) == 0):
            noted.unlink(missing_ok=True)
            made_of = key(name)
            self._build(name)
            noted.write_text(made_of)
        if archive is not None:
            self._export(name, archive)

    def _build(self, name: str) -> None:
        if name == "base":
            self._bootstrap()
        elif name == "code-server" and (directories := _built_code_server()):
            self._from_directories(name, directories)
        else:
            self._from_dockerfile(name)

    def tidy(self) -> None:
        """What builds that failed have left; layers that no image has only where room is short: they make the next build quick."""
        self._run("rm", "--all", may_fail=True)
        if machine.free_gib(cache_directory()) < LITTLE_GIB:
            self._run("rmi", "--prune", may_fail=True)

    def _from_dockerfile(self, name: str) -> None:
        arguments = [f"--build-arg={argument}={reference(parent)}" for argument, parent in IMAGES[name].parents.items()]
        secrets = [f"--secret=id={secret},src={file}" for secret, file in _secrets(self._scratch).items()]
        # chroot: a build needs no container of its own, and works where there is none to be had
        options = ["--isolation=chroot", "--layers", "--format=docker", self._policy, *arguments, *secrets]
        self._run("bud", *options, "-f", f"images/{name}/Dockerfile", "-t", reference(name), ".")

    def _bootstrap(self) -> None:
        root = self._scratch / "root"
        self._steps.run(["debootstrap", "--variant=minbase", DEBIAN, str(root), *_debian_mirror()], log_name="image-base")
        for rest in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / rest)
            (root / rest).mkdir()
        self._from_directories("base", {root: "/"})
        shutil.rmtree(root)

    def _from_directories(self, name: str, sources: Mapping[Path, str]) -> None:
        container = f"ark-{name}"
        self._run("rm", container, may_fail=True)
        self._run("from", "--name", container, "scratch")
        for source, target in sources.items():
            self._run("copy", container, str(source), target)
        self._run("commit", "--format=docker", self._policy, "--rm", container, reference(name))

    def _export(self, name: str, final: Path) -> None:
        draft = final.with_suffix(".building")
        draft.unlink(missing_ok=True)
        try:
            self._run("push", self._policy, "--quiet", reference(name), f"docker-archive:{draft}:{reference(name)}")
            draft.rename(final)
        finally:
            draft.unlink(missing_ok=True)
        for older in final.parent.glob(f"image-{name}-*.tar"):
            if older != final:
                older.unlink()

    def _run(self, *arguments: str, may_fail: bool = False) -> int:
        if may_fail:
            return machine.run([*self._buildah, *arguments], seconds=300).returncode
        self._steps.run([*self._buildah, *arguments], log_name="images", cwd=PROJECT)
        return 0


def _built_code_server() -> dict[Path, str]:
    """What `make vscode` has built on this machine, if that is the same Debian: its native parts fit then."""
    there = environments()
    same = f"VERSION_CODENAME={DEBIAN}" in Path("/etc/os-release").read_text()
    if not (same and there.code_server.is_dir() and there.node_bin.is_dir()):
        return {}
    return {there.node_bin: "/opt/ark/node/bin", there.code_server / "node_modules": "/opt/ark/node_modules"}


def _debian_mirror() -> Sequence[str]:
    """The archive that this machine's own packages come from; none: debootstrap knows one."""
    targets = machine.run(["apt-get", "indextargets", "--format", "$(SITE)", f"Codename: {DEBIAN}", "Created-By: Packages"]).stdout.split()
    return targets[:1]


def _secrets(scratch: Path) -> dict[str, Path]:
    """How this machine reaches package indices, as files for the builds."""
    pip = configparser.ConfigParser()
    pip.read(["/etc/pip.conf", Path("~/.config/pip/pip.conf").expanduser(), Path("~/.pip/pip.conf").expanduser()])
    if not pip.has_section("global"):
        pip.add_section("global")
    for name in ("find-links", "cert"):  # places on this machine
        pip.remove_option("global", name)
    for variable, name in (
        ("PIP_INDEX_URL", "index-url"),
        ("PIP_EXTRA_INDEX_URL", "extra-index-url"),
        ("PIP_TRUSTED_HOST", "trusted-host"),
    ):
        if value := os.environ.get(variable):
            pip.set("global", name, value.replace("%", "%%"))
    npm = Path("~/.npmrc").expanduser()
    settings = npm.read_text().splitlines() if npm.exists() else []
    if registry := os.environ.get("NPM_CONFIG_REGISTRY") or os.environ.get("npm_config_registry"):
        settings.append(f"registry={registry}")
    with (scratch / "pip.conf").open("w") as file:
        pip.write(file)
    (scratch / "npmrc").write_text("\n".join(line for line in settings if not line.startswith("nodedir")) + "\n")
    found = {"pip": scratch / "pip.conf", "npm": scratch / "npmrc"}
    authorities = Path(os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt")
    return {**found, "ca": authorities} if authorities.is_file() else found
