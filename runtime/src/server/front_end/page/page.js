// A small front-end of the classic protocol: enough to try a server from a browser.
//
// When something comes over the WebSocket, the conversation's newest page is read again: it has every message once and in order,
// also after a reconnection, when the server sends again what may not have arrived.

import { decode, encode } from '/wire.js';

const USER = 1, GROUP = 2;
const TEXT = 1, FILE = 2, IMAGE = 3, AUDIO = 4, VIDEO = 5;
const PAGE = 100;
const HEARTBEAT_MS = 20_000, RECONNECT_MS = 2_000, REFRESH_MS = 150;
const FILE_LIMIT_BYTES = 8 * 1024 * 1024 - 4096;

const at = (id) => document.getElementById(id);
const conversations = new Map();
let me = null, socket = null, open = null, timer = null;

class NotLoggedIn extends Error {}

/** A call: gives its data, or throws what the server says. */
async function call(method, path, fields) {
  const options = { method, headers: fields ? { 'content-type': 'application/json' } : {} };
  if (fields) options.body = JSON.stringify(fields);
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error('the server cannot be reached');
  }
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Error(`the server says ${response.status}`);
  }
  if (response.status === 401) throw new NotLoggedIn(answer.msg);
  if (answer.code !== 0) throw new Error(answer.msg);
  return answer.data;
}

function tell(error) {
  at('error').textContent = error?.message ?? '';
  at('error').hidden = !error;
  if (error instanceof NotLoggedIn) leave();
}

/** Runs what somebody has asked for, and says what goes wrong. */
async function attempt(work) {
  tell(null);
  try {
    return await work();
  } catch (error) {
    tell(error);
  }
}

const part = encodeURIComponent;

// Who I am in this window. The session itself is in a cookie that scripts cannot read.

function remembered() {
  try {
    const user = JSON.parse(sessionStorage.getItem('user'));
    return user?.uuid ? user : null;
  } catch {
    return null;
  }
}

async function enter(user) {
  me = { uuid: user.uuid, username: user.username };
  sessionStorage.setItem('user', JSON.stringify(me));
  at('me').textContent = me.username;
  at('enter').hidden = true;
  at('chat').hidden = false;
  await reload();
  connect();
}

function leave() {
  me = null;
  sessionStorage.removeItem('user');
  clearTimeout(timer);
  socket?.close();
  socket = null;
  conversations.clear();
  choose(null);
  at('chat').hidden = true;
  at('enter').hidden = false;
}

// Conversations.

const keyOf = (kind, id) => `${kind} ${id}`;

function conversation(kind, id, name) {
  const key = keyOf(kind, id);
  if (!conversations.has(key)) {
    conversations.set(key, { key, kind, id, name, said: [], sent: [], unread: 0, more: false, loading: null });
  }
  const found = conversations.get(key);
  found.name = name || found.name || id;
  return found;
}

async function reload() {
  const [friends, groups] = await Promise.all([
    call('GET', `/user?uuid=${part(me.uuid)}`), call('GET', `/group/${part(me.uuid)}`),
  ]);
  friends.forEach((friend) => conversation(USER, friend.uuid, friend.username));
  groups.forEach((group) => conversation(GROUP, group.uuid, group.name));
  list();
}

function list() {
  at('list').replaceChildren(...[...conversations.values()].map((one) => {
    const button = element('button', { type: 'button' });
    button.setAttribute('aria-current', one === open);
    button.append(element('span', { className: 'name', textContent: (one.kind === GROUP ? '# ' : '') + one.name }));
    if (one.unread) button.append(element('span', { className: 'unread', textContent: one.unread }));
    button.onclick = () => attempt(() => choose(one));
    return button;
  }));
}

async function choose(one) {
  open = one;
  at('title').textContent = one ? one.name : 'Add a friend, or choose a conversation';
  at('say').hidden = !one;
  if (one) one.unread = 0;
  list();
  show(true);
  if (one) {
    await refresh(one);
    at('say').elements.text.focus();
  }
}

function query(one, before) {
  const whom = one.kind === GROUP
    ? `Uuid=${part(one.id)}`
    : `Uuid=${part(me.uuid)}&FriendUsername=${part(one.name)}`;
  return `/message?${whom}&MessageType=${one.kind}&Limit=${PAGE}${before ? `&Before=${before}` : ''}`;
}

/** Reads the newest page; once more if something has come in the meantime. */
async function refresh(one) {
  if (one.loading) {
    one.again = true;
    return one.loading;
  }
  one.loading = call('GET', query(one));
  try {
    const page = await one.loading;
    const last = one.said.at(-1)?.id ?? 0;
    const isWhole = page.length < PAGE;
    const older = isWhole || page[0].id <= last ? one.said.filter((message) => page[0] && message.id < page[0].id) : [];
    if (one.said.length === 0 || older.length === 0) one.more = !isWhole;
    one.said = [...older, ...page];
    // What I have sent is there when the server has it.
    for (const message of page.filter(({ id, fromUserId }) => id > last && fromUserId === me?.uuid)) {
      const isIt = (sent) => sent.content === message.content
        && (sent.contentType === TEXT) === (message.contentType === TEXT);
      const index = one.sent.findIndex(isIt);
      if (index >= 0) one.sent.splice(index, 1);
    }
  } finally {
    one.loading = null;
  }
  if (one === open) show();
  if (one.again) {
    one.again = false;
    await refresh(one);
  }
}

const refreshLater = (one) => setTimeout(() => attempt(() => me && refresh(one)), REFRESH_MS);

async function earlier() {
  const one = open, first = one.said[0];
  if (!first) return;
  const page = await call('GET', query(one, first.id));
  one.said = [...page, ...one.said];
  one.more = page.length > 0;
  if (one === open) show();
}

// What is shown.

function element(tag, fields) {
  return Object.assign(document.createElement(tag), fields);
}

function show(atEnd) {
  const messages = at('messages');
  const wasAtEnd = atEnd || messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
  at('earlier').hidden = !open?.more;
  messages.replaceChildren(...(open ? [...open.said, ...open.sent].map(line) : []));
  const toEnd = () => { messages.scrollTop = messages.scrollHeight; };
  if (wasAtEnd) {
    toEnd();
    messages.querySelectorAll('img').forEach((image) => { image.onload = toEnd; });
  }
}

function line(message) {
  const isOwn = message.fromUserId === me.uuid;
  const item = element('li', { className: isOwn ? 'own' : '' });
  const when = message.createAt ? new Date(message.createAt).toLocaleString() : isOwn ? 'sending' : '';
  const who = !isOwn && open.kind === GROUP ? `${message.fromUsername} ` : '';
  item.append(element('small', { textContent: who + when }), body(message));
  return item;
}

function body(message) {
  const address = message.shown ?? `/file/${part(message.url)}`;
  switch (message.contentType) {
    case IMAGE: return element('img', { src: address, alt: 'image' });
    case AUDIO: return element('audio', { src: address, controls: true, preload: 'none' });
    case VIDEO: return element('video', { src: address, controls: true, preload: 'none' });
    case FILE: return element('a', { href: address, textContent: message.content || 'file', download: '' });
    default: return document.createTextNode(message.content);
  }
}

// The WebSocket.

function connect() {
  const mine = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/socket.io?user=${part(me.uuid)}`);
  mine.binaryType = 'arraybuffer';
  socket = mine;
  mine.onopen = () => {
    at('link').textContent = 'connected';
    if (open) refreshLater(open);
    const beat = setInterval(() => {
      if (mine.readyState !== WebSocket.OPEN) return clearInterval(beat);
      mine.send(encode({ type: 'heatbeat', content: 'ping' }));
    }, HEARTBEAT_MS);
  };
  mine.onmessage = ({ data }) => attempt(() => received(decode(new Uint8Array(data))));
  mine.onclose = () => {
    if (socket !== mine || !me) return;
    at('link').textContent = 'connecting';
    // Not all at once after a restart. Whether one is logged in still, a call knows.
    timer = setTimeout(() => me && reload().then(connect, (error) => {
      tell(error);
      if (me) mine.onclose();
    }), RECONNECT_MS * (1 + Math.random()));
  };
}

async function received(message) {
  if (message.type || message.from === 'System' || message.contentType < TEXT || message.contentType > VIDEO) return;
  const isGroup = message.messageType === GROUP;
  const key = keyOf(isGroup ? GROUP : USER, message.from);
  if (!conversations.has(key)) {
    if (isGroup) await reload();
    else conversation(USER, message.from, (await call('GET', `/user/${part(message.from)}`)).username);
  }
  const one = conversations.get(key);
  if (!one) return;
  // It was stored before it was sent here, so it is in the page.
  if (one === open) {
    await refresh(one);
  } else {
    one.unread += 1;
    list();
  }
}

function send(fields, shown) {
  if (socket?.readyState !== WebSocket.OPEN) throw new Error('there is no connection; try again in a moment');
  const message = { contentType: TEXT, content: '', ...fields, to: open.id, messageType: open.kind };
  socket.send(encode({ ...message, from: me.uuid, fromUsername: me.username }));
  const { content, contentType } = message;
  open.sent.push({ content, contentType, shown, fromUserId: me.uuid });
  show(true);
  refreshLater(open);
}

async function sendFile(file) {
  if (file.size > FILE_LIMIT_BYTES) throw new Error(`the file has more than ${FILE_LIMIT_BYTES} bytes`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const fileSuffix = file.name.includes('.') ? file.name.split('.').pop() : '';
  // The server finds out what it is.
  send({ contentType: IMAGE, file: bytes, fileSuffix }, file.type.startsWith('image/') ? URL.createObjectURL(file) : '');
}

// What people do.

at('enter').onsubmit = (event) => {
  event.preventDefault();
  const { username, password } = event.target.elements;
  attempt(async () => {
    const fields = { username: username.value.trim(), password: password.value };
    const user = await call('POST', `/user/${event.submitter?.value ?? 'login'}`, fields);
    password.value = '';
    await enter(user);
  });
};

at('leave').onclick = () => attempt(async () => {
  await call('POST', '/user/logout');
  leave();
});

at('add').onsubmit = (event) => {
  event.preventDefault();
  const input = event.target.elements.name, name = input.value.trim();
  attempt(async () => {
    switch (event.submitter?.value) {
      case 'make':
        await call('POST', `/group/${part(me.uuid)}`, { name, notice: '' });
        break;
      case 'join': {
        const { group } = await call('GET', `/user/name?name=${part(name)}`);
        if (!group.uuid) throw new Error('there is no group of this name');
        await call('POST', `/group/join/${part(me.uuid)}/${part(group.uuid)}`);
        break;
      }
      default:
        await call('POST', '/friend', { uuid: me.uuid, friendUsername: name });
    }
    input.value = '';
    await reload();
    const added = [...conversations.values()].find((one) => one.name === name);
    if (added) await choose(added);
  });
};

at('say').onsubmit = (event) => {
  event.preventDefault();
  const { text } = event.target.elements;
  if (!text.value.trim()) return;
  attempt(() => {
    send({ content: text.value });
    text.value = '';
  });
};

at('say').elements.file.onchange = (event) => {
  const [file] = event.target.files;
  if (file) attempt(() => sendFile(file));
  event.target.value = '';
};

at('earlier').onclick = () => attempt(earlier);

const known = remembered();
if (known) attempt(() => enter(known));
else at('enter').hidden = false;
