// The login of a pipeline with a token: by keyboard alone, also with a wrong token.
//
//   login.mjs TOKEN
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { accessible } from './checks.mjs';
import { ask, box, drop, until, url, visiting } from './support.mjs';

const token = process.argv[2];
const asked = '/runs?state=failed';
// What the browser itself says about a host that is gone, one that starts, and a session that is
// over.
const GONE = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE/;
const STARTING = /status of 503|^503 for /;
const OVER = /status of 401|^401 for /;

/** Logs in, by keyboard, at the form that is shown. */
async function logIn(page) {
  await page.locator('#token:focus').waitFor();
  await page.keyboard.type(token);
  await page.keyboard.press('Enter');
  await box(page.getByText('live', { exact: true }));
}

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

test('the place in a page that was asked for is kept over the login, also after a wrong token', () => visiting(`${asked}#L120`, { status: 401 }, async (page, visit) => {
  visit.expect(OVER);
  await page.locator('#token:focus').waitFor();
  await page.keyboard.type('a-guess-7f3a');
  await page.keyboard.press('Enter');
  await box(page.getByRole('alert'));
  await logIn(page);
  const { pathname, search, hash } = new URL(page.url());
  assert.equal(pathname + search + hash, `${asked}#L120`);

  // A link of another site has no cookie, so the page is loaded once more, at its place.
  await page.goto('about:blank');
  await page.setContent(`<a href="${new URL(`${asked}#runs`, url)}">to the runs</a>`);
  await page.getByRole('link').click();
  await box(page.getByText('live', { exact: true }));
  assert.equal(new URL(page.url()).hash, '#runs');

  // Who is logged out meanwhile comes back to the place too.
  const other = await visit.context.newPage();
  await other.goto(new URL('/', page.url()).href);
  await other.getByRole('button', { name: 'Log out' }).click();
  await box(other.getByRole('heading', { name: 'Log in' }));
  await other.close();
  drop('raw/b.csv', '1');
  await page.getByRole('link', { name: 'log in again' }).focus();
  await page.keyboard.press('Enter');
  await logIn(page);
  assert.equal(new URL(page.url()).href, new URL(`${asked}#runs`, page.url()).href);
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

test('a page that is open when the host restarts says that its session is over, and leads back to itself', () => visiting(asked, { status: 401 }, async (page, visit) => {
  for (const complaint of [GONE, STARTING, OVER]) visit.expect(complaint);
  await logIn(page);
  const field = page.locator('[name=tag]');
  await field.fill('stage=live');
  await ask('restart the host');
  const link = page.getByRole('link', { name: 'log in again' });
  await box(link);
  assert.equal((await page.locator('#live').innerText()).replace(/\s+/g, ' '), 'logged out: log in again');
  assert.equal(await page.getByText('not connected').count(), 0);
  // What was typed, and what could be read, is still there.
  assert.equal(await field.inputValue(), 'stage=live');
  await box(page.getByRole('heading', { name: 'Runs', exact: true }));
  for (const theme of ['light', 'dark']) await accessible(page, theme);

  await link.focus();
  await page.keyboard.press('Enter');
  await logIn(page);
  const { pathname, search } = new URL(page.url());
  assert.equal(pathname + search, asked);
  assert.equal(await link.count(), 0);
}));

test('a page whose session ends in another window says so, and follows again after a login there', () => visiting('/', { status: 401 }, async (page, visit) => {
  visit.expect(OVER);
  await logIn(page);
  const other = await visit.context.newPage();
  await other.goto(page.url());
  await other.getByRole('button', { name: 'Log out' }).click();
  await box(other.getByRole('heading', { name: 'Log in' }));
  await box(page.getByRole('link', { name: 'log in again' }));
  await logIn(other);
  await other.close();
  // As for a page to which its reader comes back.
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await box(page.getByText('live', { exact: true }));
  await page.getByRole('link', { name: 'log in again' }).waitFor({ state: 'hidden' });
}));
