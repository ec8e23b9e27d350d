// `/` of a pipeline with runs: what is seen, in which order, and that names are text.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { api, box, visiting } from './support.mjs';

/** Returns the row of a run. */
const row = (page, number) => page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: String(number), exact: true }) });

test('runs stand below each other, newest first, each with its state', () => visiting('/', {}, async (page) => {
  const states = { 5: 'running', 4: 'running', 3: 'cancelled', 2: 'failed', 1: 'succeeded' };
  const heading = await box(page.getByRole('heading', { name: 'Last runs' }));
  let above = heading.y + heading.height;
  for (const number of [5, 4, 3, 2, 1]) {
    const place = await box(row(page, number));
    assert.ok(place.y >= above - 1, `run ${number} begins at ${place.y}, above ${above}`);
    above = place.y + place.height;
    const state = row(page, number).getByText(states[number], { exact: true });
    await box(state);
    // An icon stands left of the text.
    const [icon, text] = [await box(state.locator('svg')), await box(state)];
    assert.ok(icon.x >= text.x && icon.x + icon.width < text.x + text.width / 2 && icon.width >= 10, JSON.stringify({ icon, text }));
  }
}));

test('states differ in colour, in both themes', async () => {
  for (const colorScheme of ['light', 'dark']) {
    await visiting('/', { colorScheme }, async (page) => {
      const colours = [];
      for (const [number, state] of [[5, 'running'], [3, 'cancelled'], [2, 'failed'], [1, 'succeeded']]) {
        colours.push(await row(page, number).getByText(state, { exact: true }).evaluate((it) => getComputedStyle(it).color));
      }
      assert.equal(new Set(colours).size, colours.length, colours.join(' '));
    });
  }
});

test('a run that failed says why, as text', () => visiting('/', {}, async (page) => {
  const failed = row(page, 2);
  await box(failed.getByText('<script>alert(2)</script>'));
  await box(failed.getByText('bill_length_mm'));
}));

test('foreign names are text wherever they stand', () => visiting('/', {}, async (page) => {
  const { items } = await api('/api/v1/artifacts?resource=raw');
  assert.ok(items[0].path.startsWith('<img src=x'), items[0].path);
  await box(page.getByText('<b>data</b> team').first());
  assert.equal(await page.locator('img, main b, main script').count(), 0);
}));

test('what waits for approval comes before everything else', () => visiting('/', {}, async (page) => {
  const approve = await box(page.locator('summary').filter({ hasText: 'Approve' }));
  const reject = await box(page.locator('summary').filter({ hasText: 'Reject' }));
  assert.ok(reject.x > approve.x + approve.width, 'the buttons stand beside each other');
  for (const name of ['Next runs', 'Last runs']) {
    assert.ok((await box(page.getByRole('heading', { name }))).y > approve.y + approve.height, name);
  }
}));

test('a decision first says what will happen, also without scripts', async () => {
  for (const [address, width] of [['/', 1280], ['/approvals', 360], ['/runs/4', 360]]) {
    for (const javaScriptEnabled of [true, false]) {
      await visiting(address, { javaScriptEnabled, viewport: { width, height: 800 } }, async (page) => {
        assert.equal(await page.getByRole('button', { name: /Approve|Reject/ }).count(), 0, address);
        await page.locator('summary').filter({ hasText: 'Reject' }).click();
        await box(page.getByText('fails, and what comes after it is skipped'));
        const button = page.getByRole('button', { name: 'Reject' });
        const place = await box(button);
        assert.ok(place.x >= 0 && place.x + place.width <= width, JSON.stringify(place));
        if (!javaScriptEnabled) return;
        await page.keyboard.press('Escape');
        await button.waitFor({ state: 'hidden' });
        assert.equal((await page.locator(':focus').innerText()).trim(), 'Reject');
      });
    }
  }
  assert.equal((await api('/api/v1/runs/4')).state, 'running');
});

test('two to six runs are compared', () => visiting('/runs', {}, async (page) => {
  const button = page.getByRole('button', { name: 'Compare' });
  const choose = (number) => page.getByRole('checkbox', { name: `Compare run ${number}`, exact: true }).check();
  assert.ok(await button.isDisabled());
  await choose(1);
  await box(page.getByText('Choose one more run.'));
  await choose(2);
  await choose(3);
  await Promise.all([page.waitForEvent('load'), button.click()]);
  assert.match(page.url(), /run=3&run=2&run=1$/);
  await box(page.getByRole('heading', { name: 'Runs 3, 2 and 1' }));
}));

test('names of params and numbers of lines keep their room', async () => {
  await visiting('/runs/4', { viewport: { width: 800, height: 800 } }, async (page) => {
    const lines = await page.locator('.pairs dt').getByText('steps', { exact: true }).evaluate((it) => {
      const range = document.createRange();
      range.selectNodeContents(it);
      return range.getClientRects().length;
    });
    assert.equal(lines, 1, 'lines of the name of a param');
  });
  await visiting('/runs/4/logs', {}, async (page) => {
    // In one step, because a page that is refreshed in between has its own numbers again.
    const [end, begin] = await page.locator('.log li').last().evaluate((it) => {
      it.querySelector('.ln').textContent = '1234567';
      return [it.querySelector('.ln').getBoundingClientRect().right, it.querySelector('time').getBoundingClientRect().left];
    });
    assert.ok(end < begin, `the number ends at ${end}, the time begins at ${begin}`);
  });
});

test('on a telephone a run is a block that can be read', () => visiting('/', { viewport: { width: 360, height: 640 } }, async (page) => {
  const number = await box(page.getByRole('link', { name: '2', exact: true }));
  const state = await box(page.getByText('failed', { exact: true }).first());
  const why = await box(page.getByText('bill_length_mm').first());
  assert.ok(number.x >= 0 && state.x >= 0 && why.x >= 0 && why.x + why.width <= 360);
}));

test('on a telephone the names in the graph can be read', () => visiting('/', { viewport: { width: 360, height: 640 } }, async (page) => {
  const scale = await page.locator('.graph-down svg.graph').evaluate((it) => it.getBoundingClientRect().width / it.viewBox.baseVal.width);
  assert.ok(scale >= 0.7, `the graph is drawn at ${scale} of its size`);
}));
