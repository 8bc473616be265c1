"""The breaks: small, each such as a tired person could make, spread over all parts. ``tests`` are the files of the suite in which
somebody would look first for what notices it."""

from __future__ import annotations

from dataclasses import dataclass

DOMAIN, USECASES, CONSOLE, NETDISK = "ark_extensions/domain", "ark_extensions/usecases", "ark_extensions/console", "ark_extensions/netdisk"
UNIT, CONTRACT, INTEGRATION = "tests/unit", "tests/contract", "tests/integration"


@dataclass(frozen=True)
class Break:
    """``old``, which stands exactly once in ``file``, becomes ``new``."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


BREAKS = (
    Break(
        "a begun second is charged",
        f"{DOMAIN}/metering.py",
        "seconds = elapsed_micros(opened_at, until) // 1_000_000\n    return round_quotient(price_micros_per_hour * seconds",
        "seconds = -(-elapsed_micros(opened_at, until) // 1_000_000)\n    return round_quotient(price_micros_per_hour * seconds",
        (f"{UNIT}/test_domain.py", f"{UNIT}/test_platform_flow.py"),
    ),
    Break(
        "credit that expires last is spent first",
        f"{USECASES}/charges.py",
        "c.expires_at.is_(None), c.expires_at, c.created_at",
        "c.expires_at.is_(None), c.expires_at.desc(), c.created_at",
        (f"{UNIT}/test_credit.py", f"{UNIT}/test_purse.py"),
    ),
    Break(
        "a callback for another amount pays",
        f"{USECASES}/recharges.py",
        "row.amount_micros != amount_micros or currency != own_currency",
        "currency != own_currency",
        (f"{UNIT}/test_purse.py", f"{CONTRACT}/test_payments.py", f"{INTEGRATION}/test_payments.py"),
    ),
    Break(
        "a callback's signature never grows old",
        "ark_extensions/payments/stripe.py",
        "TOLERANCE_SECONDS = 300",
        "TOLERANCE_SECONDS = 30_000",
        (f"{CONTRACT}/test_payments.py", f"{INTEGRATION}/test_payments.py"),
    ),
    Break(
        "a run is charged up to now, seen or not",
        f"{USECASES}/charges.py",
        "until = row.closed_at or min(row.seen_at, now)",
        "until = row.closed_at or now",
        (f"{UNIT}/test_platform_flow.py", f"{UNIT}/test_domain.py", f"{UNIT}/test_purse.py"),
    ),
    Break(
        "the day of the netdisk begins an hour late",
        f"{USECASES}/netdisk_charges.py",
        "replace(hour=0, minute=0, second=0, microsecond=0)",
        "replace(hour=1, minute=0, second=0, microsecond=0)",
        (f"{UNIT}/test_netdisk_charges.py",),
    ),
    Break(
        "the storage of an empty wallet is kept a day less",
        f"{DOMAIN}/arrears.py",
        "return since + timedelta(days=keep_days)",
        "return since + timedelta(days=keep_days - 1)",
        (f"{UNIT}/test_purse.py", f"{UNIT}/test_domain.py"),
    ),
    Break(
        "the journal may be rewritten",
        "ark_extensions/storage/migrations/versions/0001_the_first_schema.py",
        "BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
        "BEGIN SELECT 1; END",
        (f"{UNIT}/test_journal.py", f"{CONTRACT}/test_databases.py"),
    ),
    Break(
        "PostgreSQL's writers do not take turns",
        "ark_extensions/storage/__init__.py",
        "SELECT pg_advisory_xact_lock({WRITE_LOCK})",
        "SELECT abs({WRITE_LOCK})",
        (f"{CONTRACT}/test_databases.py", f"{CONTRACT}/test_money_at_once.py"),
    ),
    Break(
        "a lease is given to two",
        f"{USECASES}/leases.py",
        "row.holder != holder and now < row.until",
        "row.holder == holder and now < row.until",
        (f"{UNIT}/test_billing_loop.py", f"{UNIT}/test_purse.py", f"{CONTRACT}/test_money_at_once.py"),
    ),
    Break(
        "another user's workspace may be started",
        f"{USECASES}/launches.py",
        "row is None or row.owner != owner or row.name != server_name",
        "row is None or row.name != server_name",
        (f"{UNIT}/test_platform_flow.py", f"{CONTRACT}/test_spawner.py"),
    ),
    Break(
        "a late report of an older start counts",
        f"{USECASES}/launches.py",
        "row is None or row.launch_id != launch_id or row.state in (State.RUNNING, State.STOPPING, State.RELEASED)",
        "row is None or row.state in (State.RUNNING, State.STOPPING, State.RELEASED)",
        (f"{UNIT}/test_platform_flow.py", f"{CONTRACT}/test_spawner.py"),
    ),
    Break(
        "a warning is given after the stop",
        f"{DOMAIN}/autostop.py",
        "if at - now <= before:",
        "if now - at >= before:",
        (f"{UNIT}/test_domain.py", f"{UNIT}/test_autostop_loop.py"),
    ),
    Break(
        "the options of a start may hold more than an id",
        "ark_spawner/options.py",
        'set(user_options) != {"workspace"}',
        '"workspace" not in user_options',
        (f"{UNIT}/test_options.py",),
    ),
    Break(
        "a workspace's token is good for every workspace",
        f"{CONSOLE}/api/dispatch.py",
        'if path.get("name") != principal.workspace:',
        'if path.get("name") is None:',
        (f"{INTEGRATION}/test_matrix.py",),
    ),
    Break(
        "a page of another origin may write",
        f"{CONSOLE}/handlers.py",
        "        if by_cookie:\n            self._prove_same_page()",
        "        if by_cookie and not owner:\n            self._prove_same_page()",
        (f"{INTEGRATION}/test_matrix.py",),
    ),
    Break(
        "a revoked token is believed for half an hour",
        "ark_extensions/web/tokens.py",
        "CACHE_SECONDS = 20.0",
        "CACHE_SECONDS = 2000.0",
        (f"{UNIT}/test_api_callers.py", f"{INTEGRATION}/test_api.py"),
    ),
    Break(
        "guesses of a password are not slowed down",
        "hub_config/authentication.py",
        "if tries.failures >= self._patience:",
        "if tries.failures >= self._remembered:",
        (f"{UNIT}/test_signin_throttle.py",),
    ),
    Break(
        "a dataset can be written to",
        "ark_spawner/sandbox.py",
        'line += ["--ro-bind", str(source), str(fs.item_path(mount))]',
        'line += ["--bind", str(source), str(fs.item_path(mount))]',
        (f"{UNIT}/test_sandbox.py", f"{INTEGRATION}/test_sandbox.py"),
    ),
    Break(
        "a pod has the cluster's token",
        "ark_spawner/pod.py",
        '"automountServiceAccountToken": False',
        '"automountServiceAccountToken": True',
        (f"{UNIT}/test_pod.py",),
    ),
    Break(
        "a workspace reaches the metadata address",
        "helm-values/ark/templates/policies.yaml",
        "{cidr: 0.0.0.0/0, except: {{ toJson .Values.network.blocked }}}",
        "{cidr: 0.0.0.0/0}",
        (f"{UNIT}/test_helm_values.py",),
    ),
    Break(
        "a volume that is not ours is deleted",
        "ark_extensions/volumes/kubernetes.py",
        "labels.get(INSTALLATION) != self._rules.installation or labels.get(WORKSPACE) != workspace_id",
        "labels.get(WORKSPACE) != workspace_id",
        (f"{CONTRACT}/test_volumes_contract.py",),
    ),
    Break(
        "a full system disk is called a lack of memory",
        "ark_spawner/cluster_rules.py",
        'r"Insufficient ephemeral-storage"',
        'r"Insufficient ephemeral-memory"',
        (f"{UNIT}/test_cluster_events.py",),
    ),
    Break(
        "a watch that died is taken for one that works",
        "ark_spawner/watching.py",
        "return task is None or bool(task.done()) or",
        "return task is None or",
        (f"{INTEGRATION}/test_kube_faults.py",),
    ),
    Break(
        "a link may lead out of the netdisk",
        f"{NETDISK}/kernel.py",
        "how = _How(flags | os.O_CLOEXEC, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)",
        "how = _How(flags | os.O_CLOEXEC, mode, RESOLVE_NO_MAGICLINKS)",
        (f"{UNIT}/test_netdisk_tree.py",),
    ),
    Break(
        "an upload is not synced before it is told",
        f"{NETDISK}/tree.py",
        "os.fsync(fd)",
        "os.fstat(fd)",
        (f"{UNIT}/test_netdisk_tree.py", f"{INTEGRATION}/test_netdisk_tus.py", f"{INTEGRATION}/test_netdisk_dav.py"),
    ),
    Break(
        "what crashed unsynced counts as uploaded",
        f"{NETDISK}/tus_files.py",
        "size if upload.boot_id == boot_id else min(size, upload.durable_bytes)",
        "size",
        (f"{UNIT}/test_netdisk_tree.py", f"{INTEGRATION}/test_netdisk_tus.py"),
    ),
    Break(
        "somebody else's key opens SSH",
        "ark_extensions/ssh/client.py",
        "if holder is None or holder.owner != username:",
        "if holder is None:",
        (f"{UNIT}/test_ssh_gateway.py", f"{INTEGRATION}/test_ssh_abuse.py"),
    ),
    Break(
        "any port of a workspace is reached by SSH",
        "ark_extensions/ssh/client.py",
        "if port != INNER_PORT:",
        "if port < 0:",
        (f"{UNIT}/test_ssh_gateway.py", f"{INTEGRATION}/test_ssh_abuse.py"),
    ),
    Break(
        "a failing pass is never slowed down",
        "ark_extensions/loop.py",
        "return every_seconds if failures == 0 else",
        "return every_seconds if failures >= 0 else",
        (f"{UNIT}/test_reconcile_loop.py", f"{UNIT}/test_autostop_loop.py", f"{UNIT}/test_billing_loop.py"),
    ),
    Break(
        "the disk is called deleted without an end of the recycle period",
        f"{USECASES}/reconciliation.py",
        "w.c.disk_deleted_at.is_(None), w.c.restorable_until <= now)",
        "w.c.disk_deleted_at.is_(None))",
        (f"{UNIT}/test_reconcile_loop.py", f"{UNIT}/test_platform_flow.py"),
    ),
    Break(
        "an event of one user goes to another's stream",
        f"{CONSOLE}/sse.py",
        "for subscription in self._open.get(event.owner, ()):",
        "for subscription in [s for mine in self._open.values() for s in mine]:",
        (f"{UNIT}/test_api_streams.py",),
    ),
    Break(
        "a job is not waited for",
        f"{CONSOLE}/handlers.py",
        "        await self.ark.greet(principal)",
        "        self.ark.greet(principal)",
        (f"{INTEGRATION}/test_api.py",),
    ),
    Break(
        "a sentence has no Chinese",
        f"{CONSOLE}/locale/zh/LC_MESSAGES/ark.po",
        'msgid "Stopped: the wallet is empty. Recharge, then start it again; its files are kept."\nmsgstr "',
        'msgid "Stopped: the wallet is empty. Recharge, then start it again; its files are kept."\nmsgstr ""\n# "',
        (f"{UNIT}/test_i18n.py", "tests/architecture"),
    ),
    Break(
        "a body of any length is gathered",
        "ark_extensions/web/bodies.py",
        "if self._left < 0:",
        "if self._left is None:",
        (f"{UNIT}/test_bodies.py",),
    ),
    Break(
        "the supervisor gives up a process that ends twice",
        "ark_extensions/supervisor/children.py",
        "FIRST_DELAY_SECONDS * 2.0 ** min(max(0, failures - 1), 10)",
        "FIRST_DELAY_SECONDS * 2000.0 ** min(max(0, failures - 1), 10)",
        (f"{UNIT}/test_supervisor.py",),
    ),
)
