// Keeps the page fresh: when something happens, it fetches the page again, and changes the parts
// marked `data-live` into what they are now.
//
// `data-source` of the body is where the page comes from, `data-events` the stream that says when
// it changes. A part with `data-poll` changes without events too: it is fetched again after that
// many milliseconds. A box with `data-follow` opens at its end, unless the address names a place in
// it, and stays there if that is where the reader is.
// What is in an element with `data-keep` belongs to another script, or stays as it is. A field with
// `data-once` has the id of what its form starts, so that a form sent twice starts it once. Who
// comes back to the page may start something else, so the field is given another id then.
// The page has a budget of time, in ms, to fetch and draw itself: it grows by `share` of the time
// that goes by, up to `saved`, and what a refresh takes is taken from it. So the end of a short run
// follows its beginning at once, and while much happens, actions on the same machine keep most of
// its processors. Between two refreshes are at least `shortest` ms, and at most `longest`, however
// slow the page is. After more than `many` events at once, a refresh waits until nothing has
// happened for `calm` ms, but not longer than `longest`: nobody can read a page that changes so
// often.
const share = 0.25, saved = 40, shortest = 25, longest = 1000, many = 40, calm = 150;
const { source: from = location.href, events } = document.body.dataset;
const live = document.getElementById('live');
const retryAfter = 2000; // ms until a stream that the browser has given up is opened again
const patience = 15000; // ms until a page that does not come is asked for again
// The numbers of the newest event that the page has heard of, and of the newest that it shows. They
// say how many events the page lacks, unless its stream is that of one run: that skips the others.
let newest, shown = newestOf(document);
let source, timer, retry, asking, budget = saved, counted = 0, busy = false, waiting = false, again = false, isBack = false;

async function refresh() {
  if (waiting) { again = true; return; }
  waiting = true;
  clearTimeout(timer);
  if (busy || newest - shown > many) {
    await calmDown();
    again = false;
  }
  const began = performance.now();
  budget = Math.min(budget + share * (began - counted), saved);
  const { signal } = asking = new AbortController();
  const late = setTimeout(() => { say('lost', 'no answer, trying again'); asking.abort(); }, patience);
  try {
    const answer = await fetch(from, { cache: 'no-store', headers: { accept: 'text/html' }, signal });
    if (answer.status === 401) askToLogIn();
    else if (answer.status < 500) show(new DOMParser().parseFromString(await answer.text(), 'text/html'));
    if (live.dataset.state === 'lost' && source?.readyState === EventSource.OPEN) say('live', 'live');
  } catch {
    // If the host is gone for now, the stream says when it is back.
    again ||= signal.aborted;
  }
  clearTimeout(late);
  counted = performance.now();
  // One answer that takes very long makes the page wait once.
  budget = Math.max(budget - (counted - began), -share * longest);
  setTimeout(next, Math.max(-budget / share, shortest));
}

function newestOf({ body }) {
  return Number(body.dataset.newest ?? NaN);
}

// Waits until nothing happens any more, or long enough: then it is still `busy`.
async function calmDown() {
  const end = performance.now() + longest;
  do {
    const before = newest;
    await new Promise((resolve) => { setTimeout(resolve, calm); });
    busy = newest !== before;
  } while (busy && performance.now() < end);
}

function next() {
  waiting = false;
  if (!again) { poll(); return; }
  again = false;
  if (!document.hidden) refresh();
}

function poll() {
  clearTimeout(timer);
  const often = Math.min(...[...document.querySelectorAll('[data-poll]')].map((part) => +part.dataset.poll));
  if (source && Number.isFinite(often)) timer = setTimeout(refresh, often);
}

function show(page) {
  // The address leads to another page now: what it was about is gone or has come to be, or another
  // pipeline is served there. What is no page of ours, such as the answer of a proxy, is not shown.
  if (!page.body.dataset.page) return;
  if (page.body.dataset.page !== document.body.dataset.page) { load(); return; }
  shown = newestOf(page);
  const focused = document.activeElement;
  const ends = [...document.querySelectorAll('[data-follow]')].filter(isAtEnd);
  for (const part of document.querySelectorAll('[data-live]')) {
    const fresh = page.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
    if (fresh) become(part, fresh);
  }
  if (isBack) {
    for (const field of document.querySelectorAll('[data-once]')) {
      const form = [...page.forms].find((it) => it.getAttribute('action') === field.form.getAttribute('action'));
      if (form?.elements[field.name]) field.value = form.elements[field.name].value;
    }
    isBack = false;
  }
  document.title = page.title;
  // An element that has moved has lost the focus.
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  for (const box of ends) box.scrollTop = box.scrollHeight;
  explain();
  dispatchEvent(new CustomEvent('refreshed'));
}

// Loads the page whole, instead of what a form that was refused has led to.
function load() {
  if (document.body.dataset.source) location.replace(from);
  else location.reload();
}

function isAtEnd(box) {
  return box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
}

// What a reader has changed, and no page knows.
const theirs = { DETAILS: ['open'], DIALOG: ['open'], INPUT: ['checked'], OPTION: ['selected'] };

// Changes an element into another of the same kind. Elements that stay are not replaced, so the
// focus, open details, what is in forms, and the positions of scrolled boxes stay too.
function become(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.hasAttribute('data-keep') || old.isEqualNode(fresh)) return;
  const kept = theirs[old.nodeName] ?? [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !kept.includes(name)) old.setAttribute(name, value);
  }
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const same = counterpart(at, next);
    if (same && same === at) at = at.nextSibling;
    else old.insertBefore(same ?? document.importNode(next, true), at);
    if (same) become(same, next);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

// Finds the node, from `at` on, that is the same thing as `next`: by its key if it has one.
function counterpart(at, next) {
  for (let node = at; node; node = node.nextSibling) {
    if (node.nodeName === next.nodeName && key(node) === key(next)) return node;
  }
  return undefined;
}

function key(node) {
  return node.dataset?.key || (node.nodeName === 'FORM' ? about(node) : node.id) || '';
}

// What a form is about: its hidden fields.
function about(form) {
  const fields = [...form.querySelectorAll('[type=hidden]')].map((field) => field.value);
  return `${form.getAttribute('action')} ${fields.join(' ')}`;
}

// Says moments in the reader's own time too.
function explain() {
  for (const time of document.querySelectorAll('time[datetime]')) {
    const text = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'long' });
    if (time.title !== text) time.title = text;
  }
}

function say(state, text) {
  live.dataset.state = state;
  live.textContent = text;
}

function follow() {
  clearTimeout(retry);
  if (source || !events) return;
  const stream = source = new EventSource(events);
  stream.onopen = () => { say('live', 'live'); refresh(); };
  stream.onerror = () => {
    say('lost', 'not connected, trying again');
    // The browser itself tries again only if there was no answer; a host that starts answers 503.
    if (stream !== source || stream.readyState !== EventSource.CLOSED) return;
    source = undefined;
    retry = setTimeout(follow, retryAfter);
    // The browser does not tell the status of the answer. That of the page says whether the session
    // is over.
    refresh();
  };
  // The id of a message is the epoch and the number of its event.
  stream.onmessage = ({ lastEventId }) => { newest = Number(lastEventId.split('-')[1]); refresh(); };
  stream.addEventListener('reset', refresh);
}

// The session is over: by its age, with the host, or by a logout in another window. What the page
// shows and what was typed stays. The host answers the link with the form for the token, which
// leads back to this page.
function askToLogIn() {
  leave();
  const link = document.createElement('a');
  const { pathname, search } = new URL(from, location.href);
  const hash = document.body.dataset.source ? '' : location.hash;
  link.href = pathname + search + hash;
  link.textContent = 'log in again';
  // A browser does not load the page for a link to a place in it.
  if (hash) link.addEventListener('click', (event) => { event.preventDefault(); load(); });
  say('lost', 'logged out: ');
  live.append(link);
}

function leave() {
  clearTimeout(timer);
  clearTimeout(retry);
  source?.close();
  source = undefined;
  asking?.abort();
}

// What a button opens is in sight, also near the end of the window.
document.addEventListener('toggle', ({ target }) => {
  if (target.open && target.matches('.confirm')) target.querySelector('.confirm-panel').scrollIntoView({ block: 'nearest' });
}, true);
// Escape closes what asks whether to do something.
document.addEventListener('keydown', (event) => {
  const panel = event.key === 'Escape' && document.querySelector('.confirm[open]');
  if (!panel) return;
  panel.open = false;
  panel.querySelector('summary').focus();
});
const place = document.getElementById(location.hash.slice(1));
for (const box of document.querySelectorAll('[data-follow]')) if (!box.contains(place)) box.scrollTop = box.scrollHeight;
explain();
// A browser opens few connections to one host: a page that nobody looks at needs none.
document.addEventListener('visibilitychange', () => { if (document.hidden) leave(); else follow(); });
// Leaving the page is no lost connection.
addEventListener('pagehide', leave);
addEventListener('pageshow', (event) => { isBack ||= event.persisted; if (!document.hidden) follow(); });
