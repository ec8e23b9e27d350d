// A page that stays open: what happens is seen without a reload, also after the host was gone.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { api, ask, box, drop, until, visiting } from './support.mjs';

const row = (page, number) => page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: String(number), exact: true }) });
// What the browser says about an answer of a host that starts.
const STARTING = /status of 503|^503 for /;
// What the browser itself says about a host that is gone.
const GONE = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_NETWORK_IO_SUSPENDED/;

/** Marks the document: a reload would lose the mark. */
const mark = (page) => page.evaluate(() => { window.isTheSame = true; });
const isMarked = (page) => page.evaluate(() => window.isTheSame === true);

test('a run appears, waits, is approved by keyboard and succeeds, on a page that is not reloaded', () => visiting('/', {}, async (page) => {
  await box(page.getByText('No runs yet.'));
  await box(page.getByText('live', { exact: true }));
  await mark(page);
  drop('raw/a.csv', '1');
  await box(row(page, 1).getByText('running', { exact: true }));
  await page.getByText('No runs yet.').waitFor({ state: 'hidden' });
  // The name is being written while the page changes, and neither it nor the focus is lost.
  const summary = page.locator('summary').filter({ hasText: 'Approve' });
  await box(summary);
  await summary.focus();
  await page.keyboard.press('Enter');
  const name = page.getByLabel('Your name').first();
  await box(name);
  await name.focus();
  await page.keyboard.type('Ann');
  drop('raw/b.csv', '2');
  await box(row(page, 2));
  const first = await box(row(page, 2));
  assert.ok(first.y < (await box(row(page, 1))).y, 'the newest run is on top');
  await page.keyboard.type(' Lee');
  const form = page.locator('form').filter({ has: page.locator(':focus') });
  assert.equal(await form.getByLabel('Your name').inputValue(), 'Ann Lee');
  assert.ok(await isMarked(page), 'the page was reloaded');
  // Name, note, Approve.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  assert.equal((await page.locator(':focus').innerText()).trim(), 'Approve');
  await Promise.all([page.waitForEvent('load'), page.keyboard.press('Enter')]);
  await box(row(page, 1).getByText('succeeded', { exact: true }));
  const { actions } = await api('/api/v1/runs/1');
  assert.equal(actions.find((it) => it.name === 'publish').approval.decision.by, 'Ann Lee');
}));

test('a page whose host is gone says so, and follows the next one', () => visiting('/', {}, async (page, visit) => {
  visit.expect(GONE);
  visit.expect(STARTING);
  await box(page.getByText('live', { exact: true }));
  await mark(page);
  await ask('stop the host');
  await box(page.getByText('not connected'));
  // What was there can still be read.
  await box(row(page, 1).getByText('succeeded', { exact: true }));
  // A host that starts answers so, and the browser does not try again by itself.
  let refused = 0;
  await page.route(/\/api\/v1\/events/, (route) => { refused += 1; return route.fulfill({ status: 503 }); }, { times: 1 });
  await ask('start a host');
  await box(page.getByText('live', { exact: true }));
  await page.getByText('not connected').waitFor({ state: 'hidden' });
  assert.equal(refused, 1);
  drop('raw/c.csv', '3');
  await box(row(page, 3));
  assert.ok(await isMarked(page), 'the page was reloaded');
}));

test('a page that gets no answer says so, and asks again', () => visiting('/', {}, async (page) => {
  await page.clock.install();
  await page.reload();
  await box(page.getByText('live', { exact: true }));
  await mark(page);
  let unanswered = 0;
  await page.route(page.url(), () => { unanswered += 1; }, { times: 2 });
  drop('raw/e.csv', '5');
  await until('the page to be asked for', () => unanswered === 1);
  await page.clock.fastForward(16_000);
  await box(page.getByText('no answer, trying again'));
  await until('the page to be asked for again', () => unanswered === 2);
  await page.clock.fastForward(16_000);
  await box(page.getByText('live', { exact: true }));
  await box(row(page, 4));
  assert.ok(await isMarked(page), 'the page was reloaded');
}));

test('a page about what does not exist yet shows it once it does', () => visiting('/runs/5', { status: 404 }, async (page, visit) => {
  visit.expect(/status of 404/);
  await box(page.getByText('There is no run 5.'));
  await box(page.getByText('live', { exact: true }));
  drop('raw/f.csv', '6');
  await box(page.getByRole('heading', { name: 'Run 5' }));
}));

test('while much happens, a page waits until it is calm', () => visiting('/', {}, async (page) => {
  await page.clock.install();
  // A stream that says what the test wants.
  await page.addInitScript(() => {
    window.EventSource = class extends EventTarget { constructor() { super(); window.stream = this; } close() {} };
    window.drawn = 0;
    window.addEventListener('refreshed', () => { window.drawn += 1; });
  });
  await page.reload();
  // From now on time only passes as the test says, however slow the machine is.
  await page.clock.pauseAt(Date.now() + 60_000);
  const newest = Number(await page.locator('body').getAttribute('data-newest'));
  assert.ok(newest > 0, 'the page says which event is the newest that it shows');
  const hear = (event) => page.evaluate((id) => window.stream.onmessage({ lastEventId: id }), `1-${newest + event}`);
  const drawn = () => page.evaluate(() => window.drawn);
  const before = await drawn();
  const draws = (times) => until(`the page to be drawn again, ${times} times`, async () => await drawn() === before + times);

  await hear(1);
  await draws(1);
  await page.clock.runFor(1000);
  for (let n = 1; n <= 9; n++) {
    await hear(100 * n);
    await page.clock.runFor(100);
    assert.equal(await drawn(), before + 1, 'the page waits');
  }
  await page.clock.runFor(150);
  await draws(2);
  await page.clock.runFor(1000);
  for (let n = 1; n <= 12; n++) {
    await hear(1000 + 100 * n);
    await page.clock.runFor(100);
  }
  // It is not calm yet, but it has waited for a second.
  await draws(3);
}));

test('several open pages are all kept up to date', () => visiting('/', {}, (first) => visiting('/', {}, async (second) => {
  for (const page of [first, second]) await box(page.getByText('live', { exact: true }));
  await api('/api/v1/pipeline/pause', { method: 'POST' });
  for (const page of [first, second]) await box(page.getByText('paused', { exact: true }));
  await api('/api/v1/pipeline/resume', { method: 'POST' });
  for (const page of [first, second]) await page.getByText('paused', { exact: true }).waitFor({ state: 'hidden' });
})));
