"""Every setting of the platform, typed and documented, from one YAML file and the environment.

``ARK_SETTINGS`` names the YAML file (default: ``<state_dir>/ark.yaml``); each setting can be overridden by an
environment variable ``ARK_<NAME>`` (nested: ``ARK_MIRRORS__PIP_INDEX_URL``). A test keeps ``docs/settings.md`` complete.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from ark_extensions.domain.files import GIB, Limits
from ark_extensions.domain.money import parse_amount

Port = Annotated[int, Field(ge=1, le=65535)]
DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"


class Mirrors(BaseModel):
    """Mirrors that reach every kernel, terminal and editor of a workspace."""

    model_config = ConfigDict(extra="forbid")
    git_instead_of: dict[str, str] = Field(default_factory=dict, description="git `insteadOf`: original URL prefix → mirror URL prefix")
    pip_index_url: str | None = Field(None, description="PyPI mirror for pip and uv")
    conda_channel_alias: str | None = Field(None, description="conda channel alias")
    hf_endpoint: str | None = Field(None, description="Hugging Face endpoint")
    npm_registry: str | None = Field(None, description="npm registry")


class Ports(BaseModel):
    """Internal ports on 127.0.0.1. `ark up` chooses free ones at the first start and keeps them in the state directory."""

    model_config = ConfigDict(extra="forbid")
    hub: Port = Field(8081, description="the Hub's API, which workspaces call")
    proxy_api: Port = Field(8001, description="configurable-http-proxy's API")
    console: Port = Field(8002, description="the console service")
    netdisk: Port = Field(8003, description="the netdisk service")


class Payments(BaseModel):
    """Ways for users to pay in. Keys are files in the secrets directory: `stripe_secret_key`, `stripe_webhook_secret`,
    `alipay_private_key`, `alipay_public_key`."""

    model_config = ConfigDict(extra="forbid")
    providers: list[Literal["manual", "stripe", "alipay"]] = Field(
        default_factory=list, description="what the recharge page offers, in this order"
    )
    manual_instructions: str = Field("", description="for `manual`: the account to transfer to; the reference is added")
    alipay_app_id: str = Field("", description="for `alipay`: the application's id")


class Mail(BaseModel):
    """Where notices are mailed from (SMTP). The password is the file `smtp_password` in the secrets directory."""

    model_config = ConfigDict(extra="forbid")
    host: str = Field(description="SMTP server")
    port: Port = Field(587, description="its port")
    sender: str = Field(description="From: address")
    user: str | None = Field(None, description="user name at the server; none: no sign-in")
    starttls: bool = Field(True, description="encrypt with STARTTLS")


class OAuth(BaseModel):
    """Sign-in through an identity provider instead of the platform's own passwords (oauthenticator). The client's secret is the file
    `oauth_client_secret` in the secrets directory. With `oauth`, nobody is an administrator unless `administrators` or the option
    `admin_groups` says so, and nobody is admitted unless `allowed_users`, `allowed_groups` or `allow_all` does."""

    model_config = ConfigDict(extra="forbid")
    provider: str = Field(description="an oauthenticator entry point: generic-oauth, github, gitlab, google, …")
    issuer: str | None = Field(
        None, description="for `generic-oauth`: the OpenID Connect provider's address; its endpoints and keys are read from there"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="traits of that authenticator: client_id, allowed_users, admin_groups, username_claim, …"
    )

    @field_validator("issuer")
    @classmethod
    def _cannot_be_overheard(cls, issuer: str | None) -> str | None:
        if issuer is not None and not issuer.startswith(("https://", "http://localhost:", "http://127.0.0.1:")):
            raise ValueError("an issuer's address begins with https://")
        return issuer


class Kubernetes(BaseModel):
    """The cluster that workspaces run in, for the runtime `kubernetes`. Sub-paths fill in `{user}` (a directory name made of the
    user's name), `{kind}`, `{name}` and `{version}`; one claim may serve both the netdisks and the catalogue."""

    model_config = ConfigDict(extra="forbid")
    namespace: str = Field("ark", description="namespace of the workspaces' pods and claims")
    installation: str = Field(
        "ark", pattern=DNS_LABEL, description="marks what this installation makes in the namespace; nothing without the mark is touched"
    )
    kubeconfig: Path | None = Field(None, description="kubeconfig of the cluster; none: the service account of the pod that Ark runs in")
    request_timeout_seconds: int = Field(10, ge=1, le=300, description="a request to the Kubernetes API that takes longer is tried again")
    storage_class: str | None = Field(None, description="storage class of data disks; none: the cluster's default one")
    data_disk_access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"] = Field(
        "ReadWriteOnce", description="access mode of data disks"
    )
    netdisk_claim: str = Field("ark-files", description="claim (ReadWriteMany) with all netdisks")
    netdisk_sub_path: str = Field("netdisk/{user}/data", description="where in that claim a user's `data` directory is")
    catalogue_claim: str = Field("ark-files", description="claim (ReadWriteMany or ReadOnlyMany) with datasets and models")
    catalogue_sub_path: str = Field("catalog/{kind}/{name}/{version}", description="where in that claim a dataset's or model's version is")
    images: dict[str, str] = Field(
        default_factory=dict, description="the catalogue's image reference → the image that the cluster pulls; others are used as they are"
    )
    image_environment: str = Field("/opt/ark/python", description="directory of the Python environment inside the images")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field("IfNotPresent", description="when images are pulled")
    image_pull_seconds: int = Field(1800, ge=0, description="how long pulling an image may take beside `start_timeout_seconds`")
    image_pull_secrets: list[str] = Field(default_factory=list, description="names of secrets to pull images with")
    gpu_resource: str = Field("nvidia.com/gpu", description="extended resource of one GPU")
    gpu_resources: dict[str, str] = Field(default_factory=dict, description="GPU model → its extended resource, where it is another")
    gpu_label: str = Field("nvidia.com/gpu.product", description="node label that tells the GPU model")
    gpu_memory_label: str = Field("nvidia.com/gpu.memory", description="node label that tells the memory of one GPU, in MiB")
    gpu_models: dict[str, str] = Field(
        default_factory=dict, description="value of that label → the model as offers name it; others are taken as they are"
    )
    gpu_runtime_class: str | None = Field(None, description="runtime class of workspaces with GPUs, `nvidia` for example")
    runtime_class: str | None = Field(None, description="runtime class of other workspaces, `gvisor` for example")
    reserve_vcpu: float = Field(0.0, ge=0, description="processors of each node that are kept back from offers")
    reserve_memory_mib: int = Field(0, ge=0, description="memory of each node that is kept back from offers")
    node_selector: dict[str, str] = Field(default_factory=dict, description="labels of the nodes that workspaces run on")
    tolerations: list[dict[str, Any]] = Field(
        default_factory=lambda: [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        description="tolerations of all workspaces: a machine with GPUs may have room for one without",
    )
    system_disk_gib: int = Field(150, ge=1, description="system disk (ephemeral storage) of an offer that names none")
    priority_class_payg: str | None = Field(None, description="priority class of pay-as-you-go workspaces")
    priority_class_monthly: str | None = Field(None, description="priority class of workspaces on monthly compute: a higher one")
    pod_overrides: dict[str, Any] = Field(default_factory=dict, description="merged into the `spec` of every workspace's pod")


class Settings(BaseSettings):
    """The whole configuration of one installation."""

    model_config = SettingsConfigDict(env_prefix="ARK_", env_nested_delimiter="__", extra="forbid")

    state_dir: Path = Field(Path(".ark"), description="where all state lives: databases, data disks, netdisks, catalogue, logs")
    runtime: Literal["local", "kubernetes"] = Field("local", description="where workspaces run")
    kubernetes: Kubernetes = Field(default_factory=Kubernetes, description="the cluster, when workspaces run in one")
    host: str = Field("127.0.0.1", description="the address the proxy listens on")
    port: Port = Field(8000, description="the port people open in the browser")
    public_url: str | None = Field(None, description="the address people open, when another proxy stands in front")
    ports: Ports = Field(default_factory=Ports, description="internal ports")
    listen_host: str = Field("127.0.0.1", description="the address that the Hub's API, the console and the netdisk listen on")
    hub_url: str | None = Field(
        None, description="the Hub as services and workspaces reach it, without a path; default: its port on 127.0.0.1"
    )
    services_host: str = Field("127.0.0.1", description="the host by which the proxy, the Hub and workspaces reach console and netdisk")
    database_url: str | None = Field(None, description="SQLAlchemy URL of the platform's database; default: SQLite in the state directory")
    currency: str = Field("CNY", pattern="^[A-Z]{3}$", description="ISO 4217 code of the one currency of this installation")
    language: Literal["zh", "en"] = Field("zh", description="language of the console before a user chooses")
    administrators: list[str] = Field(default_factory=lambda: ["admin"], description="user names with the admin pages")
    oauth: OAuth | None = Field(None, description="sign-in through an identity provider")
    opening_credit: str = Field("100.00", description="gift to each new user, in the currency")
    max_workspaces_per_user: int = Field(20, ge=1, le=1000, description="workspaces a user can have, stopped ones included")
    netdisk_free_gib: int = Field(10, ge=0, description="netdisk space that costs nothing, for each user")
    netdisk_charge: Literal["mean", "max"] = Field(
        "mean", description="what a day on the netdisk is charged on: the mean of its hours or its maximum"
    )
    netdisk_limit_gib: int = Field(1024, ge=1, description="netdisk space that a user can fill, trash and unfinished uploads included")
    netdisk_max_files: int = Field(5_000_000, ge=1000, description="files and folders that a user's netdisk can hold")
    netdisk_trash_days: int = Field(14, ge=0, le=365, description="days in which what was deleted on the netdisk's page can be restored")
    netdisk_upload_days: int = Field(3, ge=1, le=30, description="days in which an interrupted upload can be resumed")
    data_disk_default_gib: int = Field(10, ge=1, description="size of /home/user when no data disk is bought")
    arrears_keep_days: int = Field(
        14, ge=1, le=365, description="days in which the data disks of an empty wallet are kept before they are released"
    )
    term_conversion_percent: int = Field(
        0,
        ge=0,
        le=100,
        description="monthly compute can be given up early: so much percent of what its days not begun cost in money goes back "
        "to the wallet; 0: it cannot",
    )
    recycle_days: int = Field(7, ge=0, le=365, description="days in which a released workspace can be restored")
    payments: Payments = Field(default_factory=Payments, description="ways to pay in")
    mail: Mail | None = Field(None, description="notices by e-mail")
    webhook_url: str | None = Field(
        None, description="where notices are posted as JSON, signed with the file `webhook_secret` in the secrets directory"
    )
    mirrors: Mirrors = Field(default_factory=Mirrors, description="mirrors for git, pip, conda, Hugging Face, npm inside workspaces")
    sandbox: bool = Field(True, description="run workspaces in bubblewrap; false only where it cannot run and everybody is trusted")
    reserve_memory_mib: int = Field(1024, ge=0, description="memory kept back from offers for the platform itself")
    start_timeout_seconds: int = Field(120, ge=10, description="a workspace that is not ready by then has failed to start")
    settle_interval_seconds: int = Field(3600, ge=1, description="how often running usage is charged")
    ssh_enabled: bool = Field(True, description="run the SSH gateway; off also where `sandbox` is off")
    ssh_port: Port = Field(2222, description="the port of the SSH gateway, which people's `ssh -J` names")
    ssh_host: str | None = Field(None, description="the address the SSH gateway listens on; default: `host`")
    ssh_public_host: str | None = Field(None, description="the gateway's name in the SSH commands shown; default: the host people open")
    ssh_sessions_per_user: int = Field(256, ge=1, description="SSH sessions a user can have open at once")
    ssh_activity_seconds: int = Field(60, ge=1, le=120, description="how often the traffic of SSH sessions is looked at, for idle stop")
    ssh_keepalive_seconds: float = Field(
        60, gt=0, le=3600, description="how often the SSH gateway asks a silent client whether it is there; it gives up after five"
    )
    ssh_attempts_per_minute: int = Field(120, ge=1, description="SSH connections an address may begin in a minute without signing in")
    ssh_unauthenticated_max: int = Field(300, ge=1, description="SSH connections of all addresses that have not signed in yet")
    cache_dir: Path = Field(
        Path("~/.cache/ark").expanduser(), description="built environments, shared by all state directories of this account"
    )

    @field_validator("opening_credit")
    @classmethod
    def _opening_credit(cls, text: str) -> str:
        if parse_amount(text) < 0:
            raise ValueError("is negative")
        return text

    @field_validator("state_dir", "cache_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().resolve()

    @property
    def opening_credit_micros(self) -> int:
        return parse_amount(self.opening_credit)

    @property
    def netdisk_limits(self) -> Limits:
        """Of a user for whom an operator has set no others."""
        return Limits(self.netdisk_limit_gib * GIB, self.netdisk_max_files, self.netdisk_free_gib * GIB)

    @property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.state_dir / 'ark.sqlite'}"

    @property
    def hub_api_url(self) -> str:
        return f"{self.hub_url or f'http://127.0.0.1:{self.ports.hub}'}/hub/api"

    @cached_property
    def base_url(self) -> str:
        return self.public_url or f"http://{self.host}:{self.port}"

    def secret(self, name: str) -> str:
        """A generated secret of this installation, from ``<state_dir>/secrets/<name>`` (written by `ark up`)."""
        return (self.state_dir / "secrets" / name).read_text().strip()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get("ARK_SETTINGS") or str(Path(os.environ.get("ARK_STATE_DIR", ".ark")) / "ark.yaml")
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=path)
