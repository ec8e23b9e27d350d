// The checks of checks.mjs find what they are for: each is seen to fail on a page with one fault.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { accessible, fits, hasASkipLink, usableByKeyboard } from './checks.mjs';
import { until, visiting } from './support.mjs';

const GOOD = `<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width"><title>Good</title><link rel="icon" href="data:,"><style>
  body { background: #fff; color: #111 } a { color: #00c } a, button, input { display: inline-block; padding: 8px; margin: 4px } p { max-width: 30rem }
  :focus-visible { outline: 2px solid #00c } .skip { position: absolute; top: -60px } .skip:focus { top: 0 }
  @media (prefers-color-scheme: dark) { body { background: #111; color: #eee } a { color: #9cf } .soft { color: #eee } }
</style></head><body><a class="skip" href="#main">Skip</a><header><a href="/head">Head</a></header>
<main id="main"><h1>Title</h1><p class="soft">Some text. <a href="#x">A link</a></p><form><label>Name <input name="n"></label> <button>Send</button></form></main></body></html>`;

const narrow = (page) => fits(page, 360, 640);
const light = (page) => accessible(page, 'light');
const dark = (page) => accessible(page, 'dark');

// What is replaced in the good page by what, the check that must find it, and words of its
// complaint.
const FAULTS = [
  ['<label>Name <input name="n"></label>', '<input name="n">', light, /label .*critical/],
  ['<html lang="en">', '<html>', light, /html-has-lang/],
  ['body { background: #fff; color: #111 }', 'body { background: #fff; color: #999 }', light, /color-contrast/],
  ['a { color: #9cf }', 'a { color: #00c }', dark, /axe, dark[^]*color-contrast/],
  ['<h1>Title</h1>', '<h3>Title</h3>', light, /heading/],
  ['<p class="soft">', '<div style="width: 900px">wide</div><p>', narrow, /px wider than the window/],
  ['<p class="soft">', '<div style="overflow: hidden; white-space: nowrap; width: 60px">this is cut off</div><p>', narrow, /"this is cut off"/],
  ['<p class="soft">', '<div style="position: absolute; left: -50px">outside</div><p>', narrow, /"outside" from -50/],
  [':focus-visible { outline: 2px solid #00c }', ':focus-visible { outline: none }', usableByKeyboard, /nothing marks it/],
  ['<a href="#x">', '<a href="#x" tabindex="3">', usableByKeyboard, /Tab comes to/],
  ['.skip:focus { top: 0 }', '', usableByKeyboard, /is outside of the window/],
  ['<h1>Title</h1>', '<h1>Title</h1><div style="position: fixed; inset: 0; background: #fff">over it</div>', usableByKeyboard, /<div .* is seen in its place/],
  ['<a class="skip" href="#main">Skip</a>', '', hasASkipLink, /no link past the head/],
  ['href="#main"', 'href="#mian"', hasASkipLink, /leads nowhere/],
];

const CHECKS = [narrow, light, dark, usableByKeyboard, hasASkipLink];

test('a page with one fault', () => visiting('/', {}, async (page) => {
  // The pages are not those of the host, and so have no security policy.
  const address = new URL('/good', page.url()).href;
  let html = GOOD;
  await page.route(address, (route) => route.fulfill({ contentType: 'text/html', body: html }));
  await page.goto(address);
  for (const check of CHECKS) await check(page);
  for (const [good, bad, check, complaint] of FAULTS) {
    assert.ok(GOOD.includes(good), good);
    html = GOOD.replace(good, bad);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.goto(address);
    await assert.rejects(check(page), complaint, `${good} → ${bad}`);
  }
}));

// A script that runs in a page of the host, and what the browser then complains about.
const WRONG = [
  ["console.error('oh')", /console error: oh/],
  ["setTimeout(() => { throw new Error('thrown') })", /a script failed: Error: thrown/],
  ["alert('hello')", /a dialog: hello/],
  ["location = 'http://example.com/'", /a request to http:\/\/example.com/],
  ["document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')", /console error: .*style-src 'self'/],
  ["fetch('/no-such-thing')", /404 for /],
];

for (const [script, complaint] of WRONG) {
  test(`the browser complains about ${script}`, () => assert.rejects(
    visiting('/', {}, async (page, visit) => {
      await page.evaluate(script).catch(() => {});
      await until('a complaint', () => visit.complaints.some((it) => complaint.test(it)));
    }),
    complaint,
  ));
}
