// Picture of a matrix: rows look, columns are looked at. A student clicks a cell ("cell"), or paints
// the cells that are visible ("paint").

import { element } from "./elements.js";
import { linkTo } from "./marks.js";
import { betterTextColor } from "../page_colors.js";
import { format, numbersOf, resolve } from "./numbers.js";
import { scaleOf } from "./maps.js";

export function create(context) {
  const { scene, step } = context;
  const { show, predict } = step;
  const rows = scene.labels[show.rows];
  const columns = scene.labels[show.columns_of ?? show.rows];
  const root = element("div", "matrix");
  root.style.setProperty("--across", columns.length);
  const picture = { context, root, element: root, rows, columns, cells: [] };
  const corner = element("span", "corner", show.title ?? "");
  root.append(corner);
  columns.forEach((label, at) => root.append(heading(context, "column-label", label, "key", at)));
  rows.forEach((label, row) => {
    root.append(heading(context, "row-label", label, "query", row));
    columns.forEach((_, column) => addCell(picture, row, column));
  });
  let painting = null;
  root.addEventListener("pointerdown", (event) => {
    const at = indexOf(event.target);
    if (context.revealed || at === null) return;
    if (predict.kind === "cell") context.predict(at);
    if (predict.kind !== "paint") return;
    painting = painted(picture)[at] ? 0 : 1;
    put(picture, at, painting);
    event.preventDefault();
  });
  root.addEventListener("pointermove", (event) => {
    if (painting === null) return;
    const below = root.getRootNode().elementFromPoint(event.clientX, event.clientY);
    const at = below && indexOf(below);
    if (at !== null && at !== undefined) put(picture, at, painting);
  });
  const stop = () => (painting = null);
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) root.addEventListener(name, stop);
  root.addEventListener("keydown", (event) => walk(picture, event));
  picture.paint = () => paint(picture);
  picture.light = (places) => light(picture, places);
  picture.distance = () => distance(picture);
  return picture;
}

const indexOf = (target) => {
  const cell = target.closest?.(".cell");
  return cell ? Number(cell.dataset.at) : null;
};

function heading(context, className, label, kind, at) {
  const created = element("bdi", className, label);
  created.title = label;
  linkTo(created, context, kind, at);
  return created;
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
  picture.root.append(cell);
  cells.push(cell);
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
function secret({ context, columns }, at) {
  const { step, scene, revealed } = context;
  const { hide } = step.predict;
  if (revealed || !hide) return false;
  if (hide === "all") return true;
  const place = resolve(scene, step.predict.place);
  return hide === "row" ? Math.floor(at / columns.length) === place : at === place;
}

function paint(picture) {
  const { context, cells, root } = picture;
  const { step, scene, revealed, guess } = context;
  const { show, predict } = step;
  const numbers = numbersOf(context, show.array);
  const finite = Array.from(numbers).filter(Number.isFinite);
  const high = show.high ?? Math.max(...finite.map(Math.abs));
  const { color, texts } = scaleOf(context, root, show.colors === "weights" ? 0 : -high, high);
  const truth = revealed && predict.kind === "cell" ? resolve(scene, predict.truth) : null;
  const right = revealed && predict.kind === "paint" ? scene.arrays[predict.of].numbers : null;
  const visible = predict.kind === "paint" && !revealed ? painted(picture) : null;
  cells.forEach((cell, at) => {
    const number = numbers[at];
    const unknown = secret(picture, at);
    const masked = visible ? !visible[at] : !Number.isFinite(number);
    cell.classList.toggle("masked", masked);
    cell.classList.toggle("secret", unknown);
    cell.classList.toggle("picked", predict.kind === "cell" && guess === at);
    cell.classList.toggle("truth", truth === at);
    cell.classList.toggle("missed", Boolean(right && guess && Boolean(guess[at]) !== Boolean(right[at])));
    if (masked || unknown) {
      cell.style.removeProperty("background-color");
      cell.style.removeProperty("color");
      cell.textContent = unknown && !masked ? "?" : "";
    } else {
      const fill = color(number);
      cell.style.backgroundColor = `rgb(${fill.join(",")})`;
      cell.style.color = texts[betterTextColor(fill, texts)];
      cell.textContent = format(number, show.decimals ?? 1);
    }
    const says = masked ? context.say("masked") : unknown ? context.say("not_shown") : format(number);
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
