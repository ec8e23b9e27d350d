// A resource that takes uploads: files from the reader's machine, calls that were denied, and a
// moment that a page counts down to.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { api, box, until, visiting } from './support.mjs';

const file = (name, text) => ({ name, mimeType: 'text/csv', buffer: Buffer.from(text) });
const contentOf = async (path) => {
  const { items } = await api(`/api/v1/artifacts?resource=inbox&path=${encodeURIComponent(path)}`);
  const answer = await fetch(new URL(`/api/v1/artifacts/${items[0].id}/content`, process.env.ANACOSTIA_URL));
  return answer.text();
};

test('files are uploaded as they are, and are on the page without a reload', () => visiting('/resources/inbox', {}, async (page) => {
  await box(page.getByText('live', { exact: true }));
  await page.evaluate(() => { window.isTheSame = true; });
  const [field, button, said] = [page.getByLabel('File', { exact: true }), page.getByRole('button', { name: 'Upload' }), page.locator('.upload output')];
  await field.setInputFiles([file('day 1 & <b>.csv', 'a,b\n1,2\n')]);
  await button.focus();
  await page.keyboard.press('Enter');
  await box(said.getByText('day 1 & <b>.csv is on record.'));
  await box(page.getByRole('link', { name: 'day 1 & <b>.csv', exact: true }));
  assert.equal(await contentOf('day 1 & <b>.csv'), 'a,b\n1,2\n');
  // The form is ready for the next files.
  assert.equal(await field.evaluate((it) => it.files.length), 0);
  assert.ok(await button.isEnabled());
  await page.locator('.upload progress').waitFor({ state: 'hidden' });
  await field.setInputFiles([file('2.csv', '2'), file('3.csv', '3')]);
  await button.click();
  await box(said.getByText('2 files are on record.'));
  for (const name of ['2.csv', '3.csv']) await box(page.getByRole('link', { name, exact: true }));
  assert.equal(await contentOf('3.csv'), '3');
  assert.ok(await page.evaluate(() => window.isTheSame === true), 'the page was reloaded');
}));

test('a file that is not taken is said with the reason, and those before it stay', () => visiting('/resources/inbox', {}, async (page, visit) => {
  visit.expect(/status of 4\d\d|^4\d\d for /);
  await page.getByLabel('File', { exact: true }).setInputFiles([file('4.csv', '4'), file(`${'x'.repeat(300)}.csv`, '5')]);
  await page.getByRole('button', { name: 'Upload' }).click();
  const said = page.locator('.upload output');
  await box(said.getByText(/xxx\.csv was not taken: .+ The 1 before it are on record\.$/));
  assert.ok(await page.getByRole('button', { name: 'Upload' }).isEnabled());
  assert.equal(await contentOf('4.csv'), '4');
}));

test('an upload shows how far it is', () => visiting('/resources/inbox', {}, async (page) => {
  const bar = page.locator('.upload progress');
  assert.equal(await bar.isVisible(), false);
  // The host answers late.
  let answer;
  const late = new Promise((resume) => { answer = resume; });
  await page.route(/\/artifacts\?path=/, async (route) => { await late; await route.continue(); });
  await page.getByLabel('File', { exact: true }).setInputFiles([file('6.csv', '6')]);
  await page.getByRole('button', { name: 'Upload' }).click();
  await box(bar);
  await box(page.locator('.upload output').getByText('Sends 6.csv …'));
  assert.ok(await page.getByRole('button', { name: 'Upload' }).isDisabled());
  answer();
  await box(page.locator('.upload output').getByText('6.csv is on record.'));
  await bar.waitFor({ state: 'hidden' });
}));

test('calls that were denied are in the list of who used a resource', () => visiting('/resources/inbox', {}, async (page) => {
  const row = page.locator('section[aria-labelledby="accesses"] tbody tr').filter({ hasText: 'denied' }).first();
  await box(row.getByRole('link', { name: 'look' }));
  const summary = row.locator('summary').first();
  await box(summary.locator('svg'));
  assert.equal(await row.locator('pre').first().isVisible(), false);
  await summary.focus();
  await page.keyboard.press('Enter');
  await box(row.getByText(/^resources\.create: .*inbox/));
}));

test('a page counts down to the moment at which a trigger is due', () => visiting('/', {}, async (page) => {
  const due = page.locator('[data-countdown]').first();
  const at = Date.parse(await due.getAttribute('data-countdown'));
  // Ninety seconds before it, by the clock of the browser, which stands still.
  await page.clock.install({ time: at - 100_000 });
  await page.clock.pauseAt(at - 90_500);
  await page.reload();
  const says = (text) => until(`"${text}"`, async () => (await due.textContent()) === text);
  await says('in 1 min 31 s');
  await page.clock.runFor(1_000);
  await says('in 1 min 30 s');
  await page.clock.runFor(31_000);
  await says('in 59 s');
  await box(due);
  await page.clock.runFor(60_000);
  await says('now');
  await page.clock.setSystemTime(at - 3 * 3_600_000 - 120_000);
  await page.clock.runFor(1_000);
  await says('in 3 h 1 min');
  await page.clock.setSystemTime(at - 33 * 86_400_000 - 17 * 3_600_000);
  await page.clock.runFor(1_000);
  await says('in 33 d 16 h');
}));
