// What holds for every screen, whatever is on it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.ANACOSTIA_NODE_MODULES}/`);
const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
// A page with more than this is not gone through by keyboard to its end.
const MOST_STOPS = 60;

/** axe finds nothing, in this theme. */
export async function accessible(page, theme) {
  await page.emulateMedia({ colorScheme: theme });
  // Colours that are on their way to those of the theme have any contrast.
  await page.evaluate(() => document.getAnimations().filter((it) => it instanceof CSSTransition).forEach((it) => it.finish()));
  // By the debugger, because the page's own security policy rightly forbids it to everyone else.
  const debug = await page.context().newCDPSession(page);
  if (!(await page.evaluate(() => Boolean(window.axe)))) await debug.send('Runtime.evaluate', { expression: AXE });
  await debug.detach();
  const found = await page.evaluate(
    (rules) => window.axe.run(document, { runOnly: { type: 'tag', values: rules }, resultTypes: ['violations'] }),
    RULES,
  );
  const say = (node) => `\n    ${node.html}\n      ${node.failureSummary.replaceAll('\n', '\n      ')}`;
  const violations = found.violations.map((it) => `${it.id} (${it.impact}): ${it.help}${it.nodes.map(say).join('')}`);
  assert.equal(violations.length, 0, `axe, ${theme}:\n  ${violations.join('\n  ')}`);
}

/** At this width nothing is outside of the window, and there is no sideways scrolling. */
export async function fits(page, width, height) {
  await page.setViewportSize({ width, height });
  const outside = await page.evaluate(outsideOfWindow);
  assert.deepEqual(outside, [], `at a width of ${width} px this is outside of the window`);
}

/** On A4 paper, within the margins of the style sheet, nothing is cut off. */
export async function fitsPaper(page) {
  await page.emulateMedia({ media: 'print' });
  await fits(page, 703, 995);
  await page.emulateMedia({ media: null });
}

// Runs in the page: returns what cannot be seen without scrolling sideways, or is cut off.
function outsideOfWindow() {
  const found = [];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) found.push(`the page is ${wide} px wider than the window`);
  // Names with such characters would reorder the text around them, or look like other names.
  if (/[\u200b\u202a-\u202e\u2060-\u2069\ufeff]/.test(document.body.innerText)) found.push('a character that misleads');
  // Cells of our own tables have labels on a telephone; those of a text in Markdown have none.
  for (const heads of document.querySelectorAll('.markdown thead')) {
    if (heads.offsetWidth < 2) found.push(`the heads "${heads.textContent.trim()}" of a table`);
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (texts.nextNode()) {
    const text = texts.currentNode;
    const element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    range.selectNodeContents(text);
    for (const place of range.getClientRects()) {
      if (place.width < 2 || place.height < 2 || place.bottom < 0) continue; // such as a skip link that waits above
      const [left, right] = frame(element);
      if (place.left < left - 1 || place.right > right + 1) {
        found.push(`"${text.data.trim().slice(0, 60)}" from ${Math.round(place.left)} to ${Math.round(place.right)} px, in <${element.localName} class="${element.className}">`);
        break;
      }
    }
  }
  return found;

  // The sides between which an element shows its text: those of the window, or of what cuts it off.
  // What can be scrolled, or says with an ellipsis that there is more, may be longer than its
  // frame. Paper is not scrolled.
  function frame(element) {
    let [left, right] = [0, document.documentElement.clientWidth];
    for (let it = element; it && it !== document.body; it = it.parentElement) {
      const style = getComputedStyle(it);
      if (style.overflowX === 'visible') continue;
      const scrolls = style.overflowX === 'auto' || style.overflowX === 'scroll';
      if (scrolls && !matchMedia('print').matches) return [-Infinity, Infinity];
      if (style.textOverflow === 'ellipsis') return [-Infinity, Infinity];
      const place = it.getBoundingClientRect();
      if (place.width < 2) return [-Infinity, Infinity]; // only for screen readers
      [left, right] = [Math.max(left, place.left), Math.min(right, place.right)];
    }
    return [left, right];
  }
}

// Goes to what Tab comes to first, by keyboard.
async function toFirstStop(page) {
  await page.reload(); // Tab begins at the top
  if (!(await page.locator('[autofocus]').count())) {
    await page.keyboard.press('Tab');
    return;
  }
  // Such a page begins in a field, and what is before it is reached backwards.
  await page.locator('[autofocus]:focus').waitFor();
  for (let { place } = await page.evaluate(stops); place > 0; place -= 1) await page.keyboard.press('Shift+Tab');
}

/** Everything that can be used is reached with Tab, in the order of the page, and is seen there. */
export async function usableByKeyboard(page) {
  await toFirstStop(page);
  const count = (await page.evaluate(stops)).count;
  assert.ok(count > 1, 'nothing on the page can be used');
  for (let place = 0; place < Math.min(count, MOST_STOPS); place += 1) {
    if (place > 0) await page.keyboard.press('Tab');
    const stop = await page.evaluate(stops, place);
    assert.ok(stop.html, `after ${place} of ${count} stops, Tab leaves the page`);
    assert.equal(stop.place, place, `Tab comes to ${stop.html} instead of ${stop.expected}`);
    assert.equal(stop.wrong, '', `${stop.html} has the focus, but ${stop.wrong}`);
  }
}

// Runs in the page: returns what can be used on it, where among it the focus is, and what is wrong
// with how that is seen. `expected` is where it should be.
function stops(expected) {
  const able = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]';
  const usable = (it) => it.tabIndex >= 0 && !it.disabled && it.checkVisibility({ visibilityProperty: true });
  // Only one of a group of radio buttons is a stop.
  const all = [...document.querySelectorAll(able)].filter(usable).filter((it) => it.type !== 'radio');
  const short = (it) => it.outerHTML.slice(0, 120);
  const it = document.activeElement;
  if (!it || it === document.body) return { count: all.length };
  const box = it.getBoundingClientRect();
  const style = getComputedStyle(it);
  const ring = style.outlineStyle !== 'none' && Number.parseFloat(style.outlineWidth) >= 1;
  // The middle of what is in the window: some elements are higher than that.
  const middle = (from, to, end) => (Math.max(from, 0) + Math.min(to, end)) / 2;
  const hit = document.elementFromPoint(middle(box.left, box.right, innerWidth), middle(box.top, box.bottom, innerHeight));
  let wrong = '';
  if (box.width < 1 || box.height < 1) wrong = 'takes no space';
  else if (box.bottom <= 0 || box.top >= innerHeight || box.right <= 0 || box.left >= innerWidth) wrong = 'is outside of the window';
  else if (!ring && style.boxShadow === 'none') wrong = 'nothing marks it';
  // A link that goes over several lines has a middle that belongs to what it is in.
  else if (!it.contains(hit) && !hit?.contains(it)) wrong = `${hit ? short(hit) : 'nothing'} is seen in its place`;
  return { count: all.length, html: short(it), place: all.indexOf(it), expected: all[expected] && short(all[expected]), wrong };
}

/** The first stop is a link that leads past what comes before the content. */
export async function hasASkipLink(page) {
  await toFirstStop(page);
  const [target, html] = await page.evaluate(() => [document.activeElement.getAttribute('href') ?? '', document.activeElement.outerHTML.slice(0, 120)]);
  assert.match(target, /^#./, `the first stop is no link past the head, but ${html}`);
  await page.keyboard.press('Enter');
  assert.equal(await page.locator(target).count(), 1, `${html} leads nowhere`);
  assert.equal(new URL(page.url()).hash, target);
  const place = await page.locator(target).boundingBox();
  const height = page.viewportSize().height;
  assert.ok(place && place.y >= -1 && place.y < height, `${target} is not in the window after the skip link: ${JSON.stringify(place)}`);
  // The next stop is in or after what was skipped to.
  await page.keyboard.press('Tab');
  const later = await page.evaluate((id) => {
    const end = document.querySelector(id);
    const relation = end.compareDocumentPosition(document.activeElement);
    return document.activeElement === document.body || Boolean(relation & (Node.DOCUMENT_POSITION_FOLLOWING | Node.DOCUMENT_POSITION_CONTAINED_BY));
  }, target);
  assert.ok(later, 'after the skip link, Tab goes back to what was skipped');
}

/** Returns the headings that are seen, in their order on the page. */
export async function headings(page) {
  const all = await page.locator('h1, h2').all();
  const seen = [];
  for (const heading of all) if (await heading.isVisible()) seen.push((await heading.innerText()).trim());
  return seen;
}
