/* The workspace's status in JupyterLab: what it has cost, when it stops, and the means to change that.
 *
 * Written by hand as one module-federation container: nothing is built. JupyterLab calls init() with the packages it
 * shares, then get('./extension') for the plugin. Talks to the server extension ark_workspace (ark/status, …).
 */
(() => {
  'use strict';

  const POLL_MS = 30000;
  const TICK_MS = 1000;
  const WARN_MINUTES = [5, 15];

  const EN = {
    stopsIn: 'stops in {time}',
    idleIn: 'stops in {time} if idle',
    noStop: 'no auto-stop',
    stopping: 'stopping…',
    unreachable: 'Ark: no answer',
    unreachableWhy: 'The platform does not answer now. Your work goes on; this is tried again.',
    label: 'Workspace: cost and stop time',
    extend1: 'Extend by 1 hour',
    extend4: 'Extend by 4 hours',
    set1: 'Stop in 1 hour',
    set4: 'Stop in 4 hours',
    hold: 'Cancel auto-stop',
    here: 'I am working (restart the idle time)',
    stop: 'Stop the workspace…',
    stopTitle: 'Stop the workspace?',
    stopBody: 'Kernels, terminals and everything outside /home/user and the netdisk end. Files in /home/user stay.',
    stopButton: 'Stop',
    warn: 'This workspace stops in {time}. Save your work, or extend it.',
    warnIdle: 'Nothing has run here for a while: the workspace stops in {time}.',
    extend: 'Extend 1 h',
    hereShort: 'I am working',
    stopped: 'The workspace is being stopped.',
    extended: 'The workspace now stops at {time}.',
    held: 'The workspace does not stop by itself any more.',
    failed: 'That did not work. {why}',
    h: 'h',
    min: 'min',
    s: 's'
  };
  const ZH = {
    stopsIn: '{time}后停止',
    idleIn: '若空闲，{time}后停止',
    noStop: '不自动停止',
    stopping: '正在停止…',
    unreachable: 'Ark：无响应',
    unreachableWhy: '平台暂时没有响应。您的工作不受影响，稍后会自动重试。',
    label: '工作空间：费用与停止时间',
    extend1: '延长 1 小时',
    extend4: '延长 4 小时',
    set1: '1 小时后停止',
    set4: '4 小时后停止',
    hold: '取消自动停止',
    here: '我在使用（重新计算空闲时间）',
    stop: '停止工作空间…',
    stopTitle: '停止工作空间？',
    stopBody: '内核、终端以及 /home/user 和网盘之外的内容都会消失，/home/user 中的文件会保留。',
    stopButton: '停止',
    warn: '工作空间将在{time}后停止。请保存工作，或者延长时间。',
    warnIdle: '工作空间已空闲一段时间，将在{time}后停止。',
    extend: '延长 1 小时',
    hereShort: '我在使用',
    stopped: '工作空间正在停止。',
    extended: '工作空间将在 {time} 停止。',
    held: '工作空间不再自动停止。',
    failed: '操作没有成功。{why}',
    h: ' 小时 ',
    min: ' 分钟',
    s: ' 秒'
  };

  let shared = null;

  /** A package that JupyterLab shares, in the version it has. */
  async function use(name) {
    const versions = shared[name];
    if (!versions) {
      throw new Error(`JupyterLab does not share ${name}`);
    }
    const entry = Object.values(versions).find(one => one.loaded) || Object.values(versions)[0];
    return (await entry.get())();
  }

  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  }

  function span(ms, words) {
    const seconds = Math.max(0, Math.round(ms / 1000));
    if (seconds < 60) {
      return `${seconds}${words === ZH ? words.s : ' ' + words.s}`;
    }
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    if (words === ZH) {
      return (hours ? `${hours}${words.h}` : '') + (minutes % 60 || !hours ? `${minutes % 60}${words.min}` : '').trimStart();
    }
    return [hours ? `${hours} ${words.h}` : '', minutes % 60 || !hours ? `${minutes % 60} ${words.min}` : ''].filter(Boolean).join(' ');
  }

  function money(cost) {
    const sign = { CNY: '¥', USD: '$', EUR: '€' }[cost.currency];
    const amount = Number(cost.amount).toFixed(2); // only shown: the platform counts in whole micros
    return sign ? `${sign}${amount}` : `${amount} ${cost.currency}`;
  }

  /** The workspace's record and what can be asked of the server; calls `changed` after every answer. */
  class Status {
    constructor(connection, services, coreutils, language, changed) {
      this._connection = connection;
      this._services = services;
      this._coreutils = coreutils;
      this._language = language;
      this._changed = changed;
      this._skew = 0;
      this.record = null;
      this.problem = null;
    }

    async call(path, body) {
      const url = this._coreutils.URLExt.join(this._connection.baseUrl, 'ark', path);
      const init = { headers: { 'Accept-Language': this._language } };
      if (body !== undefined) {
        Object.assign(init, { method: 'POST', body: JSON.stringify(body) });
      }
      let why = null;
      try {
        const answer = await this._services.ServerConnection.makeRequest(url, init, this._connection);
        const json = await answer.json().catch(() => null);
        if (answer.ok && json) {
          this.record = json;
          this.problem = null;
          this._skew = Date.parse(json.now) - Date.now();
        } else {
          const code = json && json.error && json.error.code;
          why = (code !== 'unavailable' && json && json.error && json.error.message) || '';
        }
      } catch (error) {
        why = '';
      }
      if (why !== null && body === undefined) {
        this.problem = why;
      }
      this._changed();
      return why;
    }

    /** Milliseconds until the workspace stops and whether idleness is the reason; null when it does not stop. */
    left() {
      const record = this.record;
      if (!record) {
        return null;
      }
      const now = Date.now() + this._skew;
      const moments = [];
      if (record.auto_stop_at) {
        moments.push({ at: Date.parse(record.auto_stop_at), idle: false });
      }
      if (record.idle_stop_minutes) {
        const since = Math.max(Date.parse(record.worked_at) || 0, Date.parse(record.started_at) || 0);
        moments.push({ at: since + record.idle_stop_minutes * 60000, idle: true });
      }
      moments.sort((a, b) => a.at - b.at);
      return moments.length ? { ...moments[0], ms: moments[0].at - now } : null;
    }

    /** Move the deadline by `hours` from where it is, or set it from now when there is none; 0 takes it away. */
    extend(hours) {
      if (!hours) {
        return this.call('auto-stop', { after_minutes: null });
      }
      const at = this.record && this.record.auto_stop_at ? Date.parse(this.record.auto_stop_at) : 0;
      const left = Math.max(0, Math.ceil((at - Date.now() - this._skew) / 60000));
      return this.call('auto-stop', { after_minutes: left + hours * 60 });
    }
  }

  function style() {
    const sheet = document.createElement('style');
    sheet.textContent =
      '.ark-Status{cursor:pointer;padding:0 8px;white-space:nowrap;border:0;background:none;font:inherit;color:inherit;line-height:24px}' +
      '.ark-Status:hover,.ark-Status:focus-visible{background:var(--jp-layout-color3)}' +
      '.ark-Status.ark-mod-soon{background:var(--jp-warn-color1);color:#000}';
    document.head.appendChild(sheet);
  }

  async function activate(app, statusBar, translator) {
    const names = ['@lumino/widgets', '@lumino/commands', '@jupyterlab/apputils', '@jupyterlab/services', '@jupyterlab/coreutils'];
    const [widgets, commands, apputils, services, coreutils] = await Promise.all(names.map(use));
    const chosen = (translator && translator.languageCode) || '';
    // where the platform set JupyterLab's default, what JupyterLab speaks counts; else its "en" may only be nobody's choice
    const given = coreutils.PageConfig.getOption('arkLanguage');
    const zh = /^zh/i.test(chosen && chosen !== 'default' && (given || chosen !== 'en') ? chosen : given || navigator.language);
    const words = zh ? ZH : EN;
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'ark-Status';
    button.setAttribute('aria-haspopup', 'menu');
    const widget = new widgets.Widget();
    widget.node.appendChild(button);
    widget.addClass('ark-StatusItem');
    style();

    const status = new Status(app.serviceManager.serverSettings, services, coreutils, zh ? 'zh' : 'en', () => show());
    const warned = new Set();
    let toast = null; // the warning on screen, and the stop moment that it speaks of

    function show() {
      const record = status.record;
      const left = status.left();
      if (toast && (!left || left.at > toast.at)) {
        apputils.Notification.dismiss(toast.id);
        toast = null;
      }
      widget.setHidden(!record && status.problem === null);
      if (!record) {
        button.textContent = words.unreachable;
        button.title = status.problem || words.unreachableWhy;
        return;
      }
      const parts = record.cost && record.cost.this_run ? [money(record.cost.this_run)] : [];
      if (record.state === 'stopping') {
        parts.push(words.stopping);
      } else if (left) {
        parts.push(fill(left.idle ? words.idleIn : words.stopsIn, { time: span(left.ms, words) }));
      } else {
        parts.push(words.noStop);
      }
      const text = parts.join(' · ');
      if (button.textContent !== text) {
        button.textContent = text;
      }
      button.title = [words.label, ...(record.why || []), ...(status.problem !== null ? [words.unreachableWhy] : [])].join('\n');
      button.setAttribute('aria-label', `${words.label}: ${text}`);
      button.classList.toggle('ark-mod-soon', !!left && left.ms <= WARN_MINUTES[1] * 60000);
      if (left && left.ms > 0 && record.state === 'running') {
        warn(left);
      }
    }

    /** Once for each threshold of each stop moment: the narrowest that is due. */
    function warn(left) {
      const minutes = WARN_MINUTES.find(one => left.ms <= one * 60000);
      const key = `${left.idle}:${left.at}:${minutes}`;
      if (minutes === undefined || warned.has(key)) {
        return;
      }
      warned.add(key);
      const text = fill(left.idle ? words.warnIdle : words.warn, { time: span(left.ms, words) });
      const action = left.idle
        ? { label: words.hereShort, callback: () => run(status.call('here', {})) }
        : { label: words.extend, callback: () => run(status.extend(1), 'extended') };
      toast = { at: left.at, id: apputils.Notification.warning(text, { autoClose: false, actions: [action] }) };
    }

    async function run(call, done) {
      const why = await call;
      if (why !== null) {
        apputils.Notification.error(fill(words.failed, { why: why || words.unreachableWhy }), { autoClose: 10000 });
      } else if (done) {
        const at = status.record.auto_stop_at;
        const time = at ? new Date(at).toLocaleTimeString(zh ? 'zh-CN' : 'en', { hour: '2-digit', minute: '2-digit' }) : '';
        apputils.Notification.success(fill(words[done], { time }), { autoClose: 5000 });
      }
    }

    async function stop() {
      const answer = await apputils.showDialog({
        title: words.stopTitle,
        body: words.stopBody,
        buttons: [apputils.Dialog.cancelButton(), apputils.Dialog.warnButton({ label: words.stopButton })]
      });
      if (answer.button.accept) {
        await run(status.call('stop', {}), 'stopped');
      }
    }

    const registry = new commands.CommandRegistry();
    const deadline = () => !!(status.record && status.record.auto_stop_at);
    const idle = () => !!(status.record && status.record.idle_stop_minutes);
    const add = (id, label, execute, isVisible) => registry.addCommand(`ark:${id}`, { label, execute, isVisible });
    add('extend-1', () => (deadline() ? words.extend1 : words.set1), () => run(status.extend(1), 'extended'));
    add('extend-4', () => (deadline() ? words.extend4 : words.set4), () => run(status.extend(4), 'extended'));
    add('hold', () => words.hold, () => run(status.extend(0), 'held'), deadline);
    add('here', () => words.here, () => run(status.call('here', {})), idle);
    add('stop', () => words.stop, stop);
    const menu = new widgets.Menu({ commands: registry });
    for (const id of ['extend-1', 'extend-4', 'hold', 'here']) {
      menu.addItem({ command: `ark:${id}` });
    }
    menu.addItem({ type: 'separator' });
    menu.addItem({ command: 'ark:stop' });
    button.addEventListener('click', () => {
      const box = button.getBoundingClientRect();
      menu.open(box.left, box.top, { forceY: false });
    });

    statusBar.registerStatusItem('@ark/status:item', { item: widget, align: 'right', rank: 1000 });
    const poll = () => (document.hidden ? undefined : status.call('status'));
    setInterval(poll, POLL_MS);
    setInterval(show, TICK_MS);
    document.addEventListener('visibilitychange', poll);
    await status.call('status');
  }

  async function plugin() {
    const [statusbar, translation] = await Promise.all(['@jupyterlab/statusbar', '@jupyterlab/translation'].map(use));
    return {
      default: {
        id: '@ark/status:plugin',
        description: 'Cost, stop time and stop of the workspace, in the status bar',
        autoStart: true,
        requires: [statusbar.IStatusBar],
        optional: [translation.ITranslator],
        activate
      },
      __esModule: true
    };
  }

  const container = {
    init: scope => {
      shared = scope;
    },
    get: async () => {
      const module = await plugin();
      return () => module;
    }
  };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['@ark/status'] = container;
})();
