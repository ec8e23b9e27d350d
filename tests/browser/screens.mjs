// Every screen, in each of the states of the pipeline that the test prepares. What must hold is in
// checks.mjs; the screens are in table.mjs.
//
//   screens.mjs STATE
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { accessible, fits, fitsPaper, hasASkipLink, headings, usableByKeyboard } from './checks.mjs';
import { visiting } from './support.mjs';
import { SCREENS } from './table.mjs';

// From the smallest telephone to a large screen.
const WIDTHS = [[360, 640], [768, 1024], [3840, 2160]];

const state = process.argv[2];
const screens = SCREENS.filter(([, states]) => states[state]);
assert.ok(screens.length > 0, `no screen is looked at in the state "${state}"`);

for (const [name, { [state]: [address, ...shown] }, status = 200] of screens) {
  test(`${name} of a pipeline that is ${state}`, { timeout: 180_000 }, async (it) => {
    await visiting(address, { colorScheme: 'light', status }, async (page) => {
      const seen = await headings(page);
      assert.ok(seen.length > 0, 'no heading is seen');
      for (const text of shown) await page.getByText(text).filter({ visible: true }).first().waitFor();
      for (const [width, height] of WIDTHS) {
        await it.test(`fits a width of ${width} px`, () => fits(page, width, height));
      }
      await it.test('fits paper', () => fitsPaper(page));
      for (const theme of ['light', 'dark']) {
        await it.test(`is accessible on a telephone, ${theme}`, async () => {
          await page.setViewportSize({ width: 360, height: 640 });
          await accessible(page, theme);
        });
        await it.test(`is accessible, ${theme}`, async () => {
          await page.setViewportSize({ width: 1280, height: 800 });
          await accessible(page, theme);
        });
      }
      await it.test('is used by keyboard', () => usableByKeyboard(page));
      await it.test('has a skip link', () => hasASkipLink(page));
      await it.test('has the same content without a script', () => visiting(address, { javaScriptEnabled: false, status }, async (plain) => {
        assert.deepEqual(await headings(plain), seen);
      }));
    });
  });
}
