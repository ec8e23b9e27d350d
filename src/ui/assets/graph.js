// Zooms and pans graphs. Without it, a graph has its own size, and its frame scrolls.
//
// Zooming sets the width and height of the drawing, so that scrolling stays that of the browser.
// A refresh of the page puts back the size of the server, so it is set again afterwards.
const least = 0.2, most = 3;
const readable = 0.72; // the smallest scale at which the names are read with ease
const whole = 0.5; // from this scale on, a large window shows the whole graph first, with small names

for (const frame of document.querySelectorAll('[data-graph]')) {
  const scroll = frame.querySelector('.graph-scroll');
  let scale; // undefined while the reader has not chosen one

  const drawing = () => [...scroll.querySelectorAll('svg.graph')].find((svg) => svg.getBoundingClientRect().width) ?? scroll.querySelector('svg.graph');
  const sizes = (svg) => {
    const { width, height } = svg.viewBox.baseVal;
    const beside = (scroll.clientWidth - 20) / width;
    return { width, height, beside, fit: Math.min(beside, (limit() - 20) / height) };
  };
  // The scale at which names are as large as the text of the page, which grows with the window.
  const own = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 16 || 1;
  // The drawing for narrow windows leads down, so it is scrolled like the page.
  const leadsDown = (svg) => Boolean(svg.closest('.graph-down'));
  // The height that the frame may have.
  const limit = () => parseFloat(getComputedStyle(scroll).maxHeight) || scroll.clientHeight;

  function apply() {
    const svg = drawing();
    if (!svg) return;
    const { width, height, beside, fit } = sizes(svg);
    const first = fit >= whole && !leadsDown(svg) ? fit : Math.max(beside, readable);
    const now = scale ?? Math.min(own(), first);
    svg.setAttribute('width', Math.round(width * now));
    svg.setAttribute('height', Math.round(height * now));
    scroll.classList.toggle('grab', scroll.scrollWidth > scroll.clientWidth || scroll.scrollHeight > scroll.clientHeight);
  }

  // Zooms so that what is at a point of the frame stays there.
  function zoom(factor, x = scroll.clientWidth / 2, y = scroll.clientHeight / 2) {
    const svg = drawing();
    if (!svg) return;
    const before = svg.getBoundingClientRect(), box = scroll.getBoundingClientRect();
    const [left, top] = [(box.left + x - before.left) / before.width, (box.top + y - before.top) / before.height];
    const now = +svg.getAttribute('width') / svg.viewBox.baseVal.width;
    scale = Math.min(most, Math.max(least, now * factor));
    apply();
    const after = svg.getBoundingClientRect();
    scroll.scrollLeft += after.left + left * after.width - (box.left + x);
    scroll.scrollTop += after.top + top * after.height - (box.top + y);
  }

  function fit() {
    const svg = drawing();
    if (!svg) return;
    scale = Math.min(1.5, Math.max(0.05, sizes(svg).fit));
    apply();
  }

  frame.querySelector('.graph-tools').hidden = false;
  frame.addEventListener('click', (event) => {
    const what = event.target.closest('[data-zoom]')?.dataset.zoom;
    if (what === 'in') zoom(1.25);
    if (what === 'out') zoom(0.8);
    if (what === 'whole') fit();
  });
  scroll.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // plain wheels scroll, as everywhere
    event.preventDefault();
    const box = scroll.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  scroll.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const does = { '+': () => zoom(1.25), '=': () => zoom(1.25), '-': () => zoom(0.8), 0: fit }[event.key];
    if (does) { event.preventDefault(); does(); }
  });

  // Drags with a mouse; fingers scroll by themselves.
  let drag;
  scroll.addEventListener('pointerdown', (event) => {
    if (event.pointerType !== 'mouse' || event.button !== 0) return;
    drag = { x: event.clientX, y: event.clientY, left: scroll.scrollLeft, top: scroll.scrollTop, far: false };
  });
  addEventListener('pointermove', (event) => {
    if (!drag) return;
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.far && Math.hypot(x, y) < 5) return;
    drag.far = true;
    scroll.classList.add('grabbed');
    scroll.scrollLeft = drag.left - x;
    scroll.scrollTop = drag.top - y;
  });
  addEventListener('pointerup', () => {
    // The click that ends a drag follows no link.
    if (drag?.far) addEventListener('click', (event) => { if (scroll.contains(event.target)) event.preventDefault(); }, { capture: true, once: true });
    setTimeout(() => { drag = undefined; scroll.classList.remove('grabbed'); });
  });
  scroll.addEventListener('dragstart', (event) => event.preventDefault());

  // Shows what a node is connected with.
  function light(node) {
    const svg = node?.closest('svg.graph');
    for (const other of scroll.querySelectorAll('svg.graph.lit')) other.classList.remove('lit');
    for (const edge of scroll.querySelectorAll('.edge.near')) edge.classList.remove('near');
    if (!svg) return;
    svg.classList.add('lit');
    for (const edge of svg.querySelectorAll('.edge[data-ends]')) {
      if (!edge.dataset.ends.split(' ').includes(node.dataset.node)) continue;
      edge.classList.add('near');
      if (edge.nextElementSibling?.classList.contains('head')) edge.nextElementSibling.classList.add('near');
    }
  }
  for (const [on, off] of [['pointerover', 'pointerout'], ['focusin', 'focusout']]) {
    scroll.addEventListener(on, (event) => { const node = event.target.closest('.node'); if (node) light(node); });
    scroll.addEventListener(off, () => light());
  }

  addEventListener('refreshed', () => {
    apply();
    light(scroll.querySelector('.node:hover') ?? scroll.querySelector('.node:focus'));
  });
  addEventListener('resize', apply);
  apply();
  // What needs a look first is in sight first, or else the store, at the beginning of the drawing.
  const svg = drawing();
  const urgent = svg?.querySelector('.node.bad, .node.ask, .node.run, .node.here');
  const first = urgent ?? svg?.querySelector('.node.store') ?? svg?.querySelector('.node.resource:not(.idle)');
  if (first) {
    const node = first.getBoundingClientRect(), box = scroll.getBoundingClientRect();
    const [x, y] = [node.left - box.left, node.top - box.top];
    const [center, middle] = [x + node.width / 2 - box.width / 2, y + node.height / 2 - box.height / 2];
    scroll.scrollLeft += urgent || leadsDown(svg) ? center : 0;
    scroll.scrollTop += urgent || !leadsDown(svg) ? middle : 0;
  }
}
