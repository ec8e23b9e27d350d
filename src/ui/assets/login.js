// Keeps the fragment of the address that was asked for, such as `#L120` of a log: the host never
// sees it, and the answer to the form leads to an address without one. A browser that follows such
// an answer keeps the fragment of the address to which it has sent the form.
const form = document.querySelector('form[action$="/login"]');
form.addEventListener('submit', () => { form.action = new URL(location.hash, form.action).href; });
// The page is to be loaded again at once, and a browser does not do so for an address with a
// fragment.
const isNew = performance.getEntriesByType('navigation')[0].type !== 'reload';
if (location.hash && isNew && document.querySelector('meta[http-equiv=refresh]')) location.reload();
