// Arrows and dots on paper.

import { hull, sum, tips, weightsOf } from "../arrows.js";
import { plane } from "../dots.js";
import { drawn, element } from "../elements.js";
import { dot } from "../kernel.js";
import { round, sheet, stroke, TYPE, widthOf, words } from "./ink.js";

const MOST = 300; // pixels of a drawing at the most
const TALL = 0.62; // height of a drawing as a share of its width, at the most
const DASHES = { query: "none", key: "6 3", value: "none" };

export function arrowPlane(context, width) {
  const { scene, step, revealed } = context;
  const { show } = step;
  const ends = tips(context);
  const { across, tall, place } = framed(ends, Math.min(width, MOST));
  const [left, top] = place([0, 0]);
  const svg = sheet(across, tall);
  const grid = { stroke: "#ccc", "stroke-width": 0.7 };
  svg.append(stroke(0, top, across, top, grid), stroke(left, 0, left, tall, grid));
  const weights = weightsOf(context);
  if (show.hull) {
    const points = hull(ends).map((one) => place(one).map(round).join(","));
    svg.append(drawn("polygon", { points: points.join(" "), fill: "#f2f2f2", stroke: "#888", "stroke-dasharray": "3 3" }));
  }
  const arrow = (end, attributes) => {
    const [x, y] = place(end);
    svg.append(stroke(left, top, x, y, attributes), drawn("circle", { cx: round(x), cy: round(y), r: 3.2, fill: attributes.stroke ?? "#000" }));
  };
  if (show.shadow) {
    const [first, second] = ends;
    const foot = second.map((part) => (part * dot(first, second)) / dot(second, second));
    svg.append(stroke(left, top, ...place(foot), { stroke: "#aaa", "stroke-width": 6, class: "shadow" }));
    svg.append(stroke(...place(first), ...place(foot), { "stroke-dasharray": "2 3" }));
  }
  ends.forEach((end, at) => {
    const dashes = DASHES[show.kinds?.[at] ?? "value"];
    const visible = weights && (revealed || !show.secret_weights);
    arrow(end, { class: "arrow-line", stroke: "#555", "stroke-dasharray": dashes, "stroke-width": visible ? round(1 + 4 * Math.sqrt(weights[at])) : 1.8 });
  });
  const truth = sum(context);
  const result = truth && revealed;
  if (result) arrow(truth, { class: "output-line", "stroke-width": 4, "stroke-dasharray": "8 2" });
  svg.append(...names(scene.labels[show.rows ?? "keys"], ends.map(place), { across, tall, left, top }));
  const keys = [...(weights ? [context.say("print_thick")] : []), ...(result ? [context.say("print_output")] : [])];
  return [svg, ...(keys.length ? [element("p", "key", keys.join(" "))] : [])];
}

// The part of the plane with the origin and all ends, as large as the width allows.
function framed(ends, across) {
  const [xs, ys] = [0, 1].map((axis) => [0, ...ends.map((end) => end[axis])]);
  const [west, east, south, north] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const [beside, above] = [44, 2 * TYPE];
  const unit = Math.min((across - 2 * beside) / (east - west || 1), (TALL * across - 2 * above) / (north - south || 1));
  const tall = (north - south) * unit + 2 * above;
  const left = (across - (east - west) * unit) / 2;
  return { across, tall, place: ([x, y]) => [left + (x - west) * unit, above + (north - y) * unit] };
}

// Names beside the ends of arrows, moved up or down where they would meet; each name once at a place.
function names(labels, ends, { across, tall, left: west, top }) {
  const boxes = [];
  ends.forEach(([x, y], at) => {
    const width = widthOf(labels[at]);
    const left = Math.max(1, Math.min(across - width - 1, x < west ? x - 6 - width : x + 6));
    const down = y > top;
    let base = y + (down ? TYPE : -3);
    const meets = (box) => left < box.left + box.width && box.left < left + width && Math.abs(base - box.base) < TYPE;
    if (boxes.some((box) => meets(box) && box.label === labels[at])) return;
    while (boxes.some(meets) && base > 2 * TYPE && base < tall - TYPE) base += down ? TYPE : -TYPE;
    boxes.push({ left, width, base, label: labels[at] });
  });
  const over = { stroke: "#fff", "stroke-width": 3, "paint-order": "stroke" };
  return boxes.map(({ left, base, label }) => words(label, { x: round(left), y: round(base), ...over }));
}

export function dotPlane(context, width) {
  const { scene, step } = context;
  const { show } = step;
  const side = Math.min(width, 0.8 * MOST);
  const svg = sheet(side, side);
  svg.append(drawn("rect", { x: 0.5, y: 0.5, width: round(side - 1), height: round(side - 1), fill: "none", stroke: "#aaa" }));
  const half = side / 2;
  const { points, line } = plane(context, half);
  if (line) svg.append(stroke(...line.map((one) => one + half), { "stroke-dasharray": "4 3", class: "border" }));
  const groups = scene.arrays[show.groups].numbers;
  points.forEach(([x, y], at) => {
    const spot = drawn("g", { class: "spot", transform: `translate(${round(x + half)} ${round(y + half)})` });
    const black = groups[at] === 0;
    spot.append(drawn("circle", { r: 7, fill: black ? "#000" : "#fff", stroke: "#000" }));
    spot.append(words(String(at + 1), { "text-anchor": "middle", dy: "0.35em", fill: black ? "#fff" : "#000", "font-weight": 700 }));
    svg.append(spot);
  });
  const list = element("ol", "texts");
  list.append(...scene.labels[show.texts].map((text) => element("li", "", text)));
  return [svg, list];
}
