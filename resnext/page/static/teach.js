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
  lesson.querySelector('.record')?.focus();
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

const cameraView = () => {
  const recording = Boolean(camera.timer);
  const button = make('button', {
    type: 'button', class: 'record', 'aria-pressed': String(recording), onclick: record,
  }, say(recording ? 'Stop' : 'Record'));
  const close = make('button', { type: 'button', onclick: () => { closeCamera(); render(); } }, say('Close'));
  return make('div', { class: 'camera' }, camera.video, make('div', { class: 'row' }, button, close));
};
const pictureView = (one, picture) => {
  const remove = say('Remove picture {number} of {name}', { number: picture.place, name: one.name });
  return make('li', {},
    make('img', { src: picture.source, alt: '' }),
    make('button', {
      type: 'button', class: 'remove', 'data-key': `picture ${picture.number}`, 'aria-label': remove, title: remove,
      onclick: () => act({ do: 'remove', picture: picture.number }),
    }, '×'));
};
const classView = one => {
  const { number } = one;
  const name = make('input', {
    type: 'text', value: one.name, maxlength: 60, 'aria-label': say('Name of the class'), 'data-key': `name ${number}`,
    onfocus: event => event.target.select(),
    onchange: event => act({ do: 'rename', class: number, name: event.target.value }),
    onkeydown: event => { if (event.key === 'Enter') event.target.blur(); },
  });
  const remove = say('Remove the class {name}', { name: one.name });
  const total = say(one.count === 1 ? '1 picture' : '{count} pictures', { count: one.count });
  const head = make('header', {}, name, make('span', { class: 'count' }, total), make('button', {
    type: 'button', class: 'remove', 'data-key': `remove ${number}`, 'aria-label': remove, title: remove,
    onclick: () => act({ do: 'remove class', class: number }),
  }, '×'));
  const add = make('button', {
    type: 'button', class: 'add', 'data-key': `add ${number}`, 'aria-label': `${say('Add pictures')}: ${one.name}`,
    onclick: () => choose({ do: 'add', class: number }),
  }, say('Add pictures'));
  const film = make('button', {
    type: 'button', 'data-key': `camera ${number}`, 'aria-label': `${say('Camera')}: ${one.name}`,
    onclick: () => openCamera(number),
  }, say('Camera'));
  const row = make('div', { class: 'row' }, add, film);
  const left = adding.get(number);
  if (left) row.append(make('span', { class: 'count', role: 'status' }, say('Adding {count} …', { count: left })));
  else if (!one.count) row.append(make('span', { class: 'count' }, say('or drop them here')));
  const card = make('section', { class: 'taught', 'aria-label': one.name, 'data-class': number }, head);
  if (one.pictures.length) card.append(make('ul', {}, ...one.pictures.map(picture => pictureView(one, picture))));
  if (one.count > one.pictures.length) {
    row.append(make('button', {
      type: 'button', 'data-key': `all ${number}`, onclick: () => { opened.add(number); act({ do: 'show' }); },
    }, say('Show all {count}', { count: one.count })));
  }
  card.append(row);
  if (camera?.number === number) card.append(cameraView());
  return card;
};
const render = () => {
  const shown = classes ?? [1, 2].map(number => (
    { number, name: say('Class {number}', { number }), count: 0, pictures: [] }));
  if (camera && !shown.some(one => one.number === camera.number)) closeCamera();
  // The field that has the focus keeps it, with what was typed.
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const key = focused?.dataset.key;
  const typed = focused?.matches('input[type=text]') ? [focused.value, focused.selectionStart, focused.selectionEnd] : null;
  const under = make('div', { class: 'row under' },
    make('button', { type: 'button', 'data-key': 'class', onclick: () => act({ do: 'class' }) }, say('Add a class')),
    make('button', { type: 'button', 'data-key': 'archive', onclick: () => choose({ do: 'archive' }) },
      say('Add a ZIP of class folders')));
  if (shown.some(one => one.count)) {
    under.append(make('button', {
      type: 'button', class: 'quiet-button', 'data-key': 'start over',
      onclick: () => {
        if (confirm(say('All classes and pictures will be removed.'))) { closeCamera(); act({ do: 'start over' }); }
      },
    }, say('Start over')));
  }
  const problems = make('div', { role: 'alert', class: 'faults' }, ...faults.map(text => make('p', {}, text)));
  lesson.replaceChildren(...shown.map(classView), problems, under);
  const again = key && lesson.querySelector(`[data-key="${key}"]`);
  if (!again) return;
  again.focus();
  if (typed) {
    again.value = typed[0];
    again.setSelectionRange(typed[1], typed[2]);
  }
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
