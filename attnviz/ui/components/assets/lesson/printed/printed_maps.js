// Maps on paper: a matrix with its numbers, and small maps in greys.

import { drawn, element } from "../elements.js";
import { isHidden } from "../matrix.js";
import { format, numbersOf, resolve } from "../numbers.js";
import { fitted, grey, round, sheet, stroke, TYPE, widthOf } from "./ink.js";

const ROW = 14; // pixels of a row of a matrix
const GREYS = 24; // steps from white to black
export const MANY = 8; // maps; more of them take the whole width of the page
const LEAST = 40; // pixels of a map side by side with all others
const DARK = 0.55; // share of black from which numbers are white

export function matrixMap(context, width) {
  const { scene, step, revealed } = context;
  const { show, predict } = step;
  const rows = scene.labels[show.rows];
  const columns = scene.labels[show.columns_of ?? show.rows];
  const numbers = Array.from(numbersOf(context, show.array));
  const highest = show.high ?? Math.max(...numbers.filter(Number.isFinite).map(Math.abs));
  const left = Math.min(width / 4, 6 + Math.max(...rows.map((label) => widthOf(label))));
  const cell = Math.min(44, (width - left - 1) / columns.length);
  const svg = sheet(width, ROW * (rows.length + 1) + 1);
  const level = (row) => round(ROW * (row + 1) + 0.7 * ROW);
  columns.forEach((label, at) => {
    svg.append(fitted(label, cell - 2, { x: round(left + (at + 0.5) * cell), y: level(-1), "text-anchor": "middle" }));
  });
  rows.forEach((label, row) => {
    svg.append(fitted(label, left - 4, { x: round(left - 4), y: level(row), "text-anchor": "end" }));
  });
  const painted = predict.kind === "paint" && revealed ? scene.arrays[predict.of].numbers : null;
  const [truth, place] = [predict.truth, predict.place].map((one) => resolve(scene, one));
  let strokes = false;
  numbers.forEach((number, at) => {
    const [row, column] = [Math.floor(at / columns.length), at % columns.length];
    const box = { x: round(left + column * cell), y: ROW * (row + 1), width: round(cell), height: ROW };
    const hidden = isHidden({ context, columns }, at);
    const masked = !hidden && (!Number.isFinite(number) || (painted && !painted[at]));
    const share = hidden || masked ? 0 : Math.abs(number) / (highest || 1);
    svg.append(drawn("rect", { ...box, fill: grey(0.85 * share), stroke: "#aaa", "stroke-width": 0.5 }));
    strokes ||= masked;
    if (masked) svg.append(stroke(box.x + 2, box.y + ROW - 2, box.x + cell - 2, box.y + 2, { stroke: "#777" }));
    else {
      const text = hidden ? "?" : format(number, show.decimals ?? 1);
      const middle = { x: round(box.x + cell / 2), y: level(row), "text-anchor": "middle", class: "cell", "data-at": at };
      svg.append(fitted(text, cell - 2, { ...middle, fill: 0.85 * share > DARK ? "#fff" : "#000" }));
    }
  });
  const framed = revealed ? (predict.kind === "cell" ? truth : predict.kind === "number" && predict.hide === "cell" ? place : null) : null;
  if (Number.isInteger(framed)) {
    const [row, column] = [Math.floor(framed / columns.length), framed % columns.length];
    svg.append(drawn("rect", { class: "truth", x: round(left + column * cell), y: ROW * (row + 1), width: round(cell), height: ROW, fill: "none", stroke: "#000", "stroke-width": 2.5 }));
  }
  const key = context.say(show.colors === "weights" ? "print_weights" : "print_signed");
  return [svg, element("p", "key", strokes ? `${key} ${context.say("print_stroke")}` : key)];
}

export function smallMaps(context, width) {
  const { scene, step, revealed } = context;
  const { show, predict } = step;
  const labels = scene.labels[show.rows];
  const shape = scene.arrays[show.maps].shape.slice(-2);
  // A row over the whole page: its key stands with the question alone.
  const one = labels.length > MANY && width / labels.length >= LEAST;
  const across = one ? labels.length : (show.across ?? Math.ceil(Math.sqrt(labels.length)));
  const scores = revealed && show.number ? numbersOf(context, show.number) : null;
  const names = revealed && predict.kind === "names" ? scene.labels[predict.names] : null;
  const right = names && scene.arrays[predict.of].numbers;
  const truth = revealed && predict.kind === "pick" ? resolve(scene, predict.truth) : null;
  const below = labels.map((_, at) => [
    ...(names ? [names[right[at]]] : predict.kind === "names" ? [""] : []),
    ...(scores ? [format(scores[at], 2)] : []),
  ]);
  const drawing = mapsInARow(numbersOf(context, show.maps), shape, labels, { width, most: 68, across, below, truth });
  return one && revealed ? [drawing] : [drawing, element("p", "key", context.say("print_weights"))];
}

// Maps of weights side by side, each with its title above it and lines of text below it.
export function mapsInARow(numbers, [rows, columns], titles, { width, most, across, below = [], truth = null }) {
  const slot = Math.min(width / across, Math.max(most + 6, ...titles.map((title) => widthOf(title) + 6)));
  const side = Math.min(most, slot - 5);
  const lines = Math.max(0, ...below.map((texts) => texts.length));
  const tall = TYPE + 3 + side + lines * (TYPE + 1) + 3;
  const svg = sheet(width, tall * Math.ceil(titles.length / across));
  const size = rows * columns;
  titles.forEach((title, at) => {
    const [left, top] = [slot * (at % across) + 1, tall * Math.floor(at / across) + TYPE + 3];
    svg.append(fitted(title, slot - 2, { x: round(left), y: round(top - 3) }));
    const map = drawn("g", { class: "small-map", transform: `translate(${round(left)} ${round(top)})` });
    const unit = { across: side / columns, down: side / rows };
    map.append(...cells(numbers.subarray(at * size, (at + 1) * size), columns, unit));
    const frame = truth === at ? { stroke: "#000", "stroke-width": 2.5, class: "truth" } : { stroke: "#777", "stroke-width": 0.6 };
    map.append(drawn("rect", { width: round(side), height: round(side), fill: "none", ...frame }));
    svg.append(map);
    (below[at] ?? []).forEach((text, line) => {
      const base = top + side + (line + 1) * (TYPE + 1);
      if (text) svg.append(fitted(text, slot - 2, { x: round(left), y: round(base), class: "below" }));
      else svg.append(stroke(left, base, left + side, base, { stroke: "#888" }));
    });
  });
  return svg;
}

// One path for each grey, of cells side by side: a map of 51 tokens has 2,601 cells.
function cells(numbers, columns, { across, down }) {
  const paths = new Map();
  const level = (at) => (Number.isFinite(numbers[at]) ? Math.round(GREYS * Math.min(1, numbers[at])) : 0);
  for (let at = 0; at < numbers.length; ) {
    const [row, column] = [Math.floor(at / columns), at % columns];
    const here = level(at);
    let end = at + 1;
    while (end < (row + 1) * columns && level(end) === here) end++;
    const box = `M${round(column * across)} ${round(row * down)}h${round((end - at) * across)}v${round(down)}h${round((at - end) * across)}z`;
    if (here) paths.set(here, (paths.get(here) ?? "") + box);
    at = end;
  }
  return [...paths].map(([one, d]) => drawn("path", { d, fill: grey(one / GREYS), "data-grey": one }));
}
