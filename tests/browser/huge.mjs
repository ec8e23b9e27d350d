// The log of an attempt with more than a million lines, of which a page has few.
//
//   huge.mjs LINES FOUND
//
// LINES is how many lines it has, and FOUND the one of them that says "a needle".
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { api, box, until, visiting } from './support.mjs';

const [last, needle] = process.argv.slice(2).map(Number);
const MOST_LINES = 500;
const { actions } = await api('/api/v1/runs/1');
const log = `/runs/1/logs?attempt=${actions.find((it) => it.name === 'train').attempts[0].id}`;

/** The page has few lines, whatever the log has. */
async function isSmall(page) {
  const { lines, elements, bytes } = await page.evaluate(() => ({
    lines: document.querySelectorAll('.log li').length,
    elements: document.querySelectorAll('*').length,
    bytes: performance.getEntriesByType('navigation')[0].decodedBodySize,
  }));
  assert.ok(lines > 0 && lines <= MOST_LINES, `${lines} lines`);
  assert.ok(elements < 10 * MOST_LINES && bytes < 500_000, `${elements} elements, ${bytes} bytes`);
}

/** Waits until a line is in sight in its box. */
async function seen(page, number) {
  const line = page.locator(`#L${number}`);
  await until(`line ${number} to be in sight`, async () => {
    const [place, frame] = [await box(line), await box(page.locator('.log-box'))];
    return place.y >= frame.y - 1 && place.y + place.height <= frame.y + frame.height + 1;
  });
  return line;
}

test('a huge log opens at its end, and at its beginning', () => visiting(log, {}, async (page) => {
  await isSmall(page);
  await box((await seen(page, last)).getByText(`step ${last} `));
  await page.getByRole('link', { name: 'From the start' }).click();
  await box((await seen(page, 1)).getByText('the first line'));
  await isSmall(page);
  await page.getByRole('link', { name: 'Later lines' }).click();
  await seen(page, MOST_LINES + 1);
  await page.getByRole('link', { name: 'To the end' }).click();
  await seen(page, last);
  await page.getByRole('link', { name: 'Earlier lines' }).click();
  await box(page.locator(`#L${last - MOST_LINES}`));
  assert.equal(await page.locator(`#L${last}`).count(), 0);
  await isSmall(page);
}));

test('a line in the middle of a huge log is found, and opened by its address', () => visiting(log, {}, async (page) => {
  await page.getByRole('searchbox', { name: 'Find' }).fill('A needle');
  await page.keyboard.press('Enter');
  await page.waitForURL(/find=A\+needle/);
  const found = page.locator(`#L${needle}`);
  for (let come = 0; !(await found.count());) {
    // Each page of the search has come further.
    const said = await page.getByText(/^The search has come to line \d+, and can go on\.$/).textContent();
    const now = Number(said.match(/\d+/)[0]);
    assert.ok(now > come && now <= needle, said);
    come = now;
    const before = page.url();
    await page.getByRole('link', { name: 'Search on' }).click();
    await page.waitForURL((it) => it.href !== before);
  }
  assert.equal(await page.locator('.log li').count(), 1);
  await isSmall(page);
  const link = found.getByRole('link', { name: `Line ${needle}`, exact: true });
  await Promise.all([page.waitForURL(new RegExp(`#L${needle}$`)), link.click()]);
  const line = await seen(page, needle);
  await box(line.getByText('a needle'));
  await isSmall(page);
  // It is among the lines around it, and marked.
  for (const other of [needle - 1, needle + 1]) await box(page.locator(`#L${other}`));
  const ground = (number) => page.locator(`#L${number}`).evaluate((it) => getComputedStyle(it).backgroundColor);
  assert.notEqual(await ground(needle), await ground(needle - 1));
  // The address opens it elsewhere too.
  const other = await page.context().newPage();
  await other.goto(page.url());
  await seen(other, needle);
}));
