// One map of weights with its tokens on both sides, drawn by the app's map: the same figure, sizes,
// colours and sentences. Pointing at a cell reads it out and lights up its two tokens.

import { cellAt, describe } from "../map_grids.js";
import { figureOf } from "../map_figure.js";
import { layoutOf } from "../map_layout.js";
import { isDark } from "../page_colors.js";
import { element } from "./elements.js";

const TALLEST = 440; // pixels

// `labels` are the tokens along both sides; the result has `draw(numbers, title)` and `light(places)`.
export function largeMap(context, labels) {
  const root = element("figure", "large-map");
  const title = element("figcaption", "");
  const stage = element("div", "map-stage");
  const plot = element("div", "plot");
  const surface = element("div", "surface");
  const says = element("div", "map-says");
  says.setAttribute("aria-live", "polite");
  stage.append(plot, surface);
  root.append(title, stage, says);
  const window = [0, labels.length, 0, labels.length];
  const map = { ...context.map, shape: [labels.length, labels.length], rowLabels: labels, columnLabels: labels };
  const state = { root, stage, plot, surface, says, map, grids: [], window, cursor: null, context };
  surface.addEventListener("pointermove", (event) => point(state, event));
  surface.addEventListener("pointerdown", (event) => point(state, event));
  surface.addEventListener("pointerleave", () => {
    context.mark(null);
    says.textContent = "";
  });
  new ResizeObserver(() => draw(state)).observe(stage);
  return {
    element: root,
    draw(numbers, text) {
      title.textContent = text;
      state.grids = [gridOf(numbers, labels)];
      draw(state);
    },
    light: (places) => light(state, places),
  };
}

function gridOf(numbers, labels) {
  const count = labels.length;
  return {
    window: [0, count, 0, count], steps: [1, 1], rows: count, columns: count,
    values: Float32Array.from(numbers), rowLabels: labels, columnLabels: labels,
    masked: Array.from(numbers).some(Number.isNaN), broken: false, highest: 1,
  };
}

function measuring({ root }) {
  const surface = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(root).fontFamily;
  return (text, size) => {
    surface.font = `${size}px ${family}`;
    return surface.measureText(text).width;
  };
}

async function draw(state) {
  const { map, stage, plot, surface, context, grids } = state;
  if (!grids.length || !stage.clientWidth) return;
  // Loaded when a map is first drawn: most steps have none.
  await import("../../attnviz.vendor/plotly-cartesian-4.1.1.min.js");
  const measure = measuring(state);
  const space = { width: stage.clientWidth, height: TALLEST };
  state.box = layoutOf(map, space, measure);
  const theme = isDark(state.root.closest(".lesson") ?? state.root) ? "dark" : "light";
  const style = { ...context.map.styles[theme], font: getComputedStyle(state.root).fontFamily };
  const { data, layout } = figureOf(state, style, measure);
  globalThis.Plotly.react(plot, data, layout, { staticPlot: true, responsive: false });
  const { left, top, across, down, height } = state.box;
  stage.style.height = `${height}px`;
  for (const [name, value] of Object.entries({ left, top, width: across, height: down })) {
    surface.style[name] = `${value}px`;
  }
}

// Read out the cell under the pointer.
function point(state, event) {
  const { surface, map, grids, context, says } = state;
  if (!grids.length) return;
  const box = surface.getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * map.shape[0]);
  const column = Math.floor(((event.clientX - box.left) / box.width) * map.shape[1]);
  const cell = cellAt(grids, row, column);
  if (!cell) return;
  context.mark([{ kind: "query", place: String(row) }, { kind: "key", place: String(column) }]);
  says.textContent = describe(map, cell).join(": ");
}

// Outline the row of a query and the column of a key, as the places name them.
function light(state, places) {
  const { surface, map } = state;
  const bands = places
    .filter(({ kind, place }) => ["query", "key"].includes(kind) && Number(place) < map.shape[0])
    .map(({ kind, place }) => {
      const band = element("div", "band");
      band.dataset.kind = kind;
      const [from, size] = [`${(100 * place) / map.shape[0]}%`, `${100 / map.shape[0]}%`];
      const box = kind === "query" ? { top: from, height: size, left: 0, right: 0 } : { left: from, width: size, top: 0, bottom: 0 };
      Object.assign(band.style, box);
      return band;
    });
  surface.replaceChildren(...bands);
}
