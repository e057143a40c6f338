// What the person does to the map: pointer, wheel, fingers and keys.

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
    state.pressed = state.pointers.size === 1 ? point(event) : null;
    canvas.setPointerCapture(event.pointerId);
    show(state, point(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = point(event);
    const before = state.pointers.get(event.pointerId);
    if (!before) return show(state, now);
    const others = [...state.pointers].filter(([id]) => id !== event.pointerId);
    const { box } = state;
    // A finger trembles; only a way of some pixels is a drag and no click.
    const near = state.pressed && Math.hypot(now[0] - state.pressed[0], now[1] - state.pressed[1]) < 4;
    if (near && !others.length) return;
    state.pressed = null;
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
  canvas.addEventListener("click", (event) => {
    const [x, y] = point(event);
    // The second click of two zooms.
    if (state.pressed && event.detail < 2 && inPlot(state, x, y)) choose(state, Math.floor(state.box.query(y)));
  });
  canvas.addEventListener("pointerleave", () => (state.tip.hidden = true));
  canvas.addEventListener("keydown", (event) => press(state, event));
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function press(state, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const [q0, q1, k0, k1] = state.view;
  const arrow = ARROWS[event.key];
  // The whole map cannot be moved: there the arrows read without Shift.
  if (arrow && (event.shiftKey || !zoomed(state))) walk(state, arrow);
  else if (arrow) look(state, 1, null, null, (arrow[0] * (q1 - q0)) / 8, (arrow[1] * (k1 - k0)) / 8);
  else if (event.key === "+" || event.key === "=") act(state, "in");
  else if (event.key === "-" || event.key === "_") act(state, "out");
  else if (event.key === "0" || event.key === "Home") act(state, "whole");
  else if (event.key === "Enter" && state.cursor) choose(state, state.cursor.queries[0]);
  else if (event.key === "Escape") {
    if (!state.cursor) choose(state, null);
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

// The page follows the token of one row: its frame is moved at once, and Python is told.
function choose(state, row) {
  if (row === state.map.selected) return;
  state.map.selected = row;
  draw(state);
  state.tell(row);
}

const inPlot = ({ box }, x, y) =>
  x >= box.left && x < box.left + box.across && y >= box.top && y < box.top + box.down;

function show(state, [x, y]) {
  const { box, tip, canvas } = state;
  const found = inPlot(state, x, y) && read(fitting(state), Math.floor(box.query(y)), Math.floor(box.key(x)));
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = words(state.map, found).join("\n");
  const room = canvas.clientWidth;
  tip.style.left = `${Math.max(0, Math.min(x + 14, room - tip.offsetWidth))}px`;
  const below = y + 18 + tip.offsetHeight < canvas.clientHeight;
  tip.style.top = `${below ? y + 18 : y - 12 - tip.offsetHeight}px`;
}
