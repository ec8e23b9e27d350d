// The form that starts a run, and the graph above it, of a pipeline with nodes in ten columns.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { box, until, visiting } from './support.mjs';

test('the whole graph is seen at a width of 1280 px', () => visiting('/', {}, async (page) => {
  const scroll = page.locator('.graph-scroll');
  await box(scroll);
  await until('the graph to fit', () => scroll.evaluate((it) => it.scrollWidth <= it.clientWidth && it.scrollHeight <= it.clientHeight));
  const frame = await box(scroll);
  const nodes = await page.locator('.graph-right a.node').all();
  assert.ok(nodes.length > 8, `${nodes.length} nodes`);
  for (const node of nodes) {
    const place = await box(node);
    assert.ok(place.x >= frame.x && place.x + place.width <= frame.x + frame.width, JSON.stringify({ place, frame }));
  }
}));
