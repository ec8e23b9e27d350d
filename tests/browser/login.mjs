// The login of a pipeline with a token: by keyboard alone, also with a wrong token.
//
//   login.mjs TOKEN
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { accessible } from './checks.mjs';
import { box, until, visiting } from './support.mjs';

const token = process.argv[2];
const asked = '/runs?state=failed';

test('a token is typed, and the page that was asked for opens', () => visiting(asked, { status: 401 }, async (page) => {
  const field = page.getByLabel('Token');
  await page.locator('#token:focus').waitFor();
  const [label, input, button] = [await box(page.getByText('Token', { exact: true })), await box(field), await box(page.getByRole('button', { name: 'Log in' }))];
  assert.ok(label.y + label.height <= input.y + 1 && input.y + input.height <= button.y, JSON.stringify({ label, input, button }));
  assert.equal(await field.getAttribute('type'), 'password');

  await page.keyboard.type('a-guess-7f3a');
  await page.keyboard.press('Enter');
  const wrong = page.getByRole('alert');
  await box(wrong);
  // The field is empty, has the focus, and says what is wrong with it.
  await page.locator('#token:focus').waitFor();
  assert.equal(await field.inputValue(), '');
  assert.equal(await field.getAttribute('aria-describedby'), await wrong.getAttribute('id'));
  assert.equal(await page.getByText('a-guess-7f3a').count(), 0);
  for (const theme of ['light', 'dark']) await accessible(page, theme);

  await page.keyboard.type(token);
  await page.keyboard.press('Enter');
  await box(page.getByRole('heading', { name: 'Runs', exact: true }));
  const { pathname, search } = new URL(page.url());
  assert.equal(pathname + search, asked);
  await box(page.getByText('live', { exact: true }));
}));

test('a session is kept in a cookie that scripts do not see, and ends with the logout', () => visiting('/', { status: 401 }, async (page, visit) => {
  await page.locator('#token:focus').waitFor();
  await page.keyboard.type(token);
  await page.keyboard.press('Enter');
  const leave = page.getByRole('button', { name: 'Log out' });
  await box(leave);
  const [cookie] = await visit.context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.value.includes(token)], [true, 'Strict', false]);
  assert.equal(await page.evaluate(() => document.cookie), '');
  await leave.focus();
  await page.keyboard.press('Enter');
  await box(page.getByRole('heading', { name: 'Log in' }));
  await until('the cookie to be gone', async () => (await visit.context.cookies()).length === 0);
}));
