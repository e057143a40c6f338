// Pointer, wheel, touch and keyboard on the transparent surface above a map.

import { cellAt, describe } from "./map_grids.js";
import { changeWindow, drawableGrids, isZoomed, zoomAction } from "./map_window.js";

export function listen(state) {
  const { surface } = state;
  const point = (event) => {
    const box = surface.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const position = (x, y) => {
    const [r0, r1, c0, c1] = state.window;
    const { across, down } = state.box;
    return [r0 + (y / down) * (r1 - r0), c0 + (x / across) * (c1 - c0)];
  };
  const read = ([x, y]) => {
    const { across, down } = state.box;
    const inside = x >= 0 && x < across && y >= 0 && y < down;
    const [row, column] = position(x, y);
    state.point(inside ? cellAt(drawableGrids(state), Math.floor(row), Math.floor(column)) : null);
  };
  surface.addEventListener(
    "wheel",
    (event) => {
      const focused = surface.getRootNode().activeElement === surface;
      if (!state.map.zoomable || !(event.ctrlKey || event.metaKey || focused)) return;
      if (event.deltaY > 0 && !isZoomed(state)) return; // nothing further out: the page scrolls
      event.preventDefault();
      const speed = event.deltaMode === 1 ? 0.05 : event.ctrlKey ? 0.01 : 0.002;
      const factor = Math.exp(Math.min(Math.max(event.deltaY * speed, -0.7), 0.7));
      changeWindow(state, factor, ...position(...point(event)));
    },
    { passive: false }
  );
  surface.addEventListener("dblclick", (event) => {
    if (state.map.zoomable) changeWindow(state, event.shiftKey ? 4 : 0.25, ...position(...point(event)));
  });
  surface.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    state.pointers.set(event.pointerId, point(event));
    state.pressed = state.pointers.size === 1 ? point(event) : null;
    surface.setPointerCapture(event.pointerId);
    read(point(event));
  });
  surface.addEventListener("pointermove", (event) => {
    const now = point(event);
    const before = state.pointers.get(event.pointerId);
    if (!before) return read(now);
    const others = [...state.pointers].filter(([id]) => id !== event.pointerId);
    // A finger trembles: less than four pixels is no drag.
    const near = state.pressed && Math.hypot(now[0] - state.pressed[0], now[1] - state.pressed[1]) < 4;
    if (near && !others.length) return;
    state.pressed = null;
    if (others.length && state.map.zoomable) {
      const other = others[0][1];
      const apart = (a, b) => Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 12);
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      changeWindow(state, apart(before, other) / apart(now, other), ...position(...middle));
    } else if (isZoomed(state)) {
      surface.classList.add("held");
      const [row, column] = position(...now);
      const [rowBefore, columnBefore] = position(...before);
      changeWindow(state, 1, null, null, rowBefore - row, columnBefore - column);
    } else {
      read(now);
    }
    state.pointers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    surface.addEventListener(name, (event) => {
      state.pointers.delete(event.pointerId);
      surface.classList.remove("held");
    });
  }
  surface.addEventListener("click", (event) => {
    // The second click of a double click zooms.
    if (!state.pressed || event.detail > 1) return;
    // Where the pointer went down: a click's own coordinates are whole pixels, and may lie in the
    // neighbouring cell of the one that was read out.
    const [row, column] = position(...state.pressed);
    state.choose(Math.floor(row), Math.floor(column));
  });
  surface.addEventListener("pointerleave", () => state.point(null));
  surface.addEventListener("keydown", (event) => press(state, event));
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function press(state, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const [r0, r1, c0, c1] = state.window;
  const arrow = ARROWS[event.key];
  const zoomKey = { "+": "in", "=": "in", "-": "out", _: "out", 0: "whole", Home: "whole" }[event.key];
  // The whole map cannot be moved: there the arrows read cells without Shift.
  if (arrow && (event.shiftKey || !isZoomed(state))) moveCursor(state, arrow);
  else if (arrow) changeWindow(state, 1, null, null, (arrow[0] * (r1 - r0)) / 8, (arrow[1] * (c1 - c0)) / 8);
  else if (zoomKey && state.map.zoomable) zoomAction(state, zoomKey);
  else if ((event.key === "Enter" || event.key === " ") && state.cursor) {
    state.choose(state.cursor.rows[0], state.cursor.columns[0]);
  } else if (event.key === "Escape") {
    if (!state.cursor) state.choose(null, null);
    state.cursor = null;
    state.draw();
    state.surface.blur();
  } else return;
  event.preventDefault();
}

// Move the keyboard's cursor by one cell or bin, and read it out.
function moveCursor(state, [down, right]) {
  const [r0, r1, c0, c1] = state.window;
  const at = state.cursor;
  const start = state.map.selected;
  const next = (by, [first, last]) => (by < 0 ? first - 1 : by ? last + 1 : first);
  const row = at ? next(down, at.rows) : start?.[0] ?? (r0 + r1) / 2;
  const column = at ? next(right, at.columns) : start?.[1] ?? (c0 + c1) / 2;
  const cell = cellAt(drawableGrids(state), Math.floor(row), Math.floor(column));
  if (!cell) return;
  state.cursor = cell;
  state.say(describe(state.map, cell).join(": "));
  const outside = (low, high, [first, last]) => (first < low ? first - low : Math.max(last + 1 - high, 0));
  const byRows = outside(r0, r1, cell.rows);
  const byColumns = outside(c0, c1, cell.columns);
  if (byRows || byColumns) changeWindow(state, 1, null, null, byRows, byColumns);
  else state.draw();
}
