// The map itself: what is in view, what the person does to it, and what Python is asked for.

const states = new WeakMap();
const SMALLEST = 8; // tokens that fill the screen at the closest look
const KEPT = 8; // grids remembered
const HINT =
  "Click the map, then zoom with the wheel, + and −; move it by dragging or with the arrows; Shift and arrows read cell by cell; 0 shows all.";
const HINT_TOUCH = "Pinch to zoom, drag to move, tap to read a cell.";

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const state = states.get(parentElement) ?? create(parentElement);
  states.set(parentElement, state);
  state.send = (view) => setStateValue("view", view);
  update(state, decode(data));
}

function create(parentElement) {
  const root = parentElement.querySelector(".zoom");
  const find = (name) => root.querySelector(name);
  const state = {
    root, canvas: find("canvas"), tip: find(".tip"), says: find(".says"), where: find(".where"),
    map: null, grids: [], view: null, cursor: null, pointers: new Map(), timer: 0, asked: "",
  };
  listen(state);
  new ResizeObserver(() => draw(state)).observe(find(".stage"));
  // The page's colours change without a run of the script when the theme is switched.
  root.addEventListener("transitionend", (event) => {
    if (event.target === root) draw(state);
  });
  for (const button of root.querySelectorAll("[data-act]")) {
    button.addEventListener("click", () => act(state, button.dataset.act));
  }
  for (const button of root.querySelectorAll("[data-format]")) {
    button.addEventListener("click", () => save(state, button.dataset.format));
  }
  return state;
}

function update(state, map) {
  const before = state.map;
  state.map = map;
  if (before?.text !== map.text) {
    state.view = whole(state);
    state.cursor = null;
    say(state, matchMedia("(hover: none)").matches ? HINT_TOUCH : HINT);
  }
  if (before?.identity !== map.identity) state.grids = [];
  if (map.grid) {
    const same = (grid) => String(grid.window) === String(map.grid.window);
    state.grids = [map.grid, ...state.grids.filter((grid) => !same(grid))];
    // The one of the whole map stays: it lies behind everything.
    const old = state.grids.slice(KEPT).filter((grid) => String(grid.window) === all(state));
    state.grids = [...state.grids.slice(0, KEPT), ...old];
  }
  state.canvas.setAttribute("aria-label", map.alt);
  if (before && before.text === map.text && before.selected !== map.selected) reveal(state);
  draw(state);
  // A message that brings nothing, to a page that has nothing, or a window that has moved on.
  if (!suiting(state)) settle(state, 0);
}

const whole = (state) => [0, state.map.shape[0], 0, state.map.shape[1]];
const all = (state) => String(whole(state));
const zoomed = (state) => String(state.view) !== all(state);

// Whole tokens in view, and the part that is asked for: as much around it as costs no detail.
function wanted(state) {
  const side = (low, high, count) => {
    const from = Math.max(Math.floor(low + 1e-6), 0);
    const to = Math.min(Math.ceil(high - 1e-6), count);
    const size = Math.min(count, Math.ceil((to - from) / MOST) * MOST);
    const start = Math.min(Math.max(Math.floor((from + to - size) / 2), 0), count - size);
    return { seen: [from, to], region: [start, start + size] };
  };
  const [q0, q1, k0, k1] = state.view;
  const rows = side(q0, q1, state.map.shape[0]);
  const columns = side(k0, k1, state.map.shape[1]);
  return {
    window: [...rows.seen, ...columns.seen],
    region: [...rows.region, ...columns.region],
    steps: [rows, columns].map(({ seen: [from, to] }) => Math.ceil((to - from) / MOST)),
  };
}

// A grid that shows all that is in view as finely as it can be sent.
function suiting(state) {
  const { window: seen, steps } = wanted(state);
  return state.grids.find(
    ({ window: [q0, q1, k0, k1], steps: own }) =>
      q0 <= seen[0] && q1 >= seen[1] && k0 <= seen[2] && k1 >= seen[3] &&
      own[0] <= steps[0] && own[1] <= steps[1]
  );
}

function settle(state, wait = 140) {
  clearTimeout(state.timer);
  state.timer = setTimeout(() => {
    if (!state.root.isConnected || !state.map) return;
    const has = Boolean(suiting(state));
    const { window, region } = wanted(state);
    const { text, identity } = state.map;
    const view = { text, identity, window, region, has };
    // A page that was told once is not told again; one that did not answer may be asked anew.
    const asked = JSON.stringify(view);
    if (has && asked === state.asked) return;
    state.asked = asked;
    state.send({ ...view, turn: Math.random() }); // each asking is answered once
  }, wait);
}

// Zoom by a factor about a point of the map, or move; the window stays on the map.
function look(state, factor, query, key, byQuery = 0, byKey = 0) {
  const [queries, keys] = state.map.shape;
  const side = (low, high, count, at, by) => {
    const least = Math.min(SMALLEST, count);
    const size = Math.min(Math.max((high - low) * factor, least), count);
    const start = at - ((at - low) / (high - low)) * size + by;
    const from = Math.min(Math.max(start, 0), count - size);
    return [from, from + size];
  };
  const [q0, q1, k0, k1] = state.view;
  const rows = side(q0, q1, queries, query ?? (q0 + q1) / 2, byQuery);
  const columns = side(k0, k1, keys, key ?? (k0 + k1) / 2, byKey);
  state.view = [...rows, ...columns];
  state.tip.hidden = true;
  draw(state);
  settle(state);
}

function reveal(state) {
  const chosen = state.map.selected;
  const [q0, q1] = state.view;
  if (chosen === null || (chosen >= q0 && chosen < q1)) return;
  look(state, 1, null, null, chosen + 0.5 - (q0 + q1) / 2, 0);
}

function act(state, what) {
  if (what === "whole") {
    state.view = whole(state);
    draw(state);
    settle(state);
  } else {
    const at = state.cursor;
    look(state, what === "in" ? 0.5 : 2, at?.queries[0], at?.keys[0]);
  }
}

function listen(state) {
  const { canvas } = state;
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener(
    "wheel",
    (event) => {
      const focused = canvas.getRootNode().activeElement === canvas;
      if (!(event.ctrlKey || event.metaKey || focused)) return;
      if (event.deltaY > 0 && !zoomed(state)) return; // nothing further out: the page scrolls
      event.preventDefault();
      const [x, y] = point(event);
      const speed = event.deltaMode === 1 ? 0.05 : event.ctrlKey ? 0.01 : 0.002;
      const factor = Math.exp(Math.min(Math.max(event.deltaY * speed, -0.7), 0.7));
      look(state, factor, state.box.query(y), state.box.key(x));
    },
    { passive: false }
  );
  canvas.addEventListener("dblclick", (event) => {
    const [x, y] = point(event);
    look(state, event.shiftKey ? 4 : 0.25, state.box.query(y), state.box.key(x));
  });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    state.pointers.set(event.pointerId, point(event));
    canvas.setPointerCapture(event.pointerId);
    show(state, point(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = point(event);
    const before = state.pointers.get(event.pointerId);
    if (!before) return show(state, now);
    const others = [...state.pointers].filter(([id]) => id !== event.pointerId);
    const { box } = state;
    if (others.length) {
      const other = others[0][1];
      const apart = (a, b) => Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 12);
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      look(state, apart(before, other) / apart(now, other), box.query(middle[1]), box.key(middle[0]));
    } else if (zoomed(state)) {
      canvas.classList.add("held");
      look(
        state, 1, null, null,
        box.query(before[1]) - box.query(now[1]), box.key(before[0]) - box.key(now[0])
      );
    } else {
      show(state, now);
    }
    state.pointers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      state.pointers.delete(event.pointerId);
      canvas.classList.remove("held");
    });
  }
  canvas.addEventListener("pointerleave", () => (state.tip.hidden = true));
  canvas.addEventListener("keydown", (event) => press(state, event));
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function press(state, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const [q0, q1, k0, k1] = state.view;
  const arrow = ARROWS[event.key];
  if (arrow && event.shiftKey) walk(state, arrow);
  else if (arrow) look(state, 1, null, null, (arrow[0] * (q1 - q0)) / 8, (arrow[1] * (k1 - k0)) / 8);
  else if (event.key === "+" || event.key === "=") act(state, "in");
  else if (event.key === "-" || event.key === "_") act(state, "out");
  else if (event.key === "0" || event.key === "Home") act(state, "whole");
  else if (event.key === "Escape") {
    state.cursor = null;
    draw(state);
    state.canvas.blur();
  } else return;
  event.preventDefault();
}

// The cursor goes from cell to cell, or bin to bin, and says what is there.
function walk(state, [down, right]) {
  const [q0, q1, k0, k1] = state.view;
  const grids = fitting(state);
  const at = state.cursor;
  const query = !at ? (q0 + q1) / 2 : down < 0 ? at.queries[0] - 1 : down ? at.queries[1] + 1 : at.queries[0];
  const key = !at ? (k0 + k1) / 2 : right < 0 ? at.keys[0] - 1 : right ? at.keys[1] + 1 : at.keys[0];
  const found = read(grids, Math.floor(query), Math.floor(key));
  if (!found) return;
  state.cursor = found;
  say(state, words(state.map, found).join(": "));
  const off = (low, high, [first, last]) => (first < low ? first - low : last + 1 > high ? last + 1 - high : 0);
  const [byQuery, byKey] = [off(q0, q1, found.queries), off(k0, k1, found.keys)];
  if (byQuery || byKey) look(state, 1, null, null, byQuery, byKey);
  else draw(state);
}

// Grids that are no finer than the window can show: finer ones would be thinned out, not pooled.
function fitting(state) {
  const { steps } = wanted(state);
  const coarse = state.grids.filter((grid) => grid.steps[0] >= steps[0] && grid.steps[1] >= steps[1]);
  return coarse.length ? coarse : state.grids;
}

function show(state, [x, y]) {
  const { box, tip, canvas } = state;
  const inside = x >= box.left && x < box.left + box.across && y >= box.top && y < box.top + box.down;
  const found = inside && read(fitting(state), Math.floor(box.query(y)), Math.floor(box.key(x)));
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = words(state.map, found).join("\n");
  const room = canvas.clientWidth;
  tip.style.left = `${Math.max(0, Math.min(x + 14, room - tip.offsetWidth))}px`;
  const below = y + 18 + tip.offsetHeight < canvas.clientHeight;
  tip.style.top = `${below ? y + 18 : y - 12 - tip.offsetHeight}px`;
}

function say(state, text) {
  state.says.textContent = text;
}

function scene(state) {
  const dark = luminance(getComputedStyle(state.root).backgroundColor) < 128;
  const colors = dark ? state.map.dark : state.map.light;
  const best = suiting(state) ?? state.grids.at(-1);
  return { colors, highest: best?.highest ?? 1, grids: fitting(state) };
}

function luminance(color) {
  const [red, green, blue] = (color.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function draw(state) {
  if (!state.map) return;
  const { canvas, root } = state;
  const width = canvas.parentElement.clientWidth;
  if (!width) return;
  const box = layout(state.map, width, state.view);
  const ratio = window.devicePixelRatio || 1;
  state.box = box;
  canvas.style.width = `${box.width}px`;
  canvas.style.height = `${box.height}px`;
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  paint(state, canvas, ratio, null);
  canvas.classList.toggle("zoomed", zoomed(state));
  const { window: [q0, q1, k0, k1], steps } = wanted(state);
  const size = steps[0] * steps[1] > 1 ? ` · ${steps[0]} × ${steps[1]} cells per bin` : " · single cells";
  state.where.textContent =
    `queries ${thousands(q0)}–${thousands(q1 - 1)}, keys ${thousands(k0)}–${thousands(k1 - 1)}` +
    (suiting(state) ? size : " · loading …");
  root.querySelector("[data-act=out]").disabled = !zoomed(state);
  root.querySelector("[data-act=whole]").disabled = !zoomed(state);
  const close = q1 - q0 <= Math.min(SMALLEST, state.map.shape[0]);
  root.querySelector("[data-act=in]").disabled = close && k1 - k0 <= SMALLEST;
  // For whoever waits until the picture is there.
  if (suiting(state)) root.dataset.painted = `${state.map.identity}:${q0},${q1},${k0},${k1}`;
}

function paint(state, canvas, ratio, ground, written = true) {
  const { colors, highest, grids } = scene(state);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, state.box.width, state.box.height);
  raster(context, state.map, grids, state.box, colors, highest, state.cursor);
  if (ground) {
    // Behind what is there: the cells' hatching has cleared what it lies on.
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = ground;
    context.fillRect(0, 0, state.box.width, state.box.height);
    context.globalCompositeOperation = "source-over";
  }
  const family = getComputedStyle(state.root).fontFamily;
  const measure = (text, size) => {
    context.font = `${size}px ${family}`;
    return context.measureText(text).width;
  };
  const texts = letters(state.map, grids, state.box, colors, highest, measure);
  if (written) {
    context.textBaseline = "middle";
    for (const one of texts) {
      context.save();
      context.translate(one.x, one.y);
      context.rotate((one.turn * Math.PI) / 180);
      context.font = `${one.size}px ${family}`;
      context.fillStyle = one.color;
      context.textAlign = { start: "left", middle: "center", end: "right" }[one.anchor];
      context.fillText(isolate(one.text), 0, 0);
      context.restore();
    }
  }
  return { texts, family, page: colors.page };
}

// What is on the screen as a file: one picture, or a picture with its letters as letters.
async function save(state, format) {
  const canvas = document.createElement("canvas");
  const ratio = 3;
  canvas.width = Math.round(state.box.width * ratio);
  canvas.height = Math.round(state.box.height * ratio);
  const { page } = scene(state).colors;
  const { texts, family } = paint(state, canvas, ratio, page, format === "png");
  let blob;
  if (format === "png") blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  else blob = new Blob([svg(state.box, canvas.toDataURL("image/png"), texts, family)], { type: "image/svg+xml" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${state.map.filename}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function svg(box, picture, texts, family) {
  const space = "http://www.w3.org/2000/svg";
  const file = document.implementation.createDocument(space, "svg");
  const add = (name, attributes, text) => {
    const made = file.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    // Half a letter has no place in a file; control characters end one.
    if (text !== undefined) made.textContent = text.toWellFormed().replace(/[\x00-\x1f]/g, "\ufffd");
    file.documentElement.append(made);
  };
  const size = { width: box.width, height: box.height };
  file.documentElement.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  for (const [key, value] of Object.entries(size)) file.documentElement.setAttribute(key, value);
  add("image", { x: 0, y: 0, ...size, href: picture });
  for (const one of texts) {
    add("text", {
      transform: `translate(${one.x} ${one.y}) rotate(${one.turn})`,
      "font-size": one.size, "font-family": family, fill: one.color,
      "text-anchor": one.anchor, "dominant-baseline": "central",
    }, isolate(one.text));
  }
  return new XMLSerializer().serializeToString(file);
}
