// The graph of a pipeline with three hundred nodes, of which a window shows a part.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { box, visiting } from './support.mjs';

test('a large window shows the beginning of the graph first, from its left side on', () => visiting('/', { viewport: { width: 1440, height: 900 } }, async (page) => {
  const frame = await box(page.locator('.graph-scroll'));
  const seen = async (kind) => {
    const places = await page.locator(`.graph-right .node.${kind}`).evaluateAll((nodes) => nodes.map((it) => it.getBoundingClientRect().toJSON()));
    return places.filter((it) => it.left >= frame.x && it.right <= frame.x + frame.width && it.bottom > frame.y && it.top < frame.y + frame.height);
  };
  const [store] = await seen('store');
  assert.ok(store && store.left - frame.x < frame.width / 5, `the store is at ${JSON.stringify(store)} in ${JSON.stringify(frame)}`);
  const resources = await seen('resource');
  assert.ok(resources.length > 3, `${resources.length} resources are seen`);
}));
