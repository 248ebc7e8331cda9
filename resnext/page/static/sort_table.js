// The buttons in a table's header sort its rows, and the search field above it filters them.
const order = new Intl.Collator(undefined, { numeric: true }).compare;
element.addEventListener('click', event => {
  const head = event.target.closest('th[aria-sort]');
  if (!head) return;
  const direction = head.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending';
  for (const other of head.parentElement.cells) other.setAttribute('aria-sort', 'none');
  head.setAttribute('aria-sort', direction);
  const key = row => row.cells[head.cellIndex].textContent.replaceAll(',', '');
  const sign = direction === 'ascending' ? 1 : -1;
  const body = head.closest('table').tBodies[0];
  body.append(...[...body.rows].sort((one, other) => sign * order(key(one), key(other))));
});
element.addEventListener('input', event => {
  const sought = event.target.value.toLowerCase();
  for (const row of element.querySelector('tbody').rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(sought);
});
