// The list of runs, used by keyboard alone: filtered, sorted, and two runs compared.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { api, box, tabTo, visiting } from './support.mjs';

/** Returns the numbers of the runs that are seen, in their order. */
const numbers = async (page) => {
  const all = await page.locator('tr[data-key^="run-"] th').all();
  const seen = [];
  for (const one of all) if (await one.isVisible()) seen.push(Number(await one.innerText()));
  return seen;
};
const numbersOf = async (query) => (await api(`/api/v1/runs?${query}`)).items.map((run) => run.number);

test('runs are filtered and sorted by keyboard alone', () => visiting('/runs', {}, async (page) => {
  const all = await numbers(page);
  assert.ok(all.length >= 5, all.join(' '));
  for (const state of ['failed', 'cancelled']) {
    await tabTo(page, 'input', state);
    await page.keyboard.press('Space');
    assert.ok(await page.getByRole('checkbox', { name: state, exact: true }).isChecked());
  }
  await tabTo(page, 'select', 'Order');
  await page.keyboard.press('ArrowDown');
  await tabTo(page, 'button', 'Filter');
  await Promise.all([page.waitForURL(/sort=oldest/), page.keyboard.press('Enter')]);
  const found = await numbers(page);
  assert.deepEqual(found, [2, 3]);
  assert.deepEqual(found, await numbersOf('state=failed,cancelled&sort=oldest'));
  // The form says what is chosen, and the way back is a stop too.
  assert.ok(await page.getByRole('checkbox', { name: 'failed', exact: true }).isChecked());
  await tabTo(page, 'a', 'Clear');
  await Promise.all([page.waitForURL(/\/runs$/), page.keyboard.press('Enter')]);
  assert.deepEqual(await numbers(page), all);
}));

test('a text filters as soon as Enter is pressed in its field', () => visiting('/runs', {}, async (page) => {
  await tabTo(page, 'input', 'Created since');
  await page.keyboard.type('2099-01-01');
  await Promise.all([page.waitForURL(/since=2099-01-01/), page.keyboard.press('Enter')]);
  await box(page.getByText('No run fits this filter.'));
  await tabTo(page, 'a', 'Show all runs');
  await Promise.all([page.waitForURL(/\/runs$/), page.keyboard.press('Enter')]);
  assert.ok((await numbers(page)).length >= 5);
}));

test('two runs are chosen and compared by keyboard alone', () => visiting('/runs', {}, async (page) => {
  const said = page.locator('.compare-bar .why');
  assert.equal(await said.innerText(), 'Choose two to six runs to compare.');
  await tabTo(page, 'input', 'Compare run 2');
  await page.keyboard.press('Space');
  await box(page.getByText('Choose one more run.'));
  await tabTo(page, 'input', 'Compare run 1');
  await page.keyboard.press('Space');
  assert.equal(await said.innerText(), '');
  await tabTo(page, 'button', 'Compare the chosen');
  await Promise.all([page.waitForURL(/\/runs\/compare\?run=2&run=1$/), page.keyboard.press('Enter')]);
  await box(page.getByRole('heading', { name: 'Run 2 and run 1' }));
  // It leads to either of them.
  await tabTo(page, 'a', 'Run 1');
  await Promise.all([page.waitForURL(/\/runs\/1$/), page.keyboard.press('Enter')]);
  await box(page.locator('.run-head').getByText('succeeded', { exact: true }));
}));
