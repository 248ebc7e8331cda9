// The classes that a visitor teaches: their names, their pictures, and what adds and removes them.
// The server answers each action with all classes. Actions wait for the answer to the one before.
const lesson = element.querySelector('.lesson');
const CHUNK = 20, PAUSE = 400, MOST_FRAMES = 60;
let words = {}, classes = null, version = 0, faults = [], camera = null;
const waiting = [], opened = new Set();
let busy = null, adding = new Map();

const say = (text, values = {}) =>
  (words[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made[name] = value;
    else if (value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
};

const act = action => {
  waiting.push(action);
  proceed();
};
const proceed = () => {
  if (busy || !waiting.length) return;
  const action = waiting.shift();
  // Pictures for the same class, such as those of the camera, travel together.
  while (action.do === 'add' && waiting[0]?.do === 'add' && waiting[0].class === action.class
    && action.files.length + waiting[0].files.length <= CHUNK) action.files.push(...waiting.shift().files);
  busy = { action, timer: setTimeout(finish, 120000) };
  trigger('click', { ...action, open: [...opened] });
};
const finish = () => {
  if (!busy) return;
  clearTimeout(busy.timer);
  if (busy.action.do === 'add') count(busy.action.class, -busy.action.files.length);
  busy = null;
  proceed();
};
const count = (number, change) => {
  adding.set(number, (adding.get(number) ?? 0) + change);
  render();
};

const send = async (files, action) => {
  const number = action.class;
  for (let start = 0; start < files.length; start += CHUNK) {
    const chunk = files.slice(start, start + CHUNK);
    if (number) count(number, chunk.length);
    const paths = [];
    for (const file of chunk) {
      try {
        paths.push((await upload(file)).path);
      } catch {
        if (number) count(number, -1);
        faults = [say('{name} could not be uploaded: it may be larger than 64 MB.', { name: file.name })];
        render();
      }
    }
    if (paths.length) act({ ...action, files: paths });
  }
};
const choose = action => {
  const input = make('input', { type: 'file', multiple: true, hidden: true });
  input.accept = action.do === 'archive' ? '.zip' : 'image/*,.heic,.heif,.avif,.zip';
  input.onchange = () => { send([...input.files], action); input.remove(); };
  lesson.append(input);
  input.click();
};

const closeCamera = () => {
  if (!camera) return;
  clearInterval(camera.timer);
  camera.stream.getTracks().forEach(track => track.stop());
  camera = null;
};
const openCamera = async number => {
  closeCamera();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, facingMode: 'environment' } });
    const video = make('video', { playsinline: true });
    video.muted = true;
    video.srcObject = stream;
    await video.play();
    camera = { number, stream, video, timer: 0, frames: 0 };
  } catch {
    faults = [say('The camera cannot be used: allow it in the browser, on a page with https.')];
  }
  render();
  if (camera) film.record.focus();
};
const takeFrame = () => {
  const { video, number } = camera;
  const canvas = make('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  canvas.toBlob(blob => send([new File([blob], 'camera.jpg', { type: 'image/jpeg' })], { do: 'add', class: number }),
    'image/jpeg', .92);
  camera.frames += 1;
  if (camera.frames >= MOST_FRAMES) record();
};
const record = () => {
  if (camera.timer) {
    clearInterval(camera.timer);
    camera.timer = 0;
  } else {
    camera.frames = 0;
    takeFrame();
    camera.timer = setInterval(takeFrame, PAUSE);
  }
  render();
};

// Elements stay where they are while what they show changes: a click or what is typed is never lost.
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const setName = (node, name) => { node.setAttribute('aria-label', name); node.title = name; };
const makeButton = (attributes, onclick) => make('button', { type: 'button', onclick, ...attributes });
const makePicture = picture => {
  const remove = makeButton({ class: 'remove' }, () => act({ do: 'remove', picture: picture.number }));
  remove.textContent = '×';
  return make('li', {}, make('img', { src: picture.source, alt: '' }), remove);
};
const makeCard = number => {
  const card = { pictures: new Map() };
  card.name = make('input', {
    type: 'text', maxlength: 60,
    onfocus: () => card.name.select(),
    onchange: () => act({ do: 'rename', class: number, name: card.name.value }),
    onkeydown: event => { if (event.key === 'Enter') card.name.blur(); },
  });
  card.count = make('span', { class: 'count' });
  card.remove = makeButton({ class: 'remove' }, () => act({ do: 'remove class', class: number }));
  card.remove.textContent = '×';
  card.list = make('ul');
  card.add = makeButton({ class: 'add' }, () => choose({ do: 'add', class: number }));
  card.camera = makeButton({}, () => openCamera(number));
  card.all = makeButton({}, () => { opened.add(number); act({ do: 'show' }); });
  card.note = make('span', { class: 'count', role: 'status' });
  card.element = make('section', { class: 'taught', 'data-class': number },
    make('header', {}, card.name, card.count, card.remove), card.list,
    make('div', { class: 'row' }, card.add, card.camera, card.all, card.note));
  return card;
};
const showPictures = (card, one) => {
  const lost = card.list.contains(document.activeElement);
  const shown = new Map(one.pictures.map(picture => [picture.number, picture]));
  for (const [number, item] of card.pictures) {
    if (!shown.has(number)) { item.remove(); card.pictures.delete(number); }
  }
  for (const [number, picture] of shown) {
    if (!card.pictures.has(number)) card.pictures.set(number, makePicture(picture));
    const item = card.pictures.get(number);
    setName(item.lastChild, say('Remove picture {number} of {name}', { number: picture.place, name: one.name }));
  }
  const items = [...shown.keys()].map(number => card.pictures.get(number));
  if (items.some((item, place) => card.list.children[place] !== item)) card.list.replaceChildren(...items);
  card.list.hidden = !items.length;
  if (lost && !card.list.contains(document.activeElement)) card.add.focus();
};
const showCard = (card, one) => {
  card.element.setAttribute('aria-label', one.name);
  if (document.activeElement !== card.name || card.name.value === card.shown) card.name.value = one.name;
  card.shown = one.name;
  card.name.setAttribute('aria-label', say('Name of the class'));
  setText(card.count, say(one.count === 1 ? '1 picture' : '{count} pictures', { count: one.count }));
  setName(card.remove, say('Remove the class {name}', { name: one.name }));
  for (const [button, text] of [[card.add, say('Add pictures')], [card.camera, say('Camera')]]) {
    setText(button, text);
    button.setAttribute('aria-label', `${text}: ${one.name}`);
  }
  card.all.hidden = one.count <= one.pictures.length;
  setText(card.all, say('Show all {count}', { count: one.count }));
  const left = adding.get(one.number);
  setText(card.note, left ? say('Adding {count} …', { count: left }) : one.count ? '' : say('or drop them here'));
  showPictures(card, one);
};
const showCamera = () => {
  const card = camera && cards.get(camera.number);
  if (camera && !card) closeCamera();
  if (!camera) {
    film.element.remove();
    return;
  }
  if (film.element.parentNode !== card.element || film.element.firstChild !== camera.video) {
    film.element.replaceChildren(camera.video, make('div', { class: 'row' }, film.record, film.close));
    card.element.append(film.element);
    camera.video.play();
  }
  film.record.setAttribute('aria-pressed', String(Boolean(camera.timer)));
  setText(film.record, say(camera.timer ? 'Stop' : 'Record'));
  setText(film.close, say('Close'));
};
const film = {
  element: make('div', { class: 'camera' }),
  record: makeButton({ class: 'record' }, () => record()),
  close: makeButton({}, () => { closeCamera(); render(); }),
};
const under = {
  class: makeButton({}, () => act({ do: 'class' })),
  archive: makeButton({}, () => choose({ do: 'archive' })),
  again: makeButton({ class: 'quiet-button' }, () => {
    if (confirm(say('All classes and pictures will be removed.'))) { closeCamera(); act({ do: 'start over' }); }
  }),
};
const problems = make('div', { role: 'alert', class: 'faults' });
const list = make('div', { class: 'cards' });
lesson.append(list, problems, make('div', { class: 'row' }, under.class, under.archive, under.again));
const cards = new Map();
const render = () => {
  const shown = classes ?? [1, 2].map(number => (
    { number, name: say('Class {number}', { number }), count: 0, pictures: [] }));
  for (const [number, card] of cards) {
    if (!shown.some(one => one.number === number)) { card.element.remove(); cards.delete(number); }
  }
  for (const one of shown) {
    if (!cards.has(one.number)) {
      cards.set(one.number, makeCard(one.number));
      list.append(cards.get(one.number).element);
    }
    showCard(cards.get(one.number), one);
  }
  showCamera();
  const texts = faults.join('\n');
  if (problems.dataset.texts !== texts) {
    problems.dataset.texts = texts;
    problems.replaceChildren(...faults.map(text => make('p', {}, text)));
  }
  setText(under.class, say('Add a class'));
  setText(under.archive, say('Add a ZIP of class folders'));
  setText(under.again, say('Start over'));
  under.again.hidden = !shown.some(one => one.count);
};

const target = event => event.target.closest('[data-class]');
element.addEventListener('dragover', event => {
  event.preventDefault();
  for (const card of lesson.querySelectorAll('.taught')) card.classList.toggle('over', card === target(event));
});
element.addEventListener('dragleave', event => target(event)?.classList.remove('over'));
element.addEventListener('drop', event => {
  event.preventDefault();
  const card = target(event);
  card?.classList.remove('over');
  const files = [...event.dataTransfer.files];
  if (card) send(files, { do: 'add', class: Number(card.dataset.class) });
  else send(files.filter(file => /\.zip$/i.test(file.name)), { do: 'archive' });
});
const take = () => {
  // A value without classes only says the words in another language.
  const view = props.value ?? {};
  if (view.words) words = view.words;
  if (view.classes && view.version >= version) {
    ({ version, classes, faults } = view);
    finish();
  }
  render();
};
watch('value', take);
take();
// Who leaves the tab leaves its cameras on: they are closed, that of "Try it" by its other choice.
new ResizeObserver(() => {
  if (lesson.offsetWidth) return;
  closeCamera();
  render();
  const photograph = document.querySelector('.try-with input');
  if (photograph && !photograph.checked) photograph.click();
}).observe(lesson);
