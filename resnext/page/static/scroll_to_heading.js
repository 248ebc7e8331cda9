// The page has a <base>, so the browser would take a link to a heading for a link to another page.
element.addEventListener('click', event => {
  const link = event.target.closest('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  element.querySelector('#' + CSS.escape(link.getAttribute('href').slice(1)))?.scrollIntoView();
});
