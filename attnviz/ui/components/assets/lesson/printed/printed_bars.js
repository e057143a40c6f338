// Bars and ticks on paper, as tables: a number and a bar for each array, or a box for each cell.

import { isSecret, rangeOf, share } from "../bars.js";
import { drawn, element } from "../elements.js";
import { format, numbersOf } from "../numbers.js";
import { holds, textOf } from "../ticks.js";
import { round, sheet, stroke, widthOf } from "./ink.js";

const BETWEEN = 14; // pixels between tables
const HEIGHT = 10; // pixels of a bar
const GAP = 6; // pixels of padding of a cell, left and right together

export const ROWS = 16; // of a table; more of them stand in tables side by side over the whole page

// Tables of all rows: `build` makes one of the labels and their places, `width` pixels wide.
function sideBySide(labels, width, build) {
  const parts = Math.ceil(labels.length / ROWS);
  const rows = Math.ceil(labels.length / parts);
  const places = labels.map((label, at) => [label, at]);
  const room = (width - (parts - 1) * BETWEEN) / parts;
  const tables = Array.from({ length: parts }, (_, part) => build(places.slice(part * rows, (part + 1) * rows), room));
  if (parts === 1) return tables;
  const beside = element("div", "beside");
  beside.append(...tables);
  return [beside];
}

export function barTable(context, whole) {
  const labels = context.scene.labels[context.step.show.rows ?? "keys"];
  return sideBySide(labels, whole, (places, width) => barRows(context, places, width));
}

function barRows(context, places, width) {
  const { step } = context;
  const { columns } = step.show;
  const table = element("table", "bar-table");
  const head = element("tr");
  head.append(element("th", "", step.show.title ?? ""));
  const shown = columns.map((column) => Array.from(numbersOf(context, column.array)));
  const texts = shown.map((numbers, of) => numbers.map((number) => format(number, columns[of].decimals)));
  const widest = (all) => Math.max(...all.map((one) => widthOf(one)));
  const named = Math.min(width / (columns.length > 2 ? 4 : 3), widest(places.map(([label]) => label)) + 9);
  const taken = named + texts.reduce((sum, all) => sum + widest(all) + 3 * GAP, 0);
  const track = Math.max(14, (width - taken - GAP) / columns.length);
  for (const { title } of columns) {
    const cell = element("th", "", title);
    cell.colSpan = 2;
    head.append(cell);
  }
  table.append(head);
  places.forEach(([label, at]) => {
    const row = element("tr");
    const name = element("td", "label");
    name.append(element("bdi", "", label));
    name.style.maxWidth = `${round(named)}px`;
    row.append(name);
    columns.forEach((column, of) => {
      const secret = isSecret(context, column, at);
      const range = rangeOf({ context, ranges: {} }, column, shown[of], null);
      const drawing = element("td");
      drawing.append(bar(secret ? NaN : shown[of][at], range, track));
      row.append(element("td", "number", secret ? "" : texts[of][at]), drawing);
      row.lastChild.dataset.array = column.array;
    });
    table.append(row);
  });
  return table;
}

// An outlined track with its bar.
function bar(value, range, width) {
  const svg = sheet(width, HEIGHT);
  const [zero, end] = [0, value].map((one) => (width * share(one, range)) / 100);
  svg.append(drawn("rect", { x: 0.5, y: 0.5, width: round(width - 1), height: HEIGHT - 1, fill: "none", stroke: "#aaa" }));
  if (Number.isFinite(value)) {
    const [from, to] = [Math.min(zero, end), Math.max(zero, end)];
    svg.append(drawn("rect", { class: "bar", x: round(from), y: 2, width: round(to - from), height: HEIGHT - 4, fill: "#555" }));
  }
  if (zero > 0) svg.append(stroke(zero, 0, zero, HEIGHT));
  return svg;
}

export function tickTable(context, whole) {
  const labels = context.scene.labels[context.step.show.rows];
  return sideBySide(labels, whole, (places, width) => tickRows(context, places, width));
}

function tickRows(context, places, width) {
  const { scene, step, revealed } = context;
  const { show, predict } = step;
  const columns = scene.labels[show.across];
  const numbers = numbersOf(context, show.array);
  const table = element("table", "tick-table");
  const head = element("tr");
  head.append(element("th", "", show.title ?? ""), ...columns.map((one) => element("th", "", one)));
  table.append(head);
  places.forEach(([label, row]) => {
    const line = element("tr");
    const name = element("td", "label");
    name.append(element("bdi", "", label));
    name.style.maxWidth = `${round(width / 3)}px`;
    line.append(name);
    columns.forEach((_, column) => {
      const number = numbers[row * columns.length + column];
      const yes = holds(number, predict);
      const cell = element("td", yes && revealed ? "yes" : "", revealed ? `${yes ? "☑" : "☐"} ${textOf(number, yes, show)}` : "☐");
      line.append(cell);
    });
    table.append(line);
  });
  return table;
}
