'use strict';

/** Frames that the list keeps, so that a long talk does not fill the memory. */
const FRAMES = 500;
/** Characters of a frame that the list shows. */
const SHOWN = 2000;
/** Time for one way in, in milliseconds. */
const PATIENCE = 5000;
/** The marker of the subprotocol pair and the name of the query parameter. */
const NAME = 'access_token';
/** Values of a data point that the chart shows. */
const SAMPLES = 120;

const at = (id) => document.getElementById(id);
const origin = `${location.protocol === 'http:' ? 'ws' : 'wss'}://${location.host}`;
const endpoint = `${origin}/api/ws`;

const token = () => at('token').value.trim();
const altered = () => token().replace(/\.([^.])([^.]*)$/, (_, first, rest) => `.${first === 'A' ? 'B' : 'A'}${rest}`);
const byQuery = (value) => new WebSocket(`${endpoint}?${NAME}=${encodeURIComponent(value)}`);
const bySubprotocol = (value) => new WebSocket(endpoint, [NAME, value]);

const byTicket = (value) => new WebSocket(`${endpoint}?ticket=${encodeURIComponent(value)}`);

/** Exchanges the token, or the session of who has signed in, for a ticket: good for one connection. */
async function newTicket() {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  const answer = await fetch('/ticket', { method: 'POST', headers });
  if (!answer.ok) throw new Error(`POST /ticket was answered ${answer.status}`);
  return (await answer.json()).ticket;
}

/** Opens a socket with a ticket, closes it, and tries the same ticket again. */
async function bySpentTicket() {
  const ticket = await newTicket();
  await attempt(() => byTicket(ticket));
  return byTicket(ticket);
}

const WAYS = [
  { title: 'Nothing but what the browser adds', sent: '/api/ws', answer: '401 or, signed in, 101',
    bare: true, open: () => new WebSocket(endpoint) },
  { title: 'A ticket', sent: 'POST /ticket, then ?ticket=TICKET', answer: '101 granted', opens: true, bare: true,
    open: async () => byTicket(await newTicket()) },
  { title: 'A ticket that was used', sent: '?ticket=TICKET', answer: '401 replayed', opens: false, bare: true,
    open: bySpentTicket },
  { title: 'The token in the query', sent: `?${NAME}=TOKEN`, answer: '101 granted', opens: true,
    open: () => byQuery(token()) },
  { title: 'An altered token in the query', sent: `?${NAME}=TOKEN*`, answer: '401 bad_signature', opens: false,
    open: () => byQuery(altered()) },
  { title: 'The token as a subprotocol', sent: `["${NAME}", TOKEN]`, answer: '101 granted', opens: true,
    open: () => bySubprotocol(token()) },
  { title: 'An altered token as a subprotocol', sent: `["${NAME}", TOKEN*]`, answer: '401 bad_signature', opens: false,
    open: () => bySubprotocol(altered()) },
  { title: 'The token twice', sent: 'both of the above', answer: '400 carrier_conflict', opens: false,
    open: () => new WebSocket(`${endpoint}?${NAME}=${encodeURIComponent(token())}`, [NAME, token()]) },
];

/** Opens a socket, notes what a script can see of the handshake, and closes it. */
async function attempt(open) {
  const start = performance.now();
  let socket;
  try {
    socket = await open();
  } catch (error) {
    return { opened: false, text: `not sent: ${error.message}` };
  }
  return new Promise((resolve) => {
    const timer = setTimeout(() => { resolve({ opened: false, text: 'no answer' }); socket.close(); }, PATIENCE);
    socket.onopen = () => {
      clearTimeout(timer);
      const protocol = socket.protocol ? `, subprotocol ${socket.protocol}` : '';
      resolve({ opened: true, text: `open after ${Math.round(performance.now() - start)} ms${protocol}` });
      socket.close(1000);
    };
    socket.onclose = (event) => {
      clearTimeout(timer);
      resolve({ opened: false, text: `refused, close code ${event.code}` });
    };
  });
}

async function tryWay(way) {
  way.seen.className = '';
  if (!token() && !way.bare) {
    way.seen.textContent = 'paste the token first';
    return;
  }
  way.button.disabled = true;
  way.seen.textContent = 'asking …';
  const { opened, text } = await attempt(way.open);
  const expected = way.opens === undefined || opened === way.opens;
  way.seen.textContent = `${expected ? '✓' : '✗ not expected:'} ${text}`;
  way.seen.classList.add(expected ? 'good' : 'bad');
  way.button.disabled = false;
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function showWays() {
  for (const way of WAYS) {
    const title = element('th', way.title);
    title.scope = 'row';
    title.append(element('span', way.sent, 'sent'));
    way.button = element('button', 'Try');
    way.button.type = 'button';
    way.button.setAttribute('aria-label', `Try: ${way.title}`);
    way.button.addEventListener('click', () => tryWay(way));
    way.seen = element('span', '');
    way.seen.setAttribute('role', 'status');
    const look = element('div', '', 'look');
    look.append(way.button, way.seen);
    const last = document.createElement('td');
    last.append(look);
    const row = document.createElement('tr');
    row.append(title, element('td', way.answer, 'status'), last);
    at('ways').append(row);
  }
  at('try-all').addEventListener('click', async () => {
    at('try-all').disabled = true;
    for (const way of WAYS) await tryWay(way);
    at('try-all').disabled = false;
  });
}

/** Shows who the token names and when it ends. It is the page's reading: only the gateway can verify it. */
function showFacts() {
  const facts = at('token-facts');
  if (!token()) {
    facts.textContent = '';
    return;
  }
  try {
    const payload = token().split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const claims = JSON.parse(atob(payload));
    const ends = new Date(claims.exp * 1000);
    facts.textContent = `For ${claims.sub}, from ${claims.iss}, until ${ends.toLocaleString()}. Then its sockets `
      + 'get Close 3000 “token expired”.';
  } catch {
    facts.textContent = 'This does not look like a token: three parts with dots between them.';
  }
}

/** Takes a token out of the address: what follows # is never sent, but it would stay in the history. */
function takeTokenFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    at('token').value = given;
    history.replaceState(null, '', location.pathname);
  }
  showFacts();
}

let socket = null;

function frame(direction, text, className) {
  const list = at('frames');
  const now = new Date();
  const time = element('time', `${now.toLocaleTimeString([], { hour12: false })}.${String(now.getMilliseconds()).padStart(3, '0')}`);
  time.dateTime = now.toISOString();
  const line = document.createElement('li');
  const shown = text.length > SHOWN ? `${text.slice(0, SHOWN)} … (${text.length} characters)` : text;
  line.append(time, element('span', direction), element('span', shown, className));
  list.append(line);
  while (list.childElementCount > FRAMES) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

function showState(name) {
  const open = name === 'open';
  at('state').textContent = name;
  at('state').classList.toggle('is-open', open);
  at('open').disabled = name !== 'closed';
  at('close').disabled = name === 'closed';
  at('message').disabled = at('send').disabled = !open;
}

async function openSocket() {
  const carrier = document.querySelector('input[name="carrier"]:checked').value;
  let wasOpen = false;
  showState('opening');
  try {
    if (carrier === 'ticket') socket = byTicket(await newTicket());
    else socket = carrier === 'query' ? byQuery(token()) : bySubprotocol(token());
  } catch (error) {
    frame('error', error.message, 'bad');
    showState('closed');
    return;
  }
  socket.onopen = () => {
    wasOpen = true;
    showState('open');
    frame('open', socket.protocol ? `subprotocol ${socket.protocol}` : 'no subprotocol', 'good');
    at('message').focus();
  };
  socket.onmessage = ({ data }) => frame('◀ in', typeof data === 'string' ? data : `${data.size} bytes`);
  socket.onclose = ({ code, reason }) => {
    showState('closed');
    if (wasOpen) {
      frame('close', reason ? `${code} ${reason}` : String(code), code === 1000 ? 'good' : 'bad');
    } else {
      frame('close', `${code}: the upgrade was refused. The status and the reason are in the log of the demo.`, 'bad');
    }
  };
}

/** Ends the session: its sockets get Close 3003, this page's among them. */
async function signOut() {
  const answer = await fetch('/logout', { method: 'POST', redirect: 'manual' });
  const done = answer.type === 'opaqueredirect';
  frame('session', done ? 'signed out' : `POST /logout was answered ${answer.status}`, done ? 'good' : 'bad');
}

function send(event) {
  event.preventDefault();
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  socket.send(at('message').value);
  frame('▶ out', at('message').value);
  at('message').value = '';
}

/** The demo's data points, each with the values that this page was told. */
const POINTS = ['temperature', 'pressure'].map((name) => ({ name, values: [], socket: null }));

function toldOf(point, { value, time, quality }) {
  const told = `${value}, ${quality}, ${new Date(time).toLocaleTimeString([], { hour12: false })}`;
  at(`value-${point.name}`).textContent = time ? told : 'not set yet';
  if (typeof value !== 'number') return;
  const slider = at(`set-${point.name}`);
  if (slider !== document.activeElement) slider.value = value;
  point.values.push(Math.min(Math.max(value, 0), 100));
  if (point.values.length > SAMPLES) point.values.shift();
  const dots = point.values.map((sample, index) => `${(index * 600) / (SAMPLES - 1)},${150 - sample * 1.4}`);
  at(`line-${point.name}`).setAttribute('points', dots.join(' '));
}

async function followPoint(point) {
  const ticket = await newTicket();
  point.socket = new WebSocket(`${origin}/points/${point.name}?ticket=${encodeURIComponent(ticket)}`);
  point.socket.onopen = () => { at(`set-${point.name}`).disabled = false; };
  point.socket.onmessage = ({ data }) => toldOf(point, JSON.parse(data));
  point.socket.onclose = ({ code, reason }) => {
    at(`set-${point.name}`).disabled = true;
    at('points-state').textContent = `closed: ${code} ${reason}`;
    at('follow').disabled = false;
  };
}

async function follow() {
  at('follow').disabled = true;
  at('points-state').textContent = '';
  for (const { socket: old } of POINTS) {
    if (old) old.onclose = null;
    old?.close(1000);
  }
  try {
    for (const point of POINTS) await followPoint(point);
  } catch (error) {
    at('points-state').textContent = error.message;
    at('follow').disabled = false;
  }
}

function setPoint(point) {
  if (point.socket?.readyState !== WebSocket.OPEN) return;
  point.socket.send(JSON.stringify({ value: Number(at(`set-${point.name}`).value) }));
}

function reveal() {
  const shown = at('token').type === 'password';
  at('token').type = shown ? 'text' : 'password';
  at('reveal').textContent = shown ? 'Hide' : 'Show';
  at('reveal').setAttribute('aria-pressed', String(shown));
}

showWays();
takeTokenFromAddress();
addEventListener('hashchange', takeTokenFromAddress);
at('token').addEventListener('input', showFacts);
at('reveal').addEventListener('click', reveal);
at('open').addEventListener('click', openSocket);
at('close').addEventListener('click', () => socket?.close(1000));
at('sign-out').addEventListener('click', signOut);
at('talk').addEventListener('submit', send);
at('follow').addEventListener('click', follow);
for (const point of POINTS) at(`set-${point.name}`).addEventListener('input', () => setPoint(point));
