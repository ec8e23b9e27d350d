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
    // Who has a link in focus keeps it, and who fills in a form keeps what is in it.
    const active = part.contains(document.activeElement) ? document.activeElement : null;
    const focus = active?.getAttribute('href');
    const forms = new Map([...part.querySelectorAll('form')].map((form) => [about(form), form]));
    part.replaceChildren(...fresh.childNodes);
    for (const form of part.querySelectorAll('form')) form.replaceWith(forms.get(about(form)) ?? form);
    if (focus) [...part.querySelectorAll('a')].find((a) => a.getAttribute('href') === focus)?.focus();
    else if (active?.form) active.focus();
  }
}

// What a form is about: its hidden fields.
function about(form) {
  return [...form.querySelectorAll('[type=hidden]')].map((field) => field.value).join(' ');
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
