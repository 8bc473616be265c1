"""What set-up and supervisor say, in the language of the terminal.

They speak before the translation catalogue can be read (it needs an environment), so theirs is a table of its own.
"""

from __future__ import annotations

import os


def language() -> str:
    """``zh`` when the terminal is Chinese, else ``en``."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def phrase(msgid: str, **params: object) -> str:
    """The sentence with its fields filled, in the terminal's language."""
    sentence = CHINESE.get(msgid, msgid) if language() == "zh" else msgid
    return sentence.format(**params) if params else sentence


NO_PYTHON = (
    "No Python 3.11 or newer that workspaces can see was found under /usr: install one with "
    "`sudo apt-get install -y python3.11 python3.11-venv`, or use a newer Debian or Ubuntu."
)
DISK_FULL = (
    "The disk of {place} is nearly full ({free} GiB free, {needed} GiB needed): free some space, or put the platform elsewhere "
    "with `make up DIR=…` and ARK_CACHE=…."
)
SANDBOX_PROBLEM = (
    "bubblewrap cannot run here ({why}), so a workspace could see this machine's files and other users' processes: allow user "
    "namespaces with `sudo sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0` (in a "
    "container, start that with --security-opt seccomp=unconfined), or, if everybody who signs in is trusted, start without "
    "the sandbox: `make up NO_SANDBOX=1`."
)
SESSIONS_LAST = (
    "The Hub does not answer: the browsers in which {name} is signed in stay so until its next start. "
    "If it runs already, repeat this command."
)
NO_SANDBOX = (
    "No sandbox: every workspace runs as this account, sees this machine's files and processes, and its read-only folders can be "
    "written. Only let people in whom you trust."
)
NEWER_DATABASE = (
    "The database was used by a later version of Ark, and this one cannot read its form. Nothing was changed. Start that version again, "
    "or put back the backup that was made before the upgrade: `ark restore`."
)
HUB_ELSEWHERE = (
    "The Hub's database is not in this state directory, so this is no installation on one machine. How a cluster is backed up stands in "
    "docs/operate.md."
)

CHINESE: dict[str, str] = {
    SESSIONS_LAST: "Hub 没有应答：{name} 已登录的浏览器在 Hub 下次启动时才会退出。如果 Hub 已在运行，请再执行一次此命令。",
    "Environment of the platform": "平台运行环境",
    "Environment for checks and tests": "检查与测试环境",
    "Environment of workspaces (JupyterLab)": "工作空间环境（JupyterLab）",
    "Environment of workspaces with PyTorch": "带 PyTorch 的工作空间环境",
    "Node 24": "Node 24",
    "Proxy and console assets": "代理与控制台静态资源",
    "Rules that the tests hold pages against": "测试检查页面所用的规则",
    "VS Code (a few minutes, once)": "VS Code（仅首次，需几分钟）",
    "Debian packages: {names}": "Debian 软件包：{names}",
    "done in {seconds} s": "完成，用时 {seconds} 秒",
    "Building what is missing in {cache}, once for all installations of this account.": "正在 {cache} 中构建缺少的环境，本账号的所有安装共用，只需一次。",
    "Another set-up is building in {cache}; waiting for it.": "另一个安装程序正在 {cache} 中构建，等待其完成。",
    "Interrupted. What was finished is kept: the next run goes on from there.": "已中断。已完成的部分会保留，下次从此处继续。",
    "“{title}” did not work out (its log: {log}).": "“{title}”未能完成（日志：{log}）。",
    "VS Code could not be built, so workspaces have JupyterLab only. {why}": "VS Code 构建失败，工作空间只能使用 JupyterLab。{why}",
    "VS Code is missing: workspaces have JupyterLab only. To build it: `make vscode`.": "缺少 VS Code：工作空间只能使用 JupyterLab。构建命令：`make vscode`。",
    "SSH is missing: workspaces cannot be entered by ssh. To have it: `apt-get install openssh-server`.": "缺少 SSH：无法用 ssh 进入工作空间。安装命令：`apt-get install openssh-server`。",
    "Most of the time goes to VS Code. To begin without it: Ctrl-C, then `make up NO_VSCODE=1`; later: `make vscode`.": (
        "大部分时间用于构建 VS Code。不想等待时：按 Ctrl-C，然后执行 `make up NO_VSCODE=1`；以后用 `make vscode` 构建。"
    ),
    "VS Code needs them; to start without it: `make up NO_VSCODE=1`.": "VS Code 需要它们；不使用 VS Code 启动：`make up NO_VSCODE=1`。",
    "Nothing was changed. To go on:": "尚未做任何更改。请先处理以下问题：",
    "a port is a number from 1 to 65535": "端口是 1 到 65535 之间的数字",
    NO_PYTHON: "在 /usr 下没有找到工作空间可用的 Python 3.11 或更高版本：请用 `sudo apt-get install -y python3.11 python3.11-venv` 安装，"
    "或使用更新的 Debian 或 Ubuntu。",
    "These packages are missing: {names}. Install them with `{command}`.": "缺少软件包：{names}。请用 `{command}` 安装。",
    SANDBOX_PROBLEM: "bubblewrap 无法在此运行（{why}），工作空间将能看到本机文件和其他用户的进程：请用 "
    "`sudo sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0` 允许用户命名空间"
    "（在容器中，请以 --security-opt seccomp=unconfined 启动容器）；如果所有登录者都可信，也可以不用沙箱启动：`make up NO_SANDBOX=1`。",
    NO_SANDBOX: "没有沙箱：所有工作空间都以本账号运行，能看到本机的文件和进程，只读目录也可写。请只允许您信任的人登录。",
    HUB_ELSEWHERE: "Hub 的数据库不在这个数据目录里，说明这不是单机安装。集群的备份方法见 docs/operate.md。",
    "{path} exists already: name a directory that does not.": "{path} 已经存在：请给出一个尚不存在的目录。",
    "{path} is there already, perhaps left by an attempt that was killed: remove it first.": "{path} 已经存在，可能是某次中断的操作留下的：请先删除它。",
    "The backup could not be made ({why}). Nothing is left of it.": "备份未能完成（{why}）。没有留下任何残余文件。",
    "The backup is in {path} ({size} MiB). It holds secrets: keep it like a password.": "备份已写入 {path}（{size} MiB）。其中包含密钥：请像密码一样保管。",
    "{path} is not empty: a restore writes only where nothing is. Move it away first.": "{path} 不是空目录：恢复只写入空的位置。请先把它移开。",
    "The backup could not be put back ({why}). Nothing was changed.": "备份未能恢复（{why}）。尚未做任何更改。",
    "The backup of {at} UTC is in {path}. Start it with `make up DIR={path}`.": "{at} UTC 的备份已恢复到 {path}。用 `make up DIR={path}` 启动。",
    "{name} is damaged": "{name} 已损坏",
    "its PostgreSQL database is not empty: make a new one, and name it in ARK_DATABASE_URL or ark.yaml": "它的 PostgreSQL 数据库不是空的：请新建一个，并写入 ARK_DATABASE_URL 或 ark.yaml",
    "{path} is no backup, or not a whole one: it has no manifest.json.": "{path} 不是备份，或不完整：缺少 manifest.json。",
    NEWER_DATABASE: "数据库已被更新版本的 Ark 使用过，本版本无法读取其结构。尚未做任何更改。请重新启动那个版本，或恢复升级前的备份：`ark restore`。",
    "Port {port} on {host} is taken by another program: choose a free one with `make up PORT={other}`.": "{host} 的端口 {port} 已被其他程序占用：请换一个空闲端口，例如 `make up PORT={other}`。",
    "{place} cannot be written to: choose another place with `make up {option}…`, or change its owner.": "{place} 不可写：请用 `make up {option}…` 换一个位置，或更改其属主。",
    DISK_FULL: "{place} 所在的磁盘快满了（剩余 {free} GiB，需要 {needed} GiB）：请清理空间，或用 `make up DIR=…` 和 ARK_CACHE=… 换到别处。",
    "Ark already runs on {dir} at {address}: stop it with `make down DIR={dir}`.": "Ark 已在 {dir} 上运行，地址 {address}：用 `make down DIR={dir}` 停止它。",
    "Ark does not run on {dir}.": "Ark 没有在 {dir} 上运行。",
    "No free port was found between {low} and {high}: stop other programs.": "在 {low} 到 {high} 之间没有空闲端口：请停止其他程序。",
    "Port {port}, on which running workspaces expect the Hub, is taken by another program: stop that one, then start again.": "正在运行的工作空间要通过端口 {port} 访问 Hub，但它已被其他程序占用：请停止该程序后再启动。",
    "The proxy is not installed yet: `make up` installs what is missing.": "代理尚未安装：`make up` 会安装缺少的部分。",
    "offers, images and disk sizes": "算力规格、镜像与数据盘规格",
    "the demo dataset and model (scikit-learn's handwritten digits)": "示例数据集与模型（scikit-learn 手写数字）",
    "Port {port} for SSH is taken by another program: the platform starts without SSH; set another ssh_port in ark.yaml.": "SSH 端口 {port} 已被其他程序占用：平台启动后没有 SSH；请在 ark.yaml 中设置另一个 ssh_port。",
    "Preparing: {what} …": "正在准备：{what} …",
    "Ark is ready: {address}   ({seconds} s)": "Ark 已就绪：{address}   （{seconds} 秒）",
    "Sign in as {name} with the password {password}": "登录用户名 {name}，密码 {password}",
    "Sign in as {name} with the password you chose.": "登录用户名 {name}，密码为您自己设置的密码。",
    "Sign in with your account at {provider}.": "请使用您在 {provider} 的账号登录。",
    "No administrator is set: add one with {command}.": "尚未设置管理员：用 {command} 添加。",
    "It runs until Ctrl-C or `make down`. State: {dir}": "按 Ctrl-C 或运行 `make down` 停止。数据目录：{dir}",
    "Stopping: workspaces first, then the platform …": "正在停止：先停止工作空间，再停止平台 …",
    "Still stopping: workspaces are being stopped in order.": "仍在停止：正在依次停止工作空间。",
    "Ark has stopped. Workspaces, files and money are kept.": "Ark 已停止。工作空间、文件和余额均已保留。",
    "Ark has stopped ({seconds} s). Workspaces, files and money are kept.": "Ark 已停止（{seconds} 秒）。工作空间、文件和余额均已保留。",
    "It has not stopped within {seconds} s. Its log: {log}": "{seconds} 秒内未能停止。日志：{log}",
    "{name} did not stop within {seconds} s and was ended.": "{name} 未在 {seconds} 秒内停止，已强制结束。",
    "{name} ended ({code}); it is started again in {seconds} s. Log: {log}": "{name} 已退出（{code}）；将在 {seconds} 秒后重新启动。日志：{log}",
    "The platform did not answer within {seconds} s. Its logs: {logs}": "平台在 {seconds} 秒内没有响应。日志：{logs}",
    "The end of {log}:": "{log} 的末尾：",
    "The one who started this did not wait for it.": "启动者没有等待启动完成。",
    # what `ark doctor` finds
    "It cannot be read ({reason}).": "无法读取（{reason}）。",
    "Check database_url in ark.yaml, and that the server runs. If the data is lost: `ark restore`.": "请检查 ark.yaml 中的 database_url，并确认数据库服务器正在运行。如果数据已丢失：`ark restore`。",
    "It answers and has the present form.": "有响应，结构是最新的。",
    "A later version of Ark has used it: this one cannot.": "它已被更新版本的 Ark 使用过，本版本不能使用。",
    "Start that version again, or put the backup from before it back: `ark restore`.": "请重新启动那个版本，或恢复升级前的备份：`ark restore`。",
    "It has an older form than this version of Ark needs.": "它的结构比本版本 Ark 需要的旧。",
    "Start the platform once: `make up`. In a cluster: `ark prepare`.": "请启动一次平台：`make up`。在集群中：`ark prepare`。",
    "The clock here and what is on record differ by {seconds} s.": "本机时钟与记录相差 {seconds} 秒。",
    "Set it by NTP on every machine (`timedatectl`): deadlines and charges follow it.": "请在每台机器上用 NTP 校时（`timedatectl`）：自动停止和计费都依赖它。",
    "It is {now} UTC here, and nothing on record says otherwise.": "本机时间为 {now} UTC，与记录一致。",
    "{count} differences.": "有 {count} 处差异。",
    "The books are right: 0 differences.": "账目无误：0 处差异。",
    "Posting is halted since {at} UTC; {waiting} postings wait. The audit found:": "自 {at} UTC 起记账已暂停，有 {waiting} 笔待记。审计发现：",
    "Keep a copy of the database and look for the cause; then `ark books resume --reason …` lets posting go on.": (
        "请先保留一份数据库副本并查找原因，再用 `ark books resume --reason …` 恢复记账。"
    ),
    "accepted: {what}": "已接受：{what}",
    "Posting goes on; {count} postings had waited. Mend mistakes with `ark user correct`.": (
        "记账已恢复，补记 {count} 笔。如有错账，请用 `ark user correct` 更正。"
    ),
    "See `ark books check`, and report them: this must never be.": "请查看 `ark books check` 并报告：这绝不应发生。",
    "Every balance and charge recomputes to what is kept.": "每笔余额和收费重新计算后都与记录一致。",
    "Halted since {at} UTC; {waiting} postings wait.": "自 {at} UTC 起已停止记账；{waiting} 笔记账在等待。",
    "Look for the cause with `ark books check`; then `ark books resume --reason …` lets posting go on.": "请用 `ark books check` 查找原因，然后用 `ark books resume --reason …` 恢复记账。",
    "`make up` makes offers for this machine; in a cluster `ark prepare` does.": "`make up` 会按本机生成算力规格；在集群中由 `ark prepare` 生成。",
    "No offer is on sale: nobody can start anything.": "没有在售的算力规格：谁也无法启动。",
    "The machines have become smaller, or are gone: `make up` reads them anew, in a cluster the reconciler does.": "机器变小了或不在了：`make up` 会重新读取，在集群中由 reconcile 读取。",
    "None of {count} offers fits on any machine.": "{count} 种算力规格在任何机器上都放不下。",
    "It comes back when workspaces stop or monthly compute ends; or add machines.": "工作空间停止或包月到期后会恢复；也可以增加机器。",
    "All {count} offers are sold out now.": "{count} 种算力规格目前全部售罄。",
    "{free} of {count} offers can be started now.": "{count} 种算力规格中有 {free} 种现在可以启动。",
    "Each one's state has been confirmed within two minutes.": "每个工作空间的状态都在两分钟内得到确认。",
    "{count} have not been confirmed for two minutes: {names}.": "有 {count} 个已超过两分钟未得到确认：{names}。",
    "The Hub or the reconciler does not see them: look at their logs, and restart the Hub. Workspaces go on, none is overcharged.": "Hub 或 reconcile 看不到它们：请查看它们的日志并重启 Hub。工作空间会继续运行，也不会多收费。",
    "Stop the platform and put a backup back: `ark restore`.": "请停止平台并恢复备份：`ark restore`。",
    "It answers: {users} users have signed in.": "有响应：已有 {users} 个用户登录过。",
    "Only let people in whom you trust, or set sandbox: true.": "请只允许您信任的人登录，或设置 sandbox: true。",
    "Off: workspaces see this machine and each other.": "已关闭：工作空间能看到本机和彼此。",
    "bubblewrap is not installed.": "未安装 bubblewrap。",
    "Run `sudo apt-get install -y bubblewrap`.": "请运行 `sudo apt-get install -y bubblewrap`。",
    "Allow user namespaces: `{command}`.": "请允许用户命名空间：`{command}`。",
    "bubblewrap cannot run ({why}).": "bubblewrap 无法运行（{why}）。",
    "bubblewrap runs.": "bubblewrap 可以运行。",
    "Limits of {names} cannot be enforced here: a workspace can use more than it bought.": "这里无法限制 {names}：工作空间可能用得比购买的多。",
    "Run Ark as root, or in a systemd unit with Delegate=yes.": "请以 root 运行 Ark，或在设置了 Delegate=yes 的 systemd 单元中运行。",
    "CPU, memory and process limits can be enforced.": "可以限制 CPU、内存和进程数。",
    "{count} found: {models}.": "找到 {count} 块：{models}。",
    "No NVIDIA driver answers: CPU offers only.": "没有 NVIDIA 驱动响应：只有 CPU 规格。",
    "With a GPU in the machine: install its driver.": "如果机器上有 GPU：请安装驱动。",
    "The environment of workspaces is not built.": "工作空间环境尚未构建。",
    "Run `make up`.": "请运行 `make up`。",
    "The environment of workspaces is there.": "工作空间环境已就绪。",
    "VS Code is there.": "VS Code 已就绪。",
    "VS Code is missing: workspaces have JupyterLab only.": "缺少 VS Code：工作空间只能使用 JupyterLab。",
    "Run `make vscode`.": "请运行 `make vscode`。",
    "{gib} GiB are free in {path}.": "{path} 剩余 {gib} GiB。",
    "Free some space: a full disk stops workspaces and the books. `du -sh {path}/*` says who has it.": "请清理空间：磁盘满会使工作空间和记账停止。`du -sh {path}/*` 可查看谁占用了空间。",
    "Only {files} more files fit in {path}.": "{path} 只能再放 {files} 个文件。",
    "It answers at {place}.": "在 {place} 有响应。",
    "It does not answer at {place}.": "在 {place} 没有响应。",
    "Look at its pod's log and events.": "请查看它的 pod 的日志和事件。",
    "The platform does not run.": "平台没有运行。",
    "Start it with `make up`.": "请用 `make up` 启动。",
    "It ends as often as it is started.": "每次启动后都会退出。",
    "Its last pass ended {seconds} s ago.": "上一轮在 {seconds} 秒前完成。",
    "It has not finished a pass for five minutes.": "五分钟没有完成一轮。",
    "Another program answers at {place}.": "在 {place} 响应的是另一个程序。",
    "Set another ssh_port in ark.yaml, and start the platform again.": "请在 ark.yaml 中设置另一个 ssh_port，然后重新启动平台。",
    "See {log}.": "请查看 {log}。",
    "Check the setting kubernetes.kubeconfig, or the pod's service account.": "请检查设置 kubernetes.kubeconfig，或 pod 的服务账号。",
    "The API at {server} answers.": "{server} 的 API 有响应。",
    "Install or upgrade helm-values/ark, which grants what is needed.": "请安装或升级 helm-values/ark，它会授予所需权限。",
    "Try again; if it stays, ask who runs the cluster.": "请重试；如果仍然如此，请联系集群管理员。",
    "Look for cordons, taints and conditions with `kubectl describe nodes`, and at node_selector and tolerations.": "请用 `kubectl describe nodes` 查看 cordon、taint 和状态，并检查 node_selector 与 tolerations。",
    "None of {count} nodes takes workspaces.": "{count} 个节点都不接受工作空间。",
    "{nodes} of {count} nodes take workspaces; {gpus} GPUs are not in other pods' hands.": "{count} 个节点中有 {nodes} 个接受工作空间；{gpus} 块 GPU 未被其他 pod 占用。",
    "With GPUs in them: install the GPU operator, and check gpu_resource ({resource}).": "如果节点上有 GPU：请安装 GPU operator，并检查 gpu_resource（{resource}）。",
    "{nodes} of {count} nodes take workspaces; none has a GPU to sell.": "{count} 个节点中有 {nodes} 个接受工作空间；没有可出售的 GPU。",
    "There is no storage class {name}.": "没有存储类 {name}。",
    "The cluster has no default storage class.": "集群没有默认存储类。",
    "Name one in kubernetes.storage_class: see `kubectl get storageclass`.": "请在 kubernetes.storage_class 中指定一个：见 `kubectl get storageclass`。",
    "Data disks are made by {name}, and can grow.": "数据盘由 {name} 创建，可以扩容。",
    "Data disks are made by {name}, which cannot grow them.": "数据盘由 {name} 创建，不能扩容。",
    "Set allowVolumeExpansion, if it is able to.": "如果它支持，请设置 allowVolumeExpansion。",
    "There is no claim {name}, on which netdisks and the catalogue lie.": "没有存放网盘和目录的 PVC {name}。",
    "See `{command}`.": "请查看 `{command}`。",
    "The claim {name} is {phase}.": "PVC {name} 的状态是 {phase}。",
    "The claim {name} can be used on one node only.": "PVC {name} 只能在一个节点上使用。",
    "With more nodes: use a ReadWriteMany class.": "有多个节点时：请使用 ReadWriteMany 的存储类。",
    "The claim {name} is bound, for many nodes.": "PVC {name} 已绑定，可供多个节点使用。",
    "Set priority_class_monthly and priority_class_payg.": "请设置 priority_class_monthly 和 priority_class_payg。",
    "Monthly compute has no priority.": "包月算力没有优先级。",
    "There is no priority class {names}: such workspaces cannot start.": "没有优先级类 {names}：对应的工作空间无法启动。",
    "Monthly compute has no higher priority than pay-as-you-go.": "包月算力的优先级不高于按量付费。",
    "Give its class a higher value.": "请提高它的优先级类的数值。",
    "Monthly compute goes before pay-as-you-go.": "包月算力优先于按量付费。",
    "Install helm-values/ark with network.enabled, and a network plugin that enforces policies.": "请在 helm-values/ark 中启用 network.enabled，并使用能执行网络策略的网络插件。",
    "No network policy holds workspaces: they reach each other and the cluster.": "没有约束工作空间的网络策略：它们能访问彼此和集群。",
    "Add {address} to network.blocked in the values of helm-values/ark.": "请把 {address} 加入 helm-values/ark 的 network.blocked。",
    "Workspaces can reach {what} at {address}.": "工作空间能访问 {address} 上的{what}。",
    "A network policy holds workspaces; whether it is enforced is up to the cluster's network plugin.": "有网络策略约束工作空间；是否执行取决于集群的网络插件。",
    "the cloud's metadata service": "云的元数据服务",
    "the node {name}": "节点 {name}",
    "the Kubernetes API": "Kubernetes API",
}
