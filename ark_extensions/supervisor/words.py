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
NO_SANDBOX = (
    "No sandbox: every workspace runs as this account, sees this machine's files and processes, and its read-only folders can be "
    "written. Only let people in whom you trust."
)
NEWER_DATABASE = (
    "The database was used by a later version of Ark, and this one cannot read its form. Nothing was changed. Start that version again, "
    "or put back the backup that was made before the upgrade: `ark restore`."
)

CHINESE: dict[str, str] = {
    "Environment of the platform": "平台运行环境",
    "Environment for checks and tests": "检查与测试环境",
    "Environment of workspaces (JupyterLab)": "工作空间环境（JupyterLab）",
    "Environment of workspaces with PyTorch": "带 PyTorch 的工作空间环境",
    "Node 24": "Node 24",
    "Proxy and console assets": "代理与控制台静态资源",
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
}
