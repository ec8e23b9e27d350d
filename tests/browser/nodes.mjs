// The page of an action and that of a resource, of a pipeline with runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { box, drop, until, visiting } from './support.mjs';

test('imports and exports are read as WIT, in a box that scrolls', async () => {
  for (const viewport of [{ width: 1280, height: 800 }, { width: 360, height: 640 }]) {
    await visiting('/actions/train', { viewport }, async (page) => {
      const wit = page.locator('.wit pre');
      assert.equal(await wit.isVisible(), false);
      await page.getByText('Imports and exports as WIT').click();
      const place = await box(wit);
      assert.ok(place.x >= 0 && place.x + place.width <= viewport.width && place.height <= viewport.height, JSON.stringify(place));
      const text = await wit.innerText();
      for (const line of ['world root {', '  import anacostia:pipeline/resources@0.1.0;', '  export anacostia:pipeline/action@0.1.0;', '  interface resources {']) {
        assert.ok(text.split('\n').includes(line), `${line} is not in\n${text}`);
      }
      assert.match(await wit.locator('code').evaluate((it) => getComputedStyle(it).fontFamily), /mono/i);
    });
  }
});

const marks = (page) => page.locator('svg[aria-label^="fired"] a.decision');

test('each decision of a trigger is a mark at its time that leads to its line', () => visiting('/resources/raw', {}, async (page) => {
  const first = await box(marks(page).first());
  const lane = await box(page.locator('svg[aria-label^="fired"]'));
  assert.ok(first.x >= lane.x && first.x + first.width <= lane.x + lane.width, JSON.stringify({ first, lane }));
  assert.ok(first.width >= 12 && first.height >= 12, JSON.stringify(first));
  // The name of the lane is beside it, and says the outcome as icon and text.
  const name = page.locator('.decisions .lane-name .state', { hasText: 'fired' });
  assert.ok((await box(name)).x < lane.x);
  await box(name.locator('svg'));
  // The list is below.
  const list = await box(page.locator('.decided'));
  assert.ok(list.y >= lane.y + lane.height, JSON.stringify({ list, lane }));

  const title = await marks(page).last().getAttribute('aria-label');
  assert.match(title, /^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC: fired, (\d+ of )?\d+ new artifact/);
  await marks(page).last().focus();
  await page.keyboard.press('Enter');
  const { hash } = new URL(page.url());
  const line = page.locator(hash);
  await box(line);
  assert.ok((await line.innerText()).includes(title.split(', ').pop()), `${hash} is not the line of ${title}`);
}));

test('a decision appears without a reload, right of those before it', () => visiting('/resources/raw', {}, async (page) => {
  await page.getByText('live', { exact: true }).waitFor();
  const name = page.locator('.decisions .lane-name', { hasText: 'fired' });
  const count = async () => Number((await name.innerText()).match(/\d+/)[0]);
  const before = await count();
  drop('raw/decided.csv', 'a\n1\n');
  await until('another decision', async () => (await count()) === before + 1);
  assert.ok((await marks(page).count()) >= 2);
  const [old, fresh] = [await box(marks(page).first()), await box(marks(page).last())];
  assert.ok(fresh.x > old.x, JSON.stringify({ old, fresh }));
}));

test('on a telephone the lanes are as wide as the page, below their names', () => visiting('/resources/raw', { viewport: { width: 360, height: 640 } }, async (page) => {
  const lane = await box(page.locator('svg[aria-label^="fired"]'));
  const name = await box(page.locator('.decisions .lane-name', { hasText: 'fired' }));
  assert.ok(lane.width > 250 && name.y + name.height <= lane.y + 1, JSON.stringify({ lane, name }));
}));
