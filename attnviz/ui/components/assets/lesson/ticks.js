// Picture of a table with one column per model: the student ticks the cells for which something
// holds ("ticks"); afterwards each cell has its number, and the ticks stay in grey.

import { button, element } from "./elements.js";
import { linkTo } from "./marks.js";
import { format, numbersOf } from "./numbers.js";
import { percent } from "../written_numbers.js";

export function create(context) {
  const { scene, step } = context;
  const { show } = step;
  const rows = scene.labels[show.rows];
  const columns = scene.labels[show.across];
  const root = element("div", "ticks");
  root.style.setProperty("--across", columns.length);
  root.append(element("span", "corner", show.title ?? ""));
  for (const label of columns) root.append(element("span", "title", label));
  const picture = { context, root, element: root, rows, columns, names: [], cells: [] };
  rows.forEach((label, row) => addRow(picture, label, row));
  const every = element("div", "choices");
  const all = (value) => () => context.predict(new Array(picture.cells.length).fill(value));
  every.append(button("every", context.say("tick_all"), all(1)), button("every", context.say("tick_none"), all(0)));
  picture.every = every;
  const whole = element("div", "ticks-picture");
  whole.append(root, every);
  picture.element = whole;
  picture.paint = () => paint(picture);
  picture.distance = () => distance(picture);
  return picture;
}

function addRow(picture, label, row) {
  const { context, columns, root, cells, names } = picture;
  const kind = context.step.show.kind;
  const name = element("bdi", "label", label);
  name.title = label;
  linkTo(name, context, "key", row);
  root.append(name);
  names.push(name);
  columns.forEach((_, column) => {
    const at = row * columns.length + column;
    const cell = button("tick", "", () => toggle(picture, at));
    cell.dataset.tick = at;
    linkTo(cell, context, kind, row);
    root.append(cell);
    cells.push(cell);
  });
}

function toggle({ context, cells }, at) {
  if (context.revealed) return;
  const before = context.guess ?? new Array(cells.length).fill(0);
  context.predict(before.map((one, index) => (index === at ? 1 - one : one)));
}

// Whether the number of a cell means yes: it is there, and above the bound of the step.
export const holds = (number, { above }) => Number.isFinite(number) && (above === undefined || number > above);

function paint(picture) {
  const { context, cells, rows, columns, names } = picture;
  const { step, revealed, guess, controls } = context;
  const { show, predict } = step;
  const numbers = numbersOf(context, show.array);
  const high = Math.max(...Array.from(numbers, Math.abs).filter(Number.isFinite));
  picture.every.hidden = revealed;
  const chosen = show.point === "frame" ? Math.round(controls.frame ?? 0) : -1;
  names.forEach((name, row) => name.classList.toggle("chosen", row === chosen));
  cells.forEach((cell, at) => {
    const ticked = Boolean(guess?.[at]);
    const yes = holds(numbers[at], predict);
    cell.disabled = revealed;
    cell.classList.toggle("ticked", ticked);
    cell.classList.toggle("yes", revealed && yes);
    cell.classList.toggle("masked", revealed && !Number.isFinite(numbers[at]));
    const strength = revealed && yes ? `${Math.round(18 + (30 * Math.abs(numbers[at])) / high)}%` : "0%";
    cell.style.setProperty("--strength", strength);
    const text = !revealed ? (ticked ? "✓" : "") : textOf(numbers[at], yes, show);
    cell.textContent = text;
    const name = `${rows[Math.floor(at / columns.length)]}, ${columns[at % columns.length]}`;
    cell.setAttribute("aria-label", revealed ? `${name}: ${text}` : name);
    cell.setAttribute("aria-pressed", String(ticked));
  });
}

export function textOf(number, yes, show) {
  if (!Number.isFinite(number)) return show.absent ?? "–";
  if (show.decimals !== undefined) return format(number, show.decimals);
  if (!yes) return "0%";
  return percent(number);
}

function distance({ context }) {
  const { step, guess } = context;
  const truth = context.truth((one) => numbersOf(one, step.show.array));
  const right = Array.from(truth, (number) => holds(number, step.predict));
  const wrong = right.filter((one, at) => one !== Boolean(guess[at])).length;
  return { apart: wrong / right.length, text: context.say("cells_wrong", { wrong, count: right.length }) };
}
