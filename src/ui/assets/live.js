// Keeps the page fresh: when something happens, fetches it again and puts in the parts that are
// new.
const pause = 400; // ms between two fetches, however much happens
const live = document.getElementById('live');
let source, waiting = false, again = false;

async function refresh() {
  if (waiting) { again = true; return; }
  waiting = true;
  try {
    const answer = await fetch('/', { cache: 'no-store' });
    if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), 'text/html'));
  } catch {
    // The host is gone for now; the stream says when it is back.
  }
  setTimeout(() => { waiting = false; if (again) { again = false; refresh(); } }, pause);
}

function swap(page) {
  for (const part of document.querySelectorAll('[data-live]')) {
    const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!fresh || fresh.innerHTML === part.innerHTML) continue;
    // Who has a link in focus keeps it.
    const focus = part.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    part.replaceChildren(...fresh.childNodes);
    if (focus) [...part.querySelectorAll('a')].find((a) => a.getAttribute('href') === focus)?.focus();
  }
}

function follow() {
  if (source) return;
  source = new EventSource('/api/v1/events');
  source.onopen = () => { live.textContent = 'live'; refresh(); };
  source.onerror = () => { live.textContent = 'not connected, trying again'; };
  source.onmessage = refresh;
  source.addEventListener('reset', refresh);
}

// A browser opens few connections to one host: a page that nobody looks at needs none.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) { source?.close(); source = undefined; } else { follow(); }
});
// Leaving the page is no lost connection.
addEventListener('pagehide', () => { source?.close(); source = undefined; });
addEventListener('pageshow', () => { if (!document.hidden) follow(); });
