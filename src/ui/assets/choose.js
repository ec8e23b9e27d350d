// Lets runs be compared only while two to six are chosen, and says what is missing. Without it, the
// page that compares says so.
const choices = () => document.querySelectorAll('.compare input[name=run]');

function count() {
  const bar = document.querySelector('.compare-bar');
  if (!bar) return;
  const chosen = [...choices()].filter((it) => it.checked).length;
  bar.querySelector('button').disabled = chosen < 2 || chosen > 6;
  const text = { 0: 'Choose two to six runs to compare.', 1: 'Choose one more run.' }[chosen] ?? (chosen > 6 ? `Six can be compared, and ${chosen} are chosen.` : '');
  const said = bar.querySelector('.why');
  if (said.textContent !== text) said.textContent = text;
}

addEventListener('change', count);
// A refresh of the page puts back what the server knows. Who comes back finds the old choice.
addEventListener('refreshed', count);
addEventListener('pageshow', count);
count();
