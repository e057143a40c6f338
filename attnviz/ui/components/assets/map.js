// The map component: one matrix with labels on both sides, drawn by Plotly.

import "../attnviz.vendor/plotly-cartesian-4.1.1.min.js";
import { markDrawn } from "./drawn.js";
import { cellAt, decode, describe, labelLookup } from "./map_grids.js";
import { figureOf } from "./map_figure.js";
import { listen } from "./map_input.js";
import { layoutOf, measuring } from "./map_layout.js";
import {
  atClosestZoom, drawableGrids, isZoomed, revealSelected, settle, suitableGrid, wanted, wholeWindow, zoomAction,
} from "./map_window.js";
import { isDark } from "./page_colors.js";
import { count } from "./written_numbers.js";

const { Plotly } = globalThis;
const states = new WeakMap();
const KEPT = 8; // grids kept in the browser
const LEAST_HEIGHT = 400; // pixels; a map that has less above the lower edge of the screen passes it
const HINTS = {
  zoom: "Click a row to follow it. Then wheel, + and − zoom, arrows move, Shift and arrows read cells, 0 shows all.",
  small: "Click a row to follow it. Keyboard: arrows read cell by cell, Enter selects the row.",
  touch: "Tap to read a cell and follow its row. Pinch to zoom, drag to move.",
  // Of maps in which nothing can be selected:
  readZoom: "After a click: wheel, + and − zoom, arrows move, Shift and arrows read cells, 0 shows all.",
  readSmall: "Point at a cell to read it. Keyboard: arrows read cell by cell.",
  readTouch: "Tap to read a cell. Pinch to zoom, drag to move.",
  // Of narrow maps, whose two lines hold no more:
  narrow: "Click a row to follow it. Arrow keys read cells.",
  readNarrow: "Point at a cell to read it. Arrow keys read cells.",
};
const NARROW = 340; // pixels

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  const state = states.get(parentElement) ?? create(parentElement);
  states.set(parentElement, state);
  state.sendView = (view) => setStateValue("view", view);
  state.sendCell = (row, column) => setTriggerValue("cell", { row, column, text: state.map.text });
  update(state, decode(data));
  return connect(state);
}

// Follow the page around the map; return what ends it: the page outlives this component.
function connect(state) {
  document.addEventListener("attnviz:token", state.pointToken);
  document.addEventListener("attnviz:cell", state.pointCell);
  // What lies above the map gets its height after the map's first drawing.
  const page = document.querySelector('[data-testid="stMainBlockContainer"]');
  const above = new ResizeObserver(() => fitLater(state));
  if (page) above.observe(page);
  return () => {
    document.removeEventListener("attnviz:token", state.pointToken);
    document.removeEventListener("attnviz:cell", state.pointCell);
    above.disconnect();
    clearTimeout(state.fitting);
  };
}

function create(parentElement) {
  const root = parentElement.querySelector(".map");
  const find = (name) => root.querySelector(name);
  const state = {
    root,
    stage: find(".stage"), plot: find(".plot"), surface: find(".surface"), says: find(".says"), where: find(".where"),
    rowBand: find(".row-band"), columnBand: find(".column-band"), rowName: find(".row-name"), columnName: find(".column-name"),
    map: null, grids: [], window: null, cursor: null, pointed: null, pressed: null,
    pointers: new Map(), timer: 0, lastRequest: "", frame: 0,
  };
  state.draw = () => {
    if (state.box) tools(state); // the text beside the buttons does not wait for the drawing
    cancelAnimationFrame(state.frame);
    state.frame = requestAnimationFrame(() => draw(state));
  };
  state.say = (text) => (state.says.textContent = text);
  state.point = (cell) => point(state, cell);
  state.pointToken = (event) => pointToken(state, event.detail);
  state.pointCell = (event) => pointCell(state, event.detail);
  state.choose = (row, column) => choose(state, row, column);
  listen(state);
  new ResizeObserver(state.draw).observe(state.stage);
  // The theme changes without a run of the script: a transition of the background reports it.
  root.addEventListener("transitionend", (event) => event.target === root && state.draw());
  root.addEventListener("fullscreenchange", state.draw);
  for (const button of root.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoomAction(state, button.dataset.zoom));
  }
  for (const button of root.querySelectorAll("[data-format]")) {
    button.addEventListener("click", () => save(state, button.dataset.format));
  }
  find("[data-fullscreen]").addEventListener("click", () =>
    document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen?.()
  );
  return state;
}

function update(state, map) {
  const before = state.map;
  state.map = map;
  if (before?.text !== map.text) {
    // A map that Streamlit has drawn anew shows the part that was on the screen before.
    state.window = before ? wholeWindow(state) : map.window ?? wholeWindow(state);
    state.cursor = null;
    state.hinted = false;
  }
  if (before?.identity !== map.identity) state.grids = [];
  if (map.grid) {
    const same = (grid) => String(grid.window) === String(map.grid.window);
    state.grids = [map.grid, ...state.grids.filter((grid) => !same(grid))];
    // The grid of the whole map is always kept: it is drawn while finer numbers are on their way.
    const whole = state.grids.slice(KEPT).filter((grid) => String(grid.window) === String(wholeWindow(state)));
    state.grids = [...state.grids.slice(0, KEPT), ...whole];
  }
  const named = map.small ? state.grids.find((grid) => grid.steps[0] === 1 && grid.steps[1] === 1) : null;
  map.rowLabels = named?.rowLabels;
  map.columnLabels = named?.columnLabels;
  if (state.cursor) {
    state.cursor = cellAt(drawableGrids(state), state.cursor.rows[0], state.cursor.columns[0]);
    state.say(state.cursor ? describe(map, state.cursor).join(": ") : "");
  }
  state.surface.setAttribute("aria-label", map.alt);
  state.root.classList.toggle("short", !map.numbered);
  state.root.classList.toggle("long", !map.small);
  if (before && before.text === map.text && String(before.selected) !== String(map.selected)) revealSelected(state);
  draw(state);
  if (!suitableGrid(state)) settle(state, 0); // nothing came, or the window has moved on
}

function styleOf(state) {
  const { dark, light } = state.map.styles;
  return { ...(isDark(state.root) ? dark : light), font: getComputedStyle(state.root).fontFamily };
}

// The height up to the lower edge of the screen, as long as that is useful; else most of a screen.
function heightFor(state) {
  const scrolled = document.querySelector('[data-testid="stMain"]')?.scrollTop ?? 0;
  const below = innerHeight - state.stage.getBoundingClientRect().top - scrolled - 8;
  return Math.min(state.map.tallest, below >= LEAST_HEIGHT ? below : Math.max(innerHeight - 300, 360));
}

// Draw again once the page is at rest, if the map has moved on it.
function fitLater(state) {
  clearTimeout(state.fitting);
  state.fitting = setTimeout(() => {
    const drawn = state.box && !document.fullscreenElement;
    if (drawn && Math.abs(heightFor(state) - state.height) > 4) state.draw();
  }, 200);
}

function draw(state) {
  const { map, root, stage, plot, surface } = state;
  const width = stage.clientWidth;
  if (!map || !width) return;
  const full = document.fullscreenElement && root.matches(":fullscreen");
  state.height = full ? innerHeight - 110 : heightFor(state);
  const space = { width, height: state.height };
  const measure = measuring(state.root);
  const rule = full ? { ...map.labelRule, largestCell: 90 } : map.labelRule;
  state.box = layoutOf({ ...map, labelRule: rule }, space, measure);
  const { box } = state;
  const { data, layout } = figureOf(state, styleOf(state), measure);
  const identity = `${map.identity}:${wanted(state).window}`;
  Plotly.react(plot, data, layout, { staticPlot: true, responsive: false }).then(() => {
    if (suitableGrid(state)) root.dataset.painted = identity;
    markDrawn(root);
  });
  for (const [name, value] of Object.entries({ left: box.left, top: box.top, width: box.across, height: box.down })) {
    surface.style[name] = `${value}px`;
  }
  surface.classList.toggle("zoomed", isZoomed(state));
  tools(state);
  point(state, state.pointed);
  root.dataset.plot = [box.left, box.top, box.across, box.down].join();
}

function tools(state) {
  const { map, root, box } = state;
  const { window: [r0, r1, c0, c1], steps } = wanted(state);
  const size = steps[0] * steps[1] > 1 ? `${steps[0]} × ${steps[1]} cells per bin` : "single cells";
  state.where.textContent =
    `queries ${count(r0)}–${count(r1 - 1)}, keys ${count(c0)}–${count(c1 - 1)} · ` +
    (suitableGrid(state) ? size : "loading …");
  // Where every cell has its label there is nothing to zoom into.
  const clear = map.small && box.across / map.shape[1] >= map.labelRule.least && !isZoomed(state);
  map.zoomable = map.numbered && !clear;
  root.querySelector(".zoom-tools").hidden = !map.zoomable;
  if (!state.hinted && map.numbered) {
    state.hinted = true;
    const narrow = state.stage.clientWidth < NARROW;
    const kind = matchMedia("(hover: none)").matches ? "touch" : narrow ? "narrow" : clear ? "small" : "zoom";
    const read = `read${kind[0].toUpperCase()}${kind.slice(1)}`;
    state.say(HINTS[state.map.selects === "none" ? read : kind]);
  }
  root.querySelector("[data-zoom=out]").disabled = !isZoomed(state);
  root.querySelector("[data-zoom=whole]").disabled = !isZoomed(state);
  root.querySelector("[data-zoom=in]").disabled = atClosestZoom(state);
}

// Mark the row and the column of the cell under the pointer, and read the cell out.
function point(state, cell) {
  const { map } = state;
  const before = state.pointed;
  state.pointed = cell;
  const same = String([before?.rows, before?.columns]) === String([cell?.rows, cell?.columns]);
  if (!same && map.numbered) {
    const detail = cell ? { text: map.text, query: cell.rows[0], key: cell.columns[0] } : null;
    document.dispatchEvent(new CustomEvent("attnviz:cell", { detail }));
  }
  markRow(state, cell?.rows, cell?.rowLabel);
  markColumn(state, cell?.columns, cell?.columnLabel);
  if (!cell) return;
  const [where, what] = describe(map, cell);
  state.say(`${where}: ${what}`);
}

// Mark the row or column of a token that the pointer is on elsewhere on the page.
function pointToken(state, token) {
  const { map, box } = state;
  if (!map?.numbered || !box || state.pointed) return;
  const hovered = token?.text === map.text ? token : null;
  const mark = (side, name, show) => {
    const at = hovered?.side === side ? hovered.index : null;
    show(state, at === null ? undefined : [at, at], at === null ? "" : labelLookup(state.grids, name)(at));
  };
  mark("query", "row", markRow);
  mark("key", "column", markColumn);
}

// Mark and read out the cell that the pointer is on in another map of the same text.
function pointCell(state, there) {
  const { map, box } = state;
  if (!map?.numbered || !box || state.pointed) return;
  const here = there?.text === map.text ? cellAt(drawableGrids(state), there.query, there.key) : null;
  markRow(state, here?.rows, here?.rowLabel);
  markColumn(state, here?.columns, here?.columnLabel);
  if (here) state.say(describe(map, here).join(": "));
}

const place = (element, values) => {
  for (const [name, value] of Object.entries(values)) element.style[name] = `${value}px`;
};
const share = (at, low, high) => Math.min(Math.max((at - low) / (high - low), 0), 1);

// Outline the rows from the first to the last of two and write their name; without rows, hide both.
function markRow(state, rows, label) {
  const { box, rowBand, rowName, window: [low, high] } = state;
  rowBand.hidden = rowName.hidden = !rows || rows[1] < Math.floor(low) || rows[0] >= high;
  if (rowBand.hidden) return;
  const [top, bottom] = [share(rows[0], low, high) * box.down, share(rows[1] + 1, low, high) * box.down];
  place(rowBand, { left: box.left, top: box.top + top, width: box.across, height: Math.max(bottom - top, 1) });
  rowName.textContent = label ?? count(rows[0]);
  place(rowName, { fontSize: box.font, top: box.top + (top + bottom) / 2, right: state.stage.clientWidth - box.left + 2 });
}

function markColumn(state, columns, label) {
  const { box, columnBand, columnName, window: [, , low, high] } = state;
  columnBand.hidden = columnName.hidden = !columns || columns[1] < Math.floor(low) || columns[0] >= high;
  if (columnBand.hidden) return;
  const [left, right] = [share(columns[0], low, high) * box.across, share(columns[1] + 1, low, high) * box.across];
  place(columnBand, { left: box.left + left, top: box.top, width: Math.max(right - left, 1), height: box.down });
  columnName.textContent = label ?? count(columns[0]);
  place(columnName, { fontSize: box.font, left: box.left + (left + right) / 2, top: box.top - 2 });
  columnName.classList.toggle("upright", !box.flat);
}

function choose(state, row, column) {
  const { map } = state;
  if (map.selects === "none") return;
  const selected = row === null ? null : [row, map.selects === "cell" ? column : null];
  if (String(selected) === String(map.selected)) return;
  map.selected = selected;
  state.draw();
  state.sendCell(row, column);
}

// Save what is on the screen, on the page's colour.
async function save(state, format) {
  const style = styleOf(state);
  const { data, layout } = figureOf({ ...state, cursor: null }, style, measuring(state.root));
  await Plotly.downloadImage(
    { data, layout: { ...layout, paper_bgcolor: style.page }, config: { staticPlot: true } },
    { format, filename: state.map.filename, width: state.box.width, height: state.box.height, scale: format === "png" ? 3 : 1 }
  );
}
