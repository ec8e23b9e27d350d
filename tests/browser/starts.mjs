// The form that starts a run, and the graph above it, of a pipeline with nodes in ten columns.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { api, box, until, visiting } from './support.mjs';

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
