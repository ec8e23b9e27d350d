// Measures the pages of a host in Chromium: browser.mjs URL COUNT
//
// Prints two lines of JSON. The first, when a page is open that stays open: a list of the first
// paints of COUNT pages, each in a browser context without a cache, in milliseconds; and how many
// bytes all kinds of pages load besides themselves, compressed as they are sent, if COUNT is not 0.
// The second, when its input ends: when each run was first seen to have succeeded on the
// open page, in milliseconds since 1970.
import { once } from 'node:events';
import { createRequire } from 'node:module';

const { chromium } = createRequire(`${process.env.ANACOSTIA_NODE_MODULES}/`)('playwright-core');
const [, , url, count] = process.argv;
const browser = await chromium.launch({ executablePath: process.env.ANACOSTIA_CHROMIUM, args: ['--no-sandbox'] });

const paints = [];
for (let n = 0; n < +count; n++) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(url);
  paints.push(await page.evaluate(firstPaint));
  await context.close();
}

const SCREENS = [
  '/', '/runs', '/runs/1', '/runs/1/logs', '/runs/1/artifacts', '/runs/1/metrics', '/runs/1/events',
  '/runs/compare?run=1&run=2', '/runs/metrics', '/resources/raw', '/actions/stamp', '/approvals',
  '/settings', '/api',
];
const assets = new Map();
if (+count > 0) {
  const context = await browser.newContext();
  const page = await context.newPage();
  for (const screen of SCREENS) {
    await page.goto(url + screen, { waitUntil: 'load' });
    for (const [name, bytes] of await page.evaluate(loaded)) {
      // A file from the cache of the browser has no size.
      assets.set(name, Math.max(bytes, assets.get(name) ?? 0));
    }
  }
  await context.close();
}

const page = await browser.newPage();
await page.goto(url);
await page.locator('#live[data-state=live]').waitFor();
await page.evaluate(watchRuns);
await page.waitForTimeout(3000); // a browser that has just started is busy with itself
const bytes = [...assets.values()].reduce((sum, size) => sum + size, 0);
console.log(JSON.stringify([paints, bytes]));

process.stdin.resume();
await once(process.stdin, 'end');
await page.waitForTimeout(1000); // the end of the last run is on its way
console.log(JSON.stringify(await page.evaluate(() => globalThis.seen)));
await browser.close();

// Runs in the page: waits for the first paint with content, and returns when it was.
function firstPaint() {
  return new Promise((tell) => {
    new PerformanceObserver((list) => {
      const paint = list.getEntriesByName('first-contentful-paint')[0];
      if (paint) tell(paint.startTime);
    }).observe({ type: 'paint', buffered: true });
  });
}

// Runs in the page: returns the address of each asset that it has loaded, and the bytes of its body
// as they were sent.
function loaded() {
  return performance.getEntriesByType('resource')
    .filter((entry) => entry.name.includes('/assets/'))
    .map((entry) => [entry.name, entry.encodedBodySize]);
}

// Runs in the page: notes when each run is first shown as succeeded.
function watchRuns() {
  globalThis.seen = {};
  const look = () => {
    for (const row of document.querySelectorAll('[data-live=runs] tr[data-key]')) {
      const run = row.dataset.key;
      if (!(run in globalThis.seen) && row.textContent.includes('succeeded')) {
        globalThis.seen[run] = performance.timeOrigin + performance.now();
      }
    }
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  look();
}
