// Counts down to moments: `data-countdown` says when.
function left(ms) {
  const seconds = Math.ceil(ms / 1000);
  if (seconds <= 0) return 'now';
  if (seconds < 60) return `in ${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `in ${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `in ${hours} h ${minutes % 60} min`;
  return `in ${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function count() {
  for (const part of document.querySelectorAll('[data-countdown]')) {
    const text = left(new Date(part.dataset.countdown) - Date.now());
    if (part.textContent !== text) part.textContent = text;
  }
}

setInterval(count, 1000);
addEventListener('refreshed', count);
count();
