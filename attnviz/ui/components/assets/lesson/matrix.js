// Picture of a matrix: rows look, columns are looked at. The map draws it; transparent cells above it
// take clicks, keys and fingers, and show the guess. A student clicks a cell ("cell"), or paints the
// cells that are visible ("paint").

import { drag, element } from "./elements.js";
import { mapBox } from "./map_box.js";
import { linkTo } from "./marks.js";
import { format, numbersOf, resolve } from "./numbers.js";

// A cell whose number is not shown yet: the map draws it in grey.
const HIDDEN = Infinity;

export function create(context) {
  const { scene, step } = context;
  const { show } = step;
  const rows = scene.labels[show.rows];
  const columns = scene.labels[show.columns_of ?? show.rows];
  const fields = { bare: true, numbers: true, gap: 2, decimals: show.decimals ?? 1 };
  if (show.columns_of) fields.corner = "";
  const map = mapBox(context, show.colors === "weights" ? "weights" : "signed", { rows, columns, fields });
  const root = element("div", "matrix");
  root.append(map.element);
  const grid = element("div", "cells");
  grid.style.setProperty("--columns", columns.length);
  grid.style.setProperty("--rows", rows.length);
  map.surface.append(grid);
  const picture = { context, element: root, map, rows, columns, cells: [] };
  map.element.append(headings(context, "row-heads", rows, "query"), headings(context, "column-heads", columns, "key"));
  rows.forEach((_, row) => columns.forEach((_, column) => grid.append(addCell(picture, row, column))));
  listen(picture, grid);
  picture.paint = () => paint(picture);
  picture.light = (places) => light(picture, places);
  picture.distance = () => distance(picture);
  return picture;
}

// Click cells, or paint them: pressed where the finger or the mouse begins, and wherever it goes.
function listen(picture, grid) {
  const { context } = picture;
  let value = 0;
  drag(grid, {
    begin(event) {
      const at = indexOf(event.target);
      const { kind } = context.step.predict;
      if (context.revealed || at === null) return false;
      if (kind === "cell") context.predict(at);
      if (kind !== "paint") return false;
      value = painted(picture)[at] ? 0 : 1;
      put(picture, at, value);
    },
    move(event) {
      const below = grid.getRootNode().elementFromPoint(event.clientX, event.clientY);
      const at = below && grid.contains(below) ? indexOf(below) : null;
      if (at !== null) put(picture, at, value);
    },
  });
  grid.addEventListener("keydown", (event) => walk(picture, event));
}

const indexOf = (target) => {
  const cell = target.closest?.(".cell");
  return cell ? Number(cell.dataset.at) : null;
};

// Transparent labels above those of the map, which link and are named in full.
function headings(context, className, labels, kind) {
  const heads = element("div", className);
  heads.style.setProperty("--count", labels.length);
  heads.append(
    ...labels.map((label, at) => {
      const head = element("span", "");
      head.title = label;
      linkTo(head, context, kind, at);
      return head;
    })
  );
  return heads;
}

// Light up the row of a query and the column of a key that are pointed at elsewhere.
function light({ cells, columns, context }, places) {
  const { kind = "score", mirror } = context.step.show;
  const pointed = places.filter((one) => one.kind === kind);
  const mirrored = mirror && pointed.map(({ place }) => (place % columns.length) * columns.length + Math.floor(place / columns.length));
  cells.forEach((cell, at) => {
    const row = Math.floor(at / columns.length);
    const inLine = places.some(
      (one) => (one.kind === "query" && Number(one.place) === row) || (one.kind === "key" && Number(one.place) === at % columns.length)
    );
    const near = pointed.length ? Boolean(mirrored?.includes(at)) : inLine;
    cell.classList.toggle("near", near && !cell.classList.contains("marked"));
  });
}

function addCell(picture, row, column) {
  const { context, columns, cells } = picture;
  const at = row * columns.length + column;
  const cell = element("button", "cell");
  cell.type = "button";
  cell.tabIndex = at === 0 ? 0 : -1;
  cell.dataset.at = at;
  cell.dataset.pick = at;
  cell.dataset.kind = context.step.show.kind ?? "score";
  cell.dataset.place = at;
  cell.addEventListener("pointerenter", () => {
    const here = { kind: cell.dataset.kind, place: String(at) };
    context.mark([here, { kind: "query", place: String(row) }, { kind: "key", place: String(column) }]);
  });
  cell.addEventListener("pointerleave", () => context.mark(null));
  cells.push(cell);
  return cell;
}

// One tab stop; the arrows walk, space and enter choose or paint.
function walk(picture, event) {
  const { cells, columns, context } = picture;
  const at = indexOf(event.target);
  if (at === null) return;
  const next = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + columns.length,
    ArrowUp: at - columns.length,
  }[event.key];
  if (event.key === " " || event.key === "Enter") {
    if (context.revealed) return;
    if (context.step.predict.kind === "cell") context.predict(at);
    else if (context.step.predict.kind === "paint") put(picture, at, painted(picture)[at] ? 0 : 1);
    else return;
  } else if (cells[next]) {
    for (const one of cells) one.tabIndex = -1;
    cells[next].tabIndex = 0;
    cells[next].focus();
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

function painted({ context, cells }) {
  return context.guess ?? new Array(cells.length).fill(1);
}

function put(picture, at, value) {
  const before = painted(picture);
  if (picture.context.guess !== null && before[at] === value) return;
  picture.context.predict(before.map((one, index) => (index === at ? value : one)));
}

// Whether a number is not shown yet.
export function isHidden({ context, columns }, at) {
  const { step, scene, revealed } = context;
  const { hide } = step.predict;
  if (revealed || !hide) return false;
  if (hide === "all") return true;
  const place = resolve(scene, step.predict.place);
  return hide === "row" ? Math.floor(at / columns.length) === place : at === place;
}

function paint(picture) {
  const { context, cells, map } = picture;
  const { step, scene, revealed, guess } = context;
  const { show, predict } = step;
  const numbers = numbersOf(context, show.array);
  const finite = Array.from(numbers).filter(Number.isFinite);
  const truth = revealed && predict.kind === "cell" ? resolve(scene, predict.truth) : null;
  const right = revealed && predict.kind === "paint" ? scene.arrays[predict.of].numbers : null;
  const visible = predict.kind === "paint" && !revealed ? painted(picture) : null;
  const shown = Float32Array.from(numbers, (number, at) =>
    visible && !visible[at] ? NaN : isHidden(picture, at) ? HIDDEN : Number.isFinite(number) ? number : NaN
  );
  map.draw(shown, show.high ?? Math.max(...finite.map(Math.abs)));
  cells.forEach((cell, at) => {
    const [masked, unknown] = [Number.isNaN(shown[at]), shown[at] === HIDDEN];
    cell.classList.toggle("masked", masked);
    cell.classList.toggle("secret", unknown);
    cell.classList.toggle("picked", predict.kind === "cell" && guess === at);
    cell.classList.toggle("truth", truth === at);
    cell.classList.toggle("missed", Boolean(right && guess && Boolean(guess[at]) !== Boolean(right[at])));
    cell.textContent = unknown ? "?" : "";
    const says = masked ? context.say("masked") : unknown ? context.say("not_shown") : format(shown[at]);
    const row = Math.floor(at / picture.columns.length);
    const name = context.say("looks_at", {
      row: picture.rows[row],
      column: picture.columns[at % picture.columns.length],
      number: says,
    });
    cell.setAttribute("aria-label", name);
    cell.title = name;
  });
}

function distance({ context, columns, rows }) {
  const { step, scene, guess } = context;
  const { predict } = step;
  if (predict.kind === "paint") {
    const right = scene.arrays[predict.of].numbers;
    const wrong = guess.filter((one, at) => Boolean(one) !== Boolean(right[at])).length;
    return { apart: wrong / guess.length, text: context.say("cells_differ", { wrong, count: guess.length }) };
  }
  const worth = context.truth((one) => numbersOf(one, predict.of));
  const right = resolve(scene, predict.truth);
  if (guess === right) return { apart: 0, text: context.say("right_one") };
  const [row, right_row] = [guess, right].map((at) => rows[Math.floor(at / columns.length)]);
  const [column, right_column] = [guess, right].map((at) => columns[at % columns.length]);
  const numbers = { number: format(worth[guess]), right: format(worth[right]) };
  const text = context.say("pairs", { row, column, right_row, right_column, ...numbers });
  return { apart: Math.abs(worth[right] - worth[guess]), text };
}
