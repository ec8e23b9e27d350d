// The graph of a pipeline with three hundred nodes, of which a window shows a part.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { box, until, visiting } from './support.mjs';

test('a large window shows the beginning of the graph first, from its left side on', () => visiting('/', { viewport: { width: 1440, height: 900 } }, async (page) => {
  const frame = await box(page.locator('.graph-scroll'));
  const seen = async (kind) => {
    const places = await page.locator(`.graph-right .node.${kind}`).evaluateAll((nodes) => nodes.map((it) => it.getBoundingClientRect().toJSON()));
    return places.filter((it) => it.left >= frame.x && it.right <= frame.x + frame.width && it.bottom > frame.y && it.top < frame.y + frame.height);
  };
  const [store] = await seen('store');
  assert.ok(store && store.left - frame.x < frame.width / 5, `the store is at ${JSON.stringify(store)} in ${JSON.stringify(frame)}`);
  const resources = await seen('resource');
  assert.ok(resources.length > 3, `${resources.length} resources are seen`);
}));

test('a graph is zoomed by buttons, keys and the wheel, and moved by the mouse', () => visiting('/', { viewport: { width: 1440, height: 900 } }, async (page) => {
  const scroll = page.locator('.graph-scroll');
  const scale = () => page.locator('.graph-right svg.graph').evaluate((it) => it.getBoundingClientRect().width / it.viewBox.baseVal.width);
  const place = () => scroll.evaluate((it) => ({ left: it.scrollLeft, top: it.scrollTop }));
  const first = await scale();
  await page.getByRole('button', { name: 'Larger' }).click();
  assert.ok(Math.abs((await scale()) / first - 1.25) < 0.01, `${await scale()} after ${first}`);
  await page.getByRole('button', { name: 'Smaller' }).click();
  assert.ok(Math.abs((await scale()) / first - 1) < 0.01, `${await scale()} after ${first}`);
  await scroll.focus();
  await page.keyboard.press('+');
  assert.ok(Math.abs((await scale()) / first - 1.25) < 0.01, `${await scale()} after +`);
  await page.keyboard.press('0');
  const fits = () => scroll.evaluate((it) => it.scrollWidth <= it.clientWidth + 1 && it.scrollHeight <= it.clientHeight + 1);
  assert.ok(await fits(), '0 shows the whole graph');
  await page.getByRole('button', { name: 'Larger' }).click();
  await page.getByRole('button', { name: 'Fit the whole graph' }).click();
  assert.ok(await fits(), 'the button shows the whole graph');

  // The wheel zooms where the pointer is, with Control; without it, it scrolls.
  await page.keyboard.press('0');
  const frame = await box(scroll);
  const [x, y] = [frame.x + frame.width / 2, frame.y + frame.height / 2];
  await page.mouse.move(x, y);
  await page.keyboard.down('Control');
  for (let turns = 0; turns < 6; turns += 1) await page.mouse.wheel(0, -120);
  await page.keyboard.up('Control');
  await until('a larger graph', async () => (await scale()) > first);
  const zoomed = await scale();
  const before = await place();
  await page.mouse.wheel(0, 90);
  await until('the graph to scroll', async () => (await place()).top > before.top);
  assert.equal(await scale(), zoomed);

  // Dragged, the graph follows the pointer, and no link is followed.
  const from = await place();
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x - 80, y - 60, { steps: 4 });
  await page.mouse.up();
  const to = await place();
  assert.ok(Math.abs(to.left - from.left - 80) <= 1 && Math.abs(to.top - from.top - 60) <= 1, JSON.stringify({ from, to }));
  assert.equal(new URL(page.url()).pathname, '/');
}));

test('a node that has the focus lights what it is connected with', () => visiting('/', { viewport: { width: 1440, height: 900 } }, async (page) => {
  const node = page.locator('.graph-right a.node').filter({ has: page.locator('title', { hasText: 'action clean-7:' }) });
  await node.focus();
  const lit = page.locator('.graph-right .edge.near:not(.head)');
  const connected = 'one edge from its folder, and one to each of two reports';
  assert.equal(await lit.count(), 3, connected);
  // They stay so when the page is drawn again.
  await page.evaluate(() => {
    const drawn = new Promise((resolve) => { addEventListener('refreshed', resolve, { once: true }); });
    return fetch('/api/v1/pipeline/pause', { method: 'POST' }).then(() => drawn);
  });
  await page.evaluate(() => fetch('/api/v1/pipeline/resume', { method: 'POST' }));
  assert.equal(await lit.count(), 3, connected);
  await page.locator('.graph-scroll').focus();
  assert.equal(await lit.count(), 0);
}));
