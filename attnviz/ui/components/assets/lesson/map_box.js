// A map in a box of the page, drawn by the app's map: the same figure, sizes, colours and sentences.

import { markDrawn } from "../drawn.js";
import { figureOf } from "../map_figure.js";
import { cellAt, describe } from "../map_grids.js";
import { layoutOf, measuring } from "../map_layout.js";
import { isDark } from "../page_colors.js";
import { element } from "./elements.js";

const TALLEST = 440; // pixels
const TYPE = 16; // pixels of the page's type for which the sizes of labels are meant

// A map of the specification `kind`, "weights" or "signed". `options`: rows and columns, each a list
// of labels or a number of positions; label for screen readers; fields of the map that differ; point,
// called with a cell that is pointed at, or null. The result has `draw(numbers, highest)`.
export function mapBox(context, kind, { rows, columns = rows, label = "", fields = {}, point = null }) {
  const stage = element("div", "map-stage");
  const plot = element("div", "plot");
  if (label && !point) {
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", label);
  } else plot.setAttribute("aria-hidden", "true"); // what lies above it has the names
  const surface = element("div", "surface");
  stage.append(plot, surface);
  const count = (side) => (typeof side === "number" ? side : side.length);
  const labels = (side) => (typeof side === "number" ? undefined : side);
  const shape = [count(rows), count(columns)];
  const map = { ...context.maps[kind], shape, rowLabels: labels(rows), columnLabels: labels(columns), ...fields };
  if (map.plain) stage.style.aspectRatio = `${shape[1]} / ${shape[0]}`; // before it is drawn, too
  const state = { stage, plot, surface, map, point, grids: [], window: [0, shape[0], 0, shape[1]], cursor: null };
  if (point) listen(state, label);
  new ResizeObserver(() => drawSoon(state)).observe(stage);
  return {
    element: stage,
    surface,
    draw(numbers, highest = map.highest) {
      if (same(state.numbers, numbers) && map.highest === highest) {
        if (themeOf(state) !== state.theme) drawSoon(state);
        return;
      }
      state.numbers = Float32Array.from(numbers);
      map.highest = highest;
      state.grids = [gridOf(map, state.numbers)];
      drawSoon(state);
    },
    light: (places) => light(state, places),
    // Where a cell is, and what it holds.
    text: (cell) => describe(map, cell).join(": "),
  };
}

const same = (before, now) =>
  before?.length === now.length && before.every((value, at) => Object.is(value, Math.fround(now[at])));

const themeOf = ({ stage }) => (isDark(stage.closest(".lesson") ?? stage) ? "dark" : "light");

function gridOf({ shape: [rows, columns], rowLabels, columnLabels }, values) {
  return {
    window: [0, rows, 0, columns], steps: [1, 1], rows, columns, values, rowLabels, columnLabels,
    masked: values.some(Number.isNaN), broken: false, highest: 1,
  };
}

// Draw before the next picture of the screen: once, however often the numbers have changed by then.
function drawSoon(state) {
  state.frame ??= requestAnimationFrame(async () => {
    // Loaded when a map is first drawn: most steps have none.
    await import("../../attnviz.vendor/plotly-cartesian-4.1.1.min.js");
    state.frame = null;
    draw(state);
  });
}

function draw(state) {
  const { map, stage, plot, grids } = state;
  if (!grids.length || !stage.clientWidth) return;
  const { fontFamily, fontSize } = getComputedStyle(stage);
  const larger = Math.max(1, parseFloat(fontSize) / TYPE); // a class sees the page from afar
  const rule = Object.fromEntries(
    Object.entries(map.labelRule).map(([name, value]) => [name, name === "share" ? value : value * larger])
  );
  const plain = map.plain || stage.clientWidth < map.plainBelow;
  const sized = { ...map, plain, labelRule: rule, textSize: 13 * larger };
  const measure = measuring(stage);
  const box = layoutOf(sized, { width: stage.clientWidth, height: TALLEST * larger }, measure);
  const theme = themeOf(state);
  const style = { ...map.styles[theme], font: fontFamily };
  const { data, layout } = figureOf({ ...state, map: sized, box }, style, measure);
  globalThis.Plotly.react(plot, data, layout, { staticPlot: true, responsive: false });
  for (const side of ["left", "top", "across", "down", "height"]) {
    stage.style.setProperty(`--${side}`, `${box[side]}px`);
  }
  stage.dataset.drawn = theme;
  state.theme = theme;
  markDrawn(stage);
}

// Read cells with the mouse, a finger, or the arrow keys.
function listen(state, label) {
  const { surface, map } = state;
  const read = (row, column) => {
    const cell = cellAt(state.grids, row, column);
    if (cell) state.point(cell);
    return cell;
  };
  const at = (event) => {
    const box = surface.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * map.shape[0]);
    read(row, Math.floor(((event.clientX - box.left) / box.width) * map.shape[1]));
  };
  const follow = (cell) => {
    state.cursor = cell;
    drawSoon(state);
  };
  surface.addEventListener("pointermove", at);
  surface.addEventListener("pointerdown", at);
  surface.addEventListener("pointerleave", () => state.point(null));
  surface.tabIndex = 0;
  surface.setAttribute("role", "application");
  surface.setAttribute("aria-roledescription", "map");
  surface.setAttribute("aria-label", label);
  surface.addEventListener("blur", () => {
    if (!state.cursor) return;
    follow(null);
    state.point(null);
  });
  surface.addEventListener("keydown", (event) => {
    const [down, across] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [];
    if (down === undefined) return;
    const [row, column] = state.cursor ? [state.cursor.rows[0] + down, state.cursor.columns[0] + across] : [0, 0];
    const cell = read(row, column);
    if (cell) follow(cell);
    event.preventDefault();
    event.stopPropagation();
  });
}

// Outline the row of a query and the column of a key, as the places name them.
function light({ surface, map }, places) {
  const bands = places
    .filter(({ kind, place }) => Number(place) < map.shape[{ query: 0, key: 1 }[kind]])
    .map(({ kind, place }) => {
      const side = kind === "query" ? 0 : 1;
      const band = element("div", "band");
      band.dataset.kind = kind;
      const [from, size] = [`${(100 * place) / map.shape[side]}%`, `${100 / map.shape[side]}%`];
      const box = side === 0 ? { top: from, height: size, left: 0, right: 0 } : { left: from, width: size, top: 0, bottom: 0 };
      Object.assign(band.style, box);
      return band;
    });
  surface.replaceChildren(...bands);
}
