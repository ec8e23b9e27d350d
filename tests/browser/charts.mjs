// Charts: what is drawn, what the pointer shows, what changes, and what is there without a script.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { box, drop, until, visiting } from './support.mjs';

const METRICS = '/runs/1/metrics?runs=1,2';

/** Counts the pixels of a chart that have the colour of its first line. */
const pixels = (page) => page.locator('.chart-figure').first().evaluate((figure) => {
  const canvas = figure.querySelector('canvas');
  if (!canvas?.width || !canvas.height) return 0;
  const [red, green, blue] = getComputedStyle(figure.querySelector('.line-of')).color.match(/\d+/g).map(Number);
  // The browser warns of a canvas that is read often, so a copy is read.
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 12 && data[at + 3] > 200) count += 1;
  }
  return count;
});

test('a line is drawn in the colour of its name, in both themes, and as wide as its box', () => visiting(METRICS, {}, async (page) => {
  const seen = [];
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await until(`a line in the colours of ${colorScheme}`, async () => (await pixels(page)) > 100);
    seen.push(await page.locator('.line-of').first().evaluate((it) => getComputedStyle(it).color));
  }
  assert.notEqual(seen[0], seen[1]);
  for (const width of [1280, 360, 3840]) {
    await page.setViewportSize({ width, height: 800 });
    const plot = await box(page.locator('.plot').first());
    await until(`a canvas that fills ${plot.width} px`, async () => Math.abs((await box(page.locator('.plot canvas').first())).width - plot.width) < 2);
    assert.ok(plot.x >= 0 && plot.x + plot.width <= width && plot.height > 150, JSON.stringify(plot));
  }
}));

test('the pointer shows the values at its place', () => visiting(METRICS, {}, async (page) => {
  await box(page.locator('.plot canvas').first());
  const over = await box(page.locator('.u-over').first());
  await page.mouse.move(over.x + over.width / 2, over.y + over.height / 2);
  await box(page.locator('.at-place').getByText('step 2', { exact: true }));
  await box(page.locator('.at').getByText('0.5', { exact: true }));
  await page.mouse.move(over.x + over.width - 3, over.y + 5);
  await box(page.locator('.at-place').getByText('step 3', { exact: true }));
}));

test('the table has what is drawn, by keyboard and without a script', async () => {
  for (const javaScriptEnabled of [true, false]) {
    await visiting(METRICS, { javaScriptEnabled }, async (page) => {
      if (!javaScriptEnabled) await box(page.locator('.plot .sparkline').first());
      const summary = page.getByText('Values of loss as a table');
      await summary.focus();
      await page.keyboard.press('Enter');
      const row = page.locator('.values tr').filter({ has: page.getByRole('rowheader', { name: '2', exact: true }) });
      await box(row.getByRole('cell', { name: '0.5', exact: true }));
    });
  }
});

test('a form changes the scale, and the address keeps it', () => visiting('/runs/1/metrics', {}, async (page) => {
  await page.getByLabel('Scale').selectOption('Logarithmic');
  await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: 'Show' }).click()]);
  assert.match(page.url(), /scale=log/);
  assert.equal(await page.getByLabel('Scale').inputValue(), 'log');
  await until('a line on a logarithmic scale', async () => (await pixels(page)) > 100);
}));

test('a new run appears in an open chart over runs and in the table beside it', () => visiting('/runs/metrics?name=loss', {}, async (page) => {
  const lines = () => page.locator('[data-chart]').first().evaluate((it) => JSON.parse(it.dataset.chart).lines[0][0]);
  await until('the first chart', async () => (await pixels(page)) > 0);
  await page.evaluate(() => { window.isTheSame = document.querySelector('.plot canvas'); });
  const before = await lines();
  drop('raw/another.csv', '1');
  await until('another point', async () => (await lines()).length === before.length + 1);
  const [plot, table] = [await box(page.locator('.plot').first()), await box(page.locator('.panel-table').first())];
  assert.ok(table.x >= plot.x + plot.width, 'the table stands beside the chart');
  await box(page.getByRole('row').filter({ has: page.getByRole('link', { name: '6', exact: true }) }).first());
  // The chart was not made anew.
  assert.ok(await page.evaluate(() => window.isTheSame.isConnected));
  await until('a line between two points', async () => (await pixels(page)) > 60);
}));
