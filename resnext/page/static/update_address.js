// The address names the model and the tab that are shown, as soon as the page has opened what the address asked for.
(name, value) => {
  if (window.pageIsOpen) {
    const address = new URL(location);
    address.searchParams.set(name, value);
    history.replaceState(null, '', address);
  }
  return [value];
}
