// A click on a button that carries data sends the data. The button keeps the focus when the HTML is replaced.
let picked = null;
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-pick]');
  if (!button) return;
  picked = button.dataset.pick;
  trigger('click', JSON.parse(picked));
});
watch('value', () => {
  if (picked && document.activeElement === document.body) element.querySelector(`[data-pick='${picked}']`)?.focus();
  picked = null;
});
