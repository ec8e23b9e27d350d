// Takes a picture of each screen, wide and narrow, light and dark. scripts/screenshots starts it.
//
//   screenshots.mjs FOLDER STATE
import path from 'node:path';
import { test } from 'node:test';

import { visiting } from './support.mjs';
import { SCREENS } from './table.mjs';

const SIZES = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };

const [folder, state] = process.argv.slice(2);
for (const [name, { [state]: place }, status] of SCREENS) {
  if (!place) continue;
  test(name, async () => {
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const colorScheme of ['light', 'dark']) {
        await visiting(place[0], { viewport, colorScheme, status, deviceScaleFactor: 2, reducedMotion: 'reduce' }, async (page) => {
          for (const text of place.slice(1)) await page.getByText(text).filter({ visible: true }).first().waitFor();
          await page.evaluate(() => document.fonts.ready);
          // Chromium takes no picture with more pixels than this in one direction.
          const height = await page.evaluate(() => document.documentElement.scrollHeight);
          const scale = height * 2 > 16_000 ? 'css' : 'device';
          await page.screenshot({ path: path.join(folder, `${name}-${size}-${colorScheme}.png`), scale, fullPage: true, animations: 'disabled' });
        });
      }
    }
  });
}
