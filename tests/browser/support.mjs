// What the scripts in this folder share: a browser that watches what goes wrong, and a way to ask
// the test for what only it can do, such as stopping the host.
//
// A script runs by `scripts/test-browser FILE.mjs` with the address of a pipeline in ANACOSTIA_URL
// and its folder in ANACOSTIA_FOLDER. `tests/suite/browser.rs` does so.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import { after } from 'node:test';

const require = createRequire(`${setting('ANACOSTIA_NODE_MODULES')}/`);
const { chromium } = require('playwright-core');

export const url = setting('ANACOSTIA_URL');
export const folder = setting('ANACOSTIA_FOLDER');
// How long a page may take for what is asked of it, in ms. Who reaches it is stuck, not slow.
const DEADLINE = 20_000;

function setting(name) {
  assert.ok(process.env[name], `${name} is not set: this script is started by cargo test --test suite browser`);
  return process.env[name];
}

// --- The browser ---------------------------------------------------------------------------------

const browser = await chromium.launch({
  executablePath: setting('ANACOSTIA_CHROMIUM'),
  // No name resolves, so that nothing leaves this machine, whatever a page or the browser wants.
  args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--disable-quic', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-first-run'],
});
after(() => browser.close());

async function placeOf(address) {
  const [, resource] = /^artifact:(.+)$/.exec(address) ?? [];
  if (!resource) return address;
  const answer = await fetch(new URL(`/api/v1/artifacts?resource=${resource}&limit=1`, url));
  return `/artifacts/${(await answer.json()).items[0].id}`;
}

/** A page of the pipeline, and everything about it that must not happen. */
export class Visit {
  /**
   * @param options the status that the answer must have, and those of a browser context, such as
   *   viewport, colorScheme and javaScriptEnabled
   */
  static async begin(address, { status = 200, ...options } = {}) {
    const visit = new Visit();
    visit.complaints = [];
    visit.expected = [];
    visit.context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    visit.context.setDefaultTimeout(DEADLINE);
    visit.page = await visit.context.newPage();
    visit.listen();
    // The browser itself complains about such an answer, and the page asks for itself again.
    if (status >= 400) visit.expect(new RegExp(`console error: .*status of ${status}|^${status} for .*${address}$`));
    await visit.go(address, status);
    return visit;
  }

  listen() {
    const { page, complaints } = this;
    page.on('console', (line) => {
      if (['error', 'warning'].includes(line.type())) complaints.push(`console ${line.type()}: ${line.text()}`);
    });
    page.on('pageerror', (error) => complaints.push(`a script failed: ${error.stack}`));
    page.on('crash', () => complaints.push('the page crashed'));
    page.on('dialog', (dialog) => {
      complaints.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('request', (request) => {
      const address = request.url();
      if (new URL(address).origin !== new URL(url).origin) complaints.push(`a request to ${address}`);
    });
    page.on('response', (answer) => {
      if (answer.status() >= 400 && !answer.request().isNavigationRequest()) complaints.push(`${answer.status()} for ${answer.url()}`);
    });
  }

  /** Opens a page of the pipeline; `artifact:RESOURCE` is that of the newest artifact there. */
  async go(address, status = 200) {
    const answer = await this.page.goto(new URL(await placeOf(address), url).href, { waitUntil: 'load' });
    assert.equal(answer.status(), status, address);
  }

  /** Complaints like this are no fault: the test provokes them. */
  expect(complaint) {
    this.expected.push(complaint);
  }

  /** Closes the page. Nothing has gone wrong on it. */
  async end() {
    await this.context.close();
    const rest = this.complaints.filter((complaint) => !this.expected.some((it) => it.test(complaint)));
    assert.deepEqual(rest, [], 'the browser complains');
  }
}

/** Does something with a page, and checks afterwards that nothing went wrong meanwhile. */
export async function visiting(address, options, act) {
  const visit = await Visit.begin(address, options);
  try {
    await act(visit.page, visit);
  } catch (error) {
    await keep(visit.page);
    error.message += visit.complaints.map((complaint) => `\n  ${complaint}`).join('');
    await visit.context.close();
    throw error;
  }
  await visit.end();
}

let kept = 0;
// Keeps a picture of a page on which something failed, where ANACOSTIA_PICTURES says.
async function keep(page) {
  if (!process.env.ANACOSTIA_PICTURES) return;
  fs.mkdirSync(process.env.ANACOSTIA_PICTURES, { recursive: true });
  kept += 1;
  const file = path.join(process.env.ANACOSTIA_PICTURES, `${path.basename(process.argv[1], '.mjs')}-${kept}.png`);
  await page.screenshot({ path: file }).catch(() => {});
  console.log(`a picture of the page is in ${file}`);
}

/** Returns the place of an element in the window, once it is visible. */
export async function box(locator) {
  let place;
  // A page that is being refreshed may replace the element between the two questions.
  await until(`the place of ${locator}`, async () => {
    await locator.waitFor({ state: 'visible' });
    place = await locator.boundingBox();
    return place;
  });
  return place;
}

/** Waits until a condition holds, which may be a promise. */
export async function until(what, condition) {
  const end = Date.now() + DEADLINE;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `waited ${DEADLINE} ms for ${what}`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

// Most presses of Tab on the way to something.
const MOST_PRESSES = 150;

/** Presses Tab until an element of this kind with this name, or one like it, has the focus. */
export async function tabTo(page, kind, name) {
  const passed = [];
  for (let presses = 0; presses < MOST_PRESSES; presses += 1) {
    await page.keyboard.press('Tab');
    const focus = await page.evaluate(focused);
    if (focus.kind === kind && (name instanceof RegExp ? name.test(focus.name) : focus.name === name)) {
      assert.ok(focus.seen, `${kind} "${name}" has the focus, and is not seen to have it`);
      return;
    }
    passed.push(`${focus.kind} "${focus.name.slice(0, 60)}"`);
  }
  assert.fail(`Tab does not come to ${kind} "${name}", but to ${passed.join(', ')}`);
}

// Runs in the page: returns what has the focus, and whether it is in the window and marked.
function focused() {
  const it = document.activeElement;
  // The text of a label is beside its field, which may have texts of its own.
  const label = it.labels?.[0] && [...it.labels[0].childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
  const name = it.ariaLabel ?? label?.map((node) => node.data).join('') ?? it.querySelector(':scope > title')?.textContent ?? it.textContent;
  const { top, bottom, left, right, width } = it.getBoundingClientRect();
  const inside = bottom > 0 && top < innerHeight && right > 0 && left < innerWidth && width > 0;
  return { kind: it.localName, name: name.trim(), seen: inside && it.matches(':focus-visible') };
}

// --- The pipeline --------------------------------------------------------------------------------

const answers = readline.createInterface({ input: process.stdin });
const waiting = [];
answers.on('line', (line) => waiting.shift()?.(line));
after(() => answers.close());

/** Asks the test for something by name, and returns its answer. */
export function ask(what) {
  return new Promise((resume) => {
    waiting.push(resume);
    process.stdout.write(`ask: ${what}\n`);
  });
}

/** Puts a complete file into the pipeline's folder. */
export function drop(file, content) {
  const place = path.join(folder, file);
  fs.mkdirSync(path.dirname(place), { recursive: true });
  fs.writeFileSync(`${place}.tmp`, content);
  fs.renameSync(`${place}.tmp`, place);
}

/** Returns what the API answers. */
export async function api(address, options) {
  const answer = await fetch(new URL(address, url), { signal: AbortSignal.timeout(DEADLINE), ...options });
  assert.ok(answer.ok, `${address}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}
