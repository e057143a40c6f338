// Curves on paper: axes, the lines that are shown, a legend with their dashes, and small maps.

import { evenTicks, labelTicks } from "../axis_ticks.js";
import { LEVELS, placed } from "../curve.js";
import { drawn, element } from "../elements.js";
import { format, numbersOf, resolve } from "../numbers.js";
import { fitted, round, sheet, stroke, TYPE, words } from "./ink.js";
import { mapsInARow } from "./printed_maps.js";

const EDGE = { left: 30, right: 8, top: 8, bottom: 30 };
const SECOND = 26; // pixels on the right for the numbers of a second axis
const TICK_WIDTH = 42; // pixels for each label of the axis
const LOWEST = 78; // pixels of a picture
const MAPS = 100; // pixels of the maps beside a curve
const MAP = 46; // pixels of a map at the most

// Lines that differ without colours.
const PENS = [
  { "stroke-width": 2.2 },
  { "stroke-width": 1.6, "stroke-dasharray": "7 3" },
  { "stroke-width": 1.8, "stroke-dasharray": "1.5 2.5" },
  { "stroke-width": 2.6, stroke: "#999" },
  { "stroke-width": 1.6, "stroke-dasharray": "9 3 2 3" },
  { "stroke-width": 0.8 },
  { "stroke-width": 2.6, stroke: "#999", "stroke-dasharray": "5 3" },
];

export function curvePlot(context, whole, flat) {
  const width = context.step.show.maps ? whole - MAPS : whole;
  const { scene, step, revealed } = context;
  const { show, predict } = step;
  const [low, high] = [show.low, show.high].map((end) => resolve(scene, end));
  const labels = scene.labels[show.axis];
  const second = show.lines.find((line) => line.high !== undefined);
  const height = Math.round(Math.max(show.maps ? 2 * (MAP + 18) : LOWEST, flat * width));
  const right = width - (second ? SECOND : EDGE.right);
  const base = height - EDGE.bottom;
  const x = (at) => EDGE.left + ((right - EDGE.left) * at) / Math.max(1, labels.length - 1);
  const y = (value) => base - ((base - EDGE.top) * (value - low)) / (high - low);
  const svg = sheet(width, height);
  axes({ svg, x, y, low, high, labels, second, right, base }, context);
  const legend = element("div", "legend");
  const marked = revealed && step.change.kind === "slider" && !show.frames;
  const frame = Math.round(context.controls.frame ?? 0);
  if (marked) svg.append(stroke(x(frame), EDGE.top, x(frame), base, { "stroke-dasharray": "3 3", class: "mark" }));
  show.lines.forEach((line, at) => {
    const pen = { fill: "none", stroke: "#000", ...PENS[at % PENS.length] };
    const values = numbersOf(context, line.array);
    const secret = !revealed && (line.array === predict.of || line.after);
    if (secret && line.after) return;
    const entry = element("span", "entry");
    if (!secret) entry.append(sample(pen));
    entry.append(` ${line.title}`, marked ? ` ${format(values[frame])}` : "");
    legend.append(entry);
    if (secret) svg.append(drawn("circle", { cx: round(x(0)), cy: round(y(values[0])), r: 3, class: "begin" }));
    else svg.append(drawn("path", { d: path(values, line, { x, y, low, high }), ...pen, class: "curve-line", "data-array": line.array }));
  });
  if (show.limit !== undefined) limit(svg, x(resolve(scene, show.limit)), base, show.limit_title);
  if (!show.maps) return [legend, svg];
  const row = element("div", "beside");
  row.append(svg, maps(context));
  return [legend, row];
}

// A line has a gap where there is no number.
function path(values, line, { x, y, low, high }) {
  return Array.from(values, (value, at) => {
    if (!Number.isFinite(value)) return "";
    const begun = at && Number.isFinite(values[at - 1]);
    return `${begun ? "L" : "M"}${round(x(at))} ${round(y(placed({ low, high }, value, line)))}`;
  }).join("");
}

function sample(pen) {
  const svg = sheet(24, 7);
  svg.append(drawn("path", { d: "M0 3.5H24", ...pen }));
  return svg;
}

function axes({ svg, x, y, low, high, labels, second, right, base }, { scene, step, revealed }) {
  const { show } = step;
  const thin = { stroke: "#bbb", "stroke-width": 0.7 };
  const inside = { y: round(base + 1.3 * TYPE), "text-anchor": "middle" };
  const levels = Math.max(2, Math.min(LEVELS, Math.floor((base - EDGE.top) / (1.6 * TYPE))));
  for (const { value, text } of evenTicks(low, high, levels)) {
    svg.append(stroke(EDGE.left, y(value), right, y(value), thin));
    svg.append(words(text, { x: EDGE.left - 4, y: round(y(value) + 3), "text-anchor": "end" }));
  }
  svg.append(stroke(EDGE.left, base, right, base), stroke(EDGE.left, EDGE.top, EDGE.left, base));
  for (const { at, text } of labelTicks(labels, (right - EDGE.left) / TICK_WIDTH)) {
    svg.append(stroke(x(at), base, x(at), base + 3));
    const last = at > labels.length - 1.5 && !second;
    svg.append(words(text, { ...inside, x: round(last ? right + EDGE.right : x(at)), "text-anchor": last ? "end" : "middle" }));
  }
  if (second && (revealed || !second.after)) {
    for (const { value, text } of evenTicks(second.low ?? low, second.high, levels)) {
      svg.append(words(text, { x: right + 5, y: round(y(placed({ low, high }, value, second)) + 3) }));
    }
  }
  svg.append(fitted(show.axis_title ?? "", right, { x: round(right), y: round(base + 2.7 * TYPE), "text-anchor": "end", "font-weight": 600 }));
}

// A line across the picture at a place of the axis, with its title above all lines.
function limit(svg, at, base, title = "") {
  svg.append(stroke(at, EDGE.top, at, base, { "stroke-dasharray": "1 2" }));
  svg.append(words(title, { x: round(at + 4), y: EDGE.top + TYPE, stroke: "#fff", "stroke-width": 3, "paint-order": "stroke" }));
}

// The maps at the place of the mark, or at the beginning.
function maps(context) {
  const { scene, step, revealed, controls } = context;
  const titles = scene.labels[step.show.map_titles];
  const { numbers, shape } = scene.arrays[step.show.maps];
  const size = shape[2] * shape[3];
  const first = (revealed ? Math.round(controls.frame ?? 0) : 0) * titles.length * size;
  const shown = numbers.subarray(first, first + titles.length * size);
  return mapsInARow(shown, shape.slice(2), titles, { width: MAPS - 14, most: MAP, across: 1 });
}
