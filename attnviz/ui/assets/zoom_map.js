// The component: what it remembers, what a message changes, and how the whole is drawn.

const states = new WeakMap();
const KEPT = 8; // grids remembered
const HINT =
  "Click a row to follow its token. After a click, zoom with the wheel, + and −; move by dragging or with the arrows; Shift and arrows read cell by cell, Enter chooses the row; 0 shows all.";
const HINT_SMALL = "Click a row to follow its token; with the keyboard, arrows read cell by cell and Enter chooses the row.";
const HINT_TOUCH = "Pinch to zoom, drag to move, tap to read a cell and follow its row.";

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  const state = states.get(parentElement) ?? create(parentElement);
  states.set(parentElement, state);
  state.send = (view) => setStateValue("view", view);
  state.tell = (row) => setTriggerValue("row", { row, text: state.map.text });
  update(state, decode(data));
}

function create(parentElement) {
  const root = parentElement.querySelector(".zoom");
  const find = (name) => root.querySelector(name);
  const state = {
    root, canvas: find("canvas"), tip: find(".tip"), says: find(".says"), where: find(".where"),
    map: null, grids: [], view: null, named: null, cursor: null, pressed: null,
    pointers: new Map(), timer: 0, asked: "",
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
    state.named = null;
    state.hinted = false;
  }
  if (before?.identity !== map.identity) state.grids = [];
  if (map.grid) {
    const same = (grid) => String(grid.window) === String(map.grid.window);
    state.grids = [map.grid, ...state.grids.filter((grid) => !same(grid))];
    // The one of the whole map stays: it lies behind everything.
    const old = state.grids.slice(KEPT).filter((grid) => String(grid.window) === all(state));
    state.grids = [...state.grids.slice(0, KEPT), ...old];
    if (map.small) state.named = ["queries", "keys"].map((side) => widest(state, map.grid[side]));
  }
  // What the cursor stands on has another number now.
  if (state.cursor) {
    state.cursor = read(fitting(state), state.cursor.queries[0], state.cursor.keys[0]);
    say(state, state.cursor ? words(map, state.cursor).join(": ") : "");
  }
  state.canvas.setAttribute("aria-label", map.alt);
  if (before && before.text === map.text && before.selected !== map.selected) reveal(state);
  draw(state);
  // A message that brings nothing, to a page that has nothing, or a window that has moved on.
  if (!suiting(state)) settle(state, 0);
}

function widest(state, texts) {
  const measure = measuring(state, state.canvas.getContext("2d"));
  return Math.max(...texts.map((text) => measure(text, 12)));
}

function measuring(state, context) {
  const family = getComputedStyle(state.root).fontFamily;
  return (text, size) => {
    context.font = `${size}px ${family}`;
    return context.measureText(text).width;
  };
}

function say(state, text) {
  state.says.textContent = text;
}

// The colours of the page's theme, and what the bar below says of them.
function scene(state) {
  const { map } = state;
  const dark = luminance(getComputedStyle(state.root).backgroundColor) < 128;
  const best = suiting(state) ?? state.grids.at(-1);
  // Largest weights have one largest over the whole map, whatever the bins; means do not.
  const highest = map.highest ?? best?.highest ?? 1;
  const what = map.small || map.how !== "mean" || best?.steps.every((step) => step === 1) ? "weight" : "mean weight";
  return {
    colors: dark ? map.dark : map.light,
    grids: fitting(state),
    legend: {
      highest,
      low: map.log === null ? "0" : "≤0.0001",
      high: map.log === null ? short(highest) : "1",
      name: map.log !== null ? `${what}, logarithmic` : map.highest === null ? `${what}, of this part` : what,
      masked: state.grids.some((grid) => grid.masked),
    },
  };
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
  const box = layout(state.map, width, state.view, state.named);
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
  // Where every cell has its label, there is nothing to come closer to.
  const clear = state.map.small && box.across / state.map.shape[1] >= LABEL && !zoomed(state);
  root.querySelector(".tools").hidden = clear;
  if (!state.hinted) {
    state.hinted = true;
    say(state, matchMedia("(hover: none)").matches ? HINT_TOUCH : clear ? HINT_SMALL : HINT);
  }
  root.querySelector("[data-act=out]").disabled = !zoomed(state);
  root.querySelector("[data-act=whole]").disabled = !zoomed(state);
  const close = q1 - q0 <= Math.min(SMALLEST, state.map.shape[0]);
  root.querySelector("[data-act=in]").disabled = close && k1 - k0 <= SMALLEST;
  // For whoever waits until the picture is there, and looks for a cell of it.
  root.dataset.plot = [box.left, box.top, box.across, box.down].join();
  if (suiting(state)) root.dataset.painted = `${state.map.identity}:${q0},${q1},${k0},${k1}`;
}

function paint(state, canvas, ratio, ground, written = true) {
  const { colors, legend, grids } = scene(state);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, state.box.width, state.box.height);
  raster(context, state.map, grids, state.box, colors, legend, state.cursor);
  if (ground) {
    // Behind what is there: the cells' hatching has cleared what it lies on.
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = ground;
    context.fillRect(0, 0, state.box.width, state.box.height);
    context.globalCompositeOperation = "source-over";
  }
  const family = getComputedStyle(state.root).fontFamily;
  const texts = letters(state.map, grids, state.box, colors, legend, measuring(state, context));
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
