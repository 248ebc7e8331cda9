// Leads to the Hub's login, or logs out, and comes back to this tab of what the page shows now.
(label, signIn, warnings) => {
  const warning = warnings[/^zh/i.test(navigator.language) ? 1 : 0];
  if (document.querySelector('.taught li') && !confirm(warning)) return [];
  const shown = new URLSearchParams(location.search);
  shown.set('tab', 'teach');
  const route = signIn.includes(label) ? 'login/huggingface' : 'logout';
  // As Gradio's own button: a Space's frame scrolls again before the page is left.
  window.parent?.postMessage({ type: 'SET_SCROLLING', enabled: true }, '*');
  setTimeout(() => location.assign(`/${route}?_target_url=${encodeURIComponent(`/?${shown}`)}`), 500);
  return [];
}
