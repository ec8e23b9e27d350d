// Uploads files to a resource, one after the other. The body is the file as it is, so a file of any
// size goes through without being read into memory.
for (const form of document.querySelectorAll('[data-upload]')) {
  const [output, bar, button] = ['output', 'progress', 'button'].map((name) => form.querySelector(name));
  output.textContent = '';
  button.disabled = false;

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const files = [...form.elements.file.files];
    button.disabled = true;
    bar.hidden = false;
    let done = 0;
    try {
      for (const file of files) {
        output.textContent = `Sends ${file.name} …`;
        await send(file);
        done += 1;
      }
      output.textContent = done === 1 ? `${files[0].name} is on record.` : `${done} files are on record.`;
      form.reset();
    } catch (error) {
      const others = done ? ` The ${done} before it are on record.` : '';
      output.textContent = `${error.message}${others}`;
    }
    button.disabled = false;
    bar.hidden = true;
  });

  // `fetch` does not tell how far an upload is.
  function send(file) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open('POST', `${form.dataset.upload}?path=${encodeURIComponent(file.name)}`);
      request.setRequestHeader('content-type', 'application/octet-stream');
      request.upload.onprogress = ({ loaded, total }) => { bar.value = total ? loaded / total : 0; };
      request.onload = () => {
        if (request.status < 300) { resolve(); return; }
        let why = `status ${request.status}`;
        try { why = JSON.parse(request.responseText).detail ?? why; } catch { /* the status says it */ }
        reject(new Error(`${file.name} was not taken: ${why}.`));
      };
      request.onerror = () => reject(new Error(`${file.name} was not taken: the connection broke.`));
      request.send(file);
    });
  }
}
