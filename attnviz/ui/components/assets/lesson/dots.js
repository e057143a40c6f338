// Picture of dots in a plane, numbered and coloured by group, with a line that separates the
// groups where there is one; the texts of the dots are listed beside it.

import { drawn, element } from "./elements.js";
import { linkTo } from "./marks.js";
import { numbersOf } from "./numbers.js";

const HALF = 100; // the picture goes from -HALF to HALF in both directions
const FREE = 0.82; // share of it that the dots take

export function create(context) {
  const { scene, step } = context;
  const { show } = step;
  const root = element("div", "dots");
  const box = [-HALF, -HALF, 2 * HALF, 2 * HALF].join(" ");
  const plot = drawn("svg", { viewBox: box, role: "img", "aria-label": show.title });
  const line = drawn("line", { class: "border" });
  plot.append(line);
  const list = element("ol", "texts");
  const groups = scene.arrays[show.groups].numbers;
  const dots = scene.labels[show.texts].map((text, at) => {
    const kind = scene.labels.kinds[groups[at]];
    const dot = drawn("g", { class: "spot" });
    const number = drawn("text", { "text-anchor": "middle", dy: "0.35em" });
    number.textContent = at + 1;
    dot.append(drawn("circle", { r: 6 }), number);
    const item = element("li", "", text);
    for (const part of [dot, item]) linkTo(part, context, kind, at);
    plot.append(dot);
    list.append(item);
    return dot;
  });
  root.append(plot, list);
  return { element: root, paint: () => paint({ context, dots, line }), distance: () => null };
}

function paint({ context, dots, line }) {
  const { points, line: ends } = plane(context, HALF);
  dots.forEach((dot, at) => {
    const [x, y] = points[at];
    dot.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)})`);
  });
  line.setAttribute("visibility", ends ? "visible" : "hidden");
  ["x1", "y1", "x2", "y2"].forEach((name, at) => ends && line.setAttribute(name, ends[at]));
}

// Where the dots are in a plane from -half to half in both directions, and the ends of the line
// between the groups, or null.
export function plane(context, half) {
  const { show } = context.step;
  const numbers = numbersOf(context, show.points);
  const middle = [0, 1].map((axis) => between(numbers, axis).reduce((sum, one) => sum + one) / 2);
  const far = Math.max(...[0, 1].map((axis) => between(numbers, axis)[1] - middle[axis]));
  const scale = far > 1e-3 ? (FREE * half) / far : 0;
  const place = (x, y) => [(x - middle[0]) * scale, (middle[1] - y) * scale];
  const points = Array.from({ length: numbers.length / 2 }, (_, at) => place(numbers[2 * at], numbers[2 * at + 1]));
  const [x, y, across, up] = numbersOf(context, show.lines);
  if (!context.revealed || !Number.isFinite(x)) return { points, line: null };
  const [left, top] = place(x, y);
  const long = 4 * half;
  return { points, line: [left - long * across, top + long * up, left + long * across, top - long * up] };
}

// The smallest and the largest coordinate along an axis.
function between(points, axis) {
  const values = Array.from(points).filter((_, at) => at % 2 === axis);
  return [Math.min(...values), Math.max(...values)];
}
