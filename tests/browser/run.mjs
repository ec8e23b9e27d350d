// The pages of a run, and the page of all runs: what is drawn, what changes while it runs, and what
// is done by keyboard alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { api, ask, box, tabTo, until, visiting } from './support.mjs';

const NARROW = { width: 360, height: 640 };

/** Starts a run with these steps of all actions, and returns its number. */
const start = async (...steps) => Number(await ask(JSON.stringify(steps)));
const stateOf = async (run) => (await api(`/api/v1/runs/${run}`)).state;
/** Returns a lane of the timeline. */
const lane = (page, action) => page.locator(`[data-key="lane-${action}"]`);
/** Returns a node of the drawing that is seen, by what it says to a screen reader. */
const node = (page, text) => page.locator('svg.graph a.node:visible').filter({ has: page.locator('title', { hasText: text }) });

test('attempts stand on one axis, in the order of time, and waits between them', () => visiting('/runs/4', {}, async (page) => {
  const boxes = lane(page, 'train').locator('a:has(rect.box)');
  await until('two attempts', async () => (await boxes.count()) === 2);
  await box(boxes.first());
  // In one step, because the axis grows while the run waits.
  const [failed, succeeded, wait] = await page.evaluate(() => {
    const all = document.querySelectorAll('[data-key="lane-train"] rect.box, [data-key="lane-publish"] rect.span.ask');
    return [...all].map((it) => it.getBoundingClientRect().toJSON());
  });
  assert.ok(failed.width > 0 && failed.right <= succeeded.left + 1, JSON.stringify({ failed, succeeded }));
  assert.ok(wait.left >= succeeded.right - 1 && wait.width > 10, JSON.stringify({ succeeded, wait }));
  assert.match(await boxes.first().getAttribute('aria-label'), /^train, attempt 1: failed after /);
  assert.match(await boxes.last().getAttribute('aria-label'), /^train, attempt 2: succeeded after /);
  // The names of the lanes are at their left, one below the other, in the order of the manifest.
  let above = 0;
  for (const action of ['train', 'publish', 'tell']) {
    const [name, row] = [await box(lane(page, action).locator('.lane-name')), await box(lane(page, action))];
    assert.ok(name.x < row.x + row.width / 4 && row.y >= above, `${action}: ${JSON.stringify({ name, row, above })}`);
    above = row.y + row.height;
  }
  // An attempt leads to its log by keyboard.
  await boxes.last().focus();
  await Promise.all([page.waitForURL(/\/runs\/4\/logs\?attempt=/), page.keyboard.press('Enter')]);
  await box(page.getByText('one line of many').first());
}));

test('actions that were not reached say so, in the timeline and in the graph', async () => {
  await visiting('/runs/3', {}, async (page) => {
    await box(lane(page, 'tell').getByText('not reached: the run was cancelled'));
    await box(lane(page, 'tell').locator('.state', { hasText: 'not reached' }).locator('svg'));
  });
  await visiting('/runs/3/graph', {}, async (page) => {
    await box(node(page, 'action tell: not reached').locator('.word', { hasText: 'not reached' }));
    await box(node(page, 'action train: succeeded').locator('.word', { hasText: 'succeeded' }));
  });
});

test('the graph of a run shows its nodes from left to right with their states in colour', async () => {
  for (const colorScheme of ['light', 'dark']) {
    await visiting('/runs/4/graph', { colorScheme }, async (page) => {
      const order = ['metadata store', 'resource raw: nothing on record', 'action train: succeeded', 'action publish: awaiting approval', 'action tell: pending'];
      let left = 0;
      const colours = new Set();
      for (const text of order) {
        const one = node(page, text);
        const place = await box(one);
        assert.ok(place.x >= left, `${text} begins at ${place.x}, left of ${left}`);
        left = place.x;
        // An icon stands left of the word.
        const [sign, word] = [await box(one.locator('use.sign')), await box(one.locator('.word'))];
        assert.ok(sign.x + sign.width <= word.x + 1 && sign.width >= 8, JSON.stringify({ sign, word }));
        if (text.startsWith('action')) colours.add(await one.locator('.word').evaluate((it) => getComputedStyle(it).fill));
      }
      assert.equal(colours.size, 3, [...colours].join(' '));
    });
  }
});

test('a node of the graph leads by keyboard to what the run has about it, and the list says the same', () => visiting('/runs/2/graph', {}, async (page) => {
  await page.getByText('View as list').focus();
  await page.keyboard.press('Enter');
  const row = page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: 'publish', exact: true }) });
  await box(row.getByText('skipped', { exact: true }));
  await box(row.getByRole('link', { name: 'train', exact: true }));
  await node(page, 'action train: failed').focus();
  await Promise.all([page.waitForURL(/\/runs\/2#action-train$/), page.keyboard.press('Enter')]);
  await box(page.locator('#action-train').getByText('bill_length_mm').first());
}));

test('on a telephone the graph of a run leads down, and its names can be read', () => visiting('/runs/4/graph', { viewport: NARROW }, async (page) => {
  const [train, publish] = [await box(node(page, 'action train')), await box(node(page, 'action publish'))];
  assert.ok(publish.y > train.y + train.height, JSON.stringify({ train, publish }));
  const scale = await page.locator('.graph-down svg.graph').evaluate((it) => it.getBoundingClientRect().width / it.viewBox.baseVal.width);
  assert.ok(scale >= 0.7, `the graph is drawn at ${scale} of its size`);
}));

test('the graph of a run that runs is live, and shows how far it has come', async () => {
  const run = await start({ do: 'progress', fraction: 0.25, message: 'one' }, { do: 'await_cancel' });
  await visiting(`/runs/${run}/graph`, {}, async (page) => {
    await page.evaluate(() => { window.isTheSame = true; });
    const train = node(page, 'action train: running, 25 %');
    const [track, done] = [await box(train.locator('rect.track')), await box(train.locator('rect.done'))];
    assert.ok(Math.abs(done.width / track.width - 0.25) < 0.02, JSON.stringify({ track, done }));
    await api(`/api/v1/runs/${run}/cancel`, { method: 'POST' });
    await box(node(page, 'action train: cancelled'));
    await box(node(page, 'action publish: not reached'));
    assert.ok(await page.evaluate(() => window.isTheSame === true), 'the page was reloaded');
  });
});

test('the lineage of a run is drawn, from what it read to what it wrote', () => visiting('/runs/1/artifacts', {}, async (page) => {
  const place = async (text) => box(node(page, text));
  const [read, train, wrote] = [await place(' in raw, version 1'), await place('train in run 1'), await place(' in out, version 1')];
  assert.ok(read.x + read.width <= train.x && train.x + train.width <= wrote.x, JSON.stringify({ read, train, wrote }));
}));

test('durations of runs are points, the oldest left, the longest high', () => visiting('/runs', {}, async (page) => {
  const figure = page.getByRole('group', { name: 'Durations of the runs on this page' });
  const frame = await box(figure);
  const points = await figure.locator('a').all();
  const rows = await page.locator('tr[data-key^="run-"]').count();
  assert.ok(points.length >= 5 && points.length <= rows, `${points.length} points of ${rows} runs`);
  let [left, before] = [frame.x - 1, 0];
  for (const point of points) {
    const place = await box(point);
    const number = Number((await point.getAttribute('aria-label')).match(/^run (\d+): /)[1]);
    assert.ok(place.x > left && number > before, `run ${number} is at ${place.x}, after run ${before} at ${left}`);
    assert.ok(place.x + place.width <= frame.x + frame.width + 1 && place.y >= frame.y - 1 && place.y + place.height <= frame.y + frame.height + 1, JSON.stringify({ place, frame }));
    [left, before] = [place.x, number];
  }
  // Run 5 runs since before the others ended.
  const [first, fifth] = [figure.locator('a[aria-label^="run 2:"]'), figure.locator('a[aria-label^="run 5:"]')];
  assert.ok((await box(fifth)).y < (await box(first)).y);
  await first.focus();
  await Promise.all([page.waitForURL(/\/runs\/2$/), page.keyboard.press('Enter')]);
}));

test('a log is followed as it grows, until the reader scrolls up', async () => {
  const part = (number) => [{ do: 'log', message: `part ${number} of a log that grows` }, { do: 'sleep', ms: 200 }];
  const run = await start({ do: 'log', message: 'the beginning', times: 100 }, ...Array.from({ length: 350 }, (_, number) => part(number)).flat());
  await visiting(`/runs/${run}/logs`, { viewport: { width: 1280, height: 700 } }, async (page) => {
    const log = page.locator('.log-box');
    const lines = () => log.locator('li').count();
    const seen = () => log.evaluate((it) => ({ top: it.scrollTop, rest: it.scrollHeight - it.clientHeight - it.scrollTop }));
    await until('more lines than fit', async () => (await lines()) > 102);
    const before = await lines();
    await until('more lines', async () => (await lines()) > before + 2);
    assert.ok((await seen()).rest < 8, 'the end of the log is not in sight');
    const last = await box(log.locator('li').last());
    const frame = await box(log);
    assert.ok(last.y >= frame.y && last.y + last.height <= frame.y + frame.height + 1, JSON.stringify({ last, frame }));
    // By keyboard, as the box has the focus.
    await log.focus();
    await page.keyboard.press('Home');
    await until('the beginning', async () => (await seen()).top === 0);
    const then = await lines();
    await until('more lines again', async () => (await lines()) > then + 2);
    assert.equal((await seen()).top, 0, 'the log moves away from the reader');
    await page.keyboard.press('End');
    await until('the end', async () => (await seen()).rest < 8);
    const later = await lines();
    await until('still more lines', async () => (await lines()) > later + 2);
    assert.ok((await seen()).rest < 8, 'the log is not followed again');
  });
  await api(`/api/v1/runs/${run}/cancel`, { method: 'POST' });
});

test('a run is retried, run again and cancelled by keyboard alone', async () => {
  const run = await start({ do: 'fail', message: 'no luck' });
  await until('the run to fail', async () => (await stateOf(run)) === 'failed');
  await visiting(`/runs/${run}`, {}, async (page) => {
    await tabTo(page, 'summary', 'Retry');
    await page.keyboard.press('Enter');
    await box(page.getByText('will run again').first());
    await tabTo(page, 'button', 'Retry');
    await Promise.all([page.waitForEvent('load'), page.keyboard.press('Enter')]);
    await box(page.locator('#action-train').getByText('Attempt 2'));
    await until('the run to fail again', async () => (await stateOf(run)) === 'failed');
    await page.reload();
    await tabTo(page, 'summary', 'Run again');
    await page.keyboard.press('Enter');
    await box(page.getByText('A new run works on the inputs of'));
    await tabTo(page, 'button', 'Run again');
    await Promise.all([page.waitForURL((it) => it.pathname !== `/runs/${run}`), page.keyboard.press('Enter')]);
    await box(page.getByText('Works again on the inputs of'));
  });
  const other = await start({ do: 'await_cancel' });
  await visiting(`/runs/${other}`, {}, async (page) => {
    await box(page.locator('.run-head').getByText('running', { exact: true }));
    await tabTo(page, 'summary', 'Cancel');
    await page.keyboard.press('Enter');
    await tabTo(page, 'button', 'Cancel');
    // Escape closes what asks, nothing has happened, and the focus is where it began.
    await page.keyboard.press('Escape');
    await page.locator('.confirm[open]').waitFor({ state: 'detached' });
    assert.equal(await stateOf(other), 'running');
    await page.keyboard.press('Enter');
    await box(page.getByText('will be stopped'));
    await tabTo(page, 'button', 'Cancel');
    await Promise.all([page.waitForEvent('load'), page.keyboard.press('Enter')]);
    await box(page.locator('.run-head').getByText('cancelled', { exact: true }));
  });
  assert.equal(await stateOf(other), 'cancelled');
});
