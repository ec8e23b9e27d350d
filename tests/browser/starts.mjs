// The form that starts a run, and the graph above it, of a pipeline with nodes in ten columns.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { api, box, tabTo, until, visiting } from './support.mjs';

const count = async () => (await api('/api/v1/runs')).items.length;

test('the whole graph is seen at a width of 1280 px', () => visiting('/', {}, async (page) => {
  const scroll = page.locator('.graph-scroll');
  await box(scroll);
  await until('the graph to fit', () => scroll.evaluate((it) => it.scrollWidth <= it.clientWidth && it.scrollHeight <= it.clientHeight));
  const frame = await box(scroll);
  const nodes = await page.locator('.graph-right a.node').all();
  assert.ok(nodes.length > 8, `${nodes.length} nodes`);
  for (const node of nodes) {
    const place = await box(node);
    assert.ok(place.x >= frame.x && place.x + place.width <= frame.x + frame.width, JSON.stringify({ place, frame }));
  }
}));

test('Start pressed twice starts one run, and another one after going back', () => visiting('/', {}, async (page) => {
  for (const runs of [1, 2]) {
    await page.locator('summary').filter({ hasText: 'Run now' }).click();
    const start = page.getByRole('button', { name: 'Start', exact: true });
    await box(start);
    // The first press reaches the host, but its answer does not reach the browser.
    let presses = 0;
    await page.route('**/pipeline/run', async (route) => {
      presses += 1;
      if (presses > 1) return route.continue();
      assert.equal((await route.fetch({ maxRedirects: 0 })).status(), 303);
      return undefined;
    });
    await start.evaluate((it) => setInterval(() => it.click(), 1000));
    await until('the page of the run', () => /\/runs\/\d+$/.test(page.url()));
    await page.waitForLoadState('load');
    await page.unroute('**/pipeline/run');
    assert.ok(presses > 1, `${presses} presses`);
    assert.equal(await count(), runs);
    await page.goBack({ waitUntil: 'load' });
  }
}));

test('a run is started with params by keyboard alone', () => visiting('/', {}, async (page) => {
  const before = await count();
  const focus = page.locator(':focus');
  await tabTo(page, 'summary', 'Run now');
  const trees = page.getByLabel('Trees');
  assert.equal(await trees.isVisible(), false);
  await page.keyboard.press('Enter');
  await box(trees);
  await tabTo(page, 'input', 'Trees');
  await page.keyboard.type('0');
  // The browser says what is wrong with a value before anything is sent.
  await page.keyboard.press('Enter');
  await page.locator('input:invalid:focus').waitFor();
  assert.equal(await count(), before);
  await page.keyboard.press('Backspace');
  await page.keyboard.type('250');
  await tabTo(page, 'select', 'model');
  for (const model of ['"forest"', '"boosted"']) {
    await page.keyboard.press('ArrowDown');
    assert.equal(await focus.inputValue(), model);
  }
  await tabTo(page, 'button', 'Start');
  await Promise.all([page.waitForURL(/\/runs\/\d+$/), page.keyboard.press('Space')]);
  assert.equal(await count(), before + 1);
  for (const text of ['trees', '250', 'model', 'boosted']) await box(page.locator('.pairs').getByText(text, { exact: true }));
}));

test('Tab goes through a graph as it leads, and opens a node', () => visiting('/', {}, async (page) => {
  await tabTo(page, 'div', /^Graph, /);
  let left = 0;
  for (const name of ['metadata store', 'folder-0', 'action-0', 'folder-1', 'action-1']) {
    await page.keyboard.press('Tab');
    const node = page.locator('a.node:focus-visible');
    assert.ok((await node.locator('title').textContent()).includes(name), `Tab comes to ${await node.locator('title').textContent()} instead of ${name}`);
    const place = await box(node);
    assert.ok(place.x > left, `${name} is at ${place.x}, not right of ${left}`);
    left = place.x;
  }
  // Its box is marked, and so is what it is connected with.
  const stroke = await page.locator('a.node:focus-visible .box').evaluate((it) => getComputedStyle(it).strokeWidth);
  assert.equal(stroke, '4px');
  assert.equal(await page.locator('.graph-right .edge.near:not(.head)').count(), 2, 'from its folder, and to the next one');
  await Promise.all([page.waitForURL(/\/actions\/action-1$/), page.keyboard.press('Enter')]);
  await box(page.getByRole('heading', { name: 'action-1', level: 1 }));
}));
