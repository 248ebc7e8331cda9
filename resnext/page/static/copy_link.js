// Copies the address without what Gradio, the Hub and others add to it. Returns the address if the browser refuses.
async () => {
  const address = new URL(location);
  for (const name of new Set(address.searchParams.keys())) {
    if (name !== 'model' && name !== 'tab') address.searchParams.delete(name);
  }
  address.hash = '';
  try {
    await navigator.clipboard.writeText(address.href);
    return '';
  } catch {
    // Without HTTPS there is no clipboard, and in a frame of another site it may be forbidden.
    const field = document.createElement('textarea');
    const focused = document.activeElement;
    field.value = address.href;
    field.style.position = 'fixed';
    field.style.opacity = 0;
    document.body.append(field);
    field.select();
    const copied = document.execCommand('copy');
    field.remove();
    focused?.focus();
    return copied ? '' : address.href;
  }
}
