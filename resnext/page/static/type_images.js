// Gradio takes only files that the browser calls images. Many browsers do not know the type of HEIC and of other
// formats: it is given here, by the suffix, before Gradio looks at the files.
() => {
  const suffixes = new Set(SUFFIXES);
  const suffix = file => file.name.toLowerCase().split('.').pop();
  const untyped = file => !file.type.startsWith('image/') && suffixes.has(suffix(file));
  const typed = files => {
    const transfer = new DataTransfer();
    for (const file of files) {
      transfer.items.add(untyped(file) ? new File([file], file.name, { type: `image/${suffix(file)}` }) : file);
    }
    return transfer;
  };
  document.addEventListener('change', ({ target }) => {
    if (target.type === 'file' && [...target.files].some(untyped)) target.files = typed(target.files).files;
  }, true);
  document.addEventListener('drop', event => {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.some(untyped)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const options = { dataTransfer: typed(files), bubbles: true, cancelable: true };
    event.target.dispatchEvent(new DragEvent('drop', options));
  }, true);
}
