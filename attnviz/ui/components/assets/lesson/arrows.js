// Picture of arrows in a plane: vectors from one origin, the weighted sum of them, and their hull.
// A student sets the end of the sum ("point"), or drags the ends of arrows ("tips").

import { describe, drag, drawn, element } from "./elements.js";
import { dot, norm } from "./kernel.js";
import { format, numbersOf, resolve } from "./numbers.js";

// Units of the picture: half its width and height, and the edges, in which labels have room.
const HALF = { width: 210, height: 164 };
const EDGE = 76;
const LINE = 15; // height of a label
const REACH = HALF.width - EDGE;

export function create(context) {
  const { scene, step } = context;
  const { show } = step;
  const root = element("div", "arrows");
  const plot = drawn("svg", { viewBox: [-HALF.width, -HALF.height, 2 * HALF.width, 2 * HALF.height].join(" "), role: "img" });
  const labels = scene.labels[show.rows ?? "keys"];
  plot.setAttribute("aria-label", context.say("arrows", { labels: labels.join(", ") }));
  const handle = element("div", "handle pen");
  root.append(plot, handle);
  const picture = { context, root, element: root, plot, handle, labels, held: null };
  const all = Array.from(scene.arrays[show.points].numbers);
  const far = resolve(scene, show.far) ?? Math.max(...all.map(Math.abs)) * 1.05;
  picture.far = far;
  picture.x = (value) => (REACH * value) / far;
  picture.y = (value) => (-REACH * value) / far;
  addPointer(picture);
  addKeys(picture);
  picture.paint = () => paint(picture);
  picture.value = value;
  picture.distance = () => distance(picture);
  return picture;
}

// The ends of the arrows under the controls, as pairs.
export function tips(context) {
  const { scene, step } = context;
  const sent = numbersOf(context, step.show.points);
  return scene.labels[step.show.rows ?? "keys"].map((_, at) => context.controls.tips?.[at] ?? [sent[2 * at], sent[2 * at + 1]]);
}

export function weightsOf(context) {
  return context.step.show.weights ? numbersOf(context, context.step.show.weights) : null;
}

// The weighted sum of the arrows.
export function sum(context) {
  const weights = weightsOf(context);
  if (!weights) return null;
  return tips(context).reduce(
    ([across, up], [x, y], at) => [across + weights[at] * x, up + weights[at] * y],
    [0, 0]
  );
}

export function value(name, context) {
  const [first, second] = tips(context);
  const product = dot(first, second);
  const lengths = [norm(first), norm(second)];
  const values = {
    dot: product,
    length_first: lengths[0],
    length_second: lengths[1],
    cosine: product / (lengths[0] * lengths[1]),
    shadow: product / lengths[1],
    output_length: sum(context) ? norm(sum(context)) : undefined,
  };
  return values[name];
}

const guessing = ({ revealed, step }) => !revealed && step.predict.kind === "point";
const draggable = (context) => guessing(context) || (context.revealed && context.step.change.kind === "tips");

function addPointer(picture) {
  const { context, plot } = picture;
  const at = (event) => {
    const box = plot.getBoundingClientRect();
    const unit = picture.far / REACH;
    const across = (2 * (event.clientX - box.left) / box.width - 1) * HALF.width;
    const up = (1 - 2 * (event.clientY - box.top) / box.height) * HALF.height;
    const inside = (value) => Math.max(-picture.far, Math.min(picture.far, value));
    return [inside(across * unit), inside(up * unit)];
  };
  drag(plot, {
    begin(event) {
      if (!draggable(context)) return false;
      const point = at(event);
      picture.held = guessing(context) ? "guess" : nearest(tips(context), point);
      move(picture, point);
    },
    move: (event) => move(picture, at(event)),
    end() {
      picture.held = null;
      context.rest();
    },
  });
  plot.addEventListener("pointermove", (event) => {
    if (picture.held !== null) return;
    const { kind, place } = event.target.dataset;
    context.mark(place === undefined ? null : { kind, place });
  });
  plot.addEventListener("pointerleave", () => context.mark(null));
}

function nearest(ends, [across, up]) {
  const apart = ends.map(([x, y]) => Math.hypot(x - across, y - up));
  return apart.indexOf(Math.min(...apart));
}

function move(picture, point) {
  const { context, held } = picture;
  if (held === "guess") context.predict(point);
  else context.control("tips", { ...context.controls.tips, [held]: point });
}

function addKeys(picture) {
  const { handle, context } = picture;
  handle.tabIndex = 0;
  handle.setAttribute("role", "slider");
  handle.setAttribute("aria-label", context.say("point_handle"));
  handle.addEventListener("keydown", (event) => {
    const unit = picture.far / 20;
    const step = {
      ArrowRight: [unit, 0],
      ArrowLeft: [-unit, 0],
      ArrowUp: [0, unit],
      ArrowDown: [0, -unit],
    }[event.key];
    if (!step || !guessing(context)) return;
    const [x, y] = context.guess ?? [0, 0];
    context.predict([x + step[0], y + step[1]]);
    event.preventDefault();
    event.stopPropagation();
  });
}

function paint(picture) {
  const { context, plot, handle, labels, x, y } = picture;
  const { step, revealed, guess } = context;
  const { show } = step;
  const ends = tips(context);
  const weights = weightsOf(context);
  plot.replaceChildren();
  plot.append(drawn("line", { class: "grid", x1: -HALF.width, x2: HALF.width, y1: 0, y2: 0 }));
  plot.append(drawn("line", { class: "grid", x1: 0, x2: 0, y1: -HALF.height, y2: HALF.height }));
  if (show.hull) {
    const corners = hull(ends).map(([across, up]) => `${x(across)},${y(up)}`);
    plot.append(drawn("polygon", { class: "hull", points: corners.join(" ") }));
  }
  if (show.shadow) {
    const [first, second] = ends;
    const length = dot(first, second) / dot(second, second);
    const foot = second.map((part) => part * length);
    const shadow = line(picture, [0, 0], foot, "shadow");
    Object.assign(shadow.dataset, { kind: "score", place: 0 });
    plot.append(line(picture, first, foot, "drop"), shadow);
  }
  ends.forEach((end, at) => {
    const kind = show.kinds?.[at] ?? "value";
    const arrow = line(picture, [0, 0], end, "arrow");
    Object.assign(arrow.dataset, { kind, place: at });
    if (weights && (revealed || !show.secret_weights)) {
      arrow.style.strokeWidth = 1.5 + 5 * Math.sqrt(weights[at]);
    }
    const tip = drawn("circle", { class: "tip", cx: x(end[0]), cy: y(end[1]), r: 5 });
    Object.assign(tip.dataset, { kind, place: at });
    plot.append(arrow, tip);
  });
  const truth = sum(context);
  if (truth && revealed) {
    const arrow = line(picture, [0, 0], truth, "arrow result");
    const tip = drawn("circle", { class: "result-tip", cx: x(truth[0]), cy: y(truth[1]), r: 8 });
    for (const part of [arrow, tip]) Object.assign(part.dataset, { kind: "output", place: 0 });
    plot.append(arrow, tip);
  }
  addLabels(picture, ends);
  const pointing = step.predict.kind === "point";
  if (pointing && guess) {
    plot.append(drawn("circle", { class: "guess-tip", cx: x(guess[0]), cy: y(guess[1]), r: 9 }));
  }
  handle.hidden = !guessing(context);
  picture.plot.classList.toggle("draggable", draggable(context));
  if (guessing(context)) {
    const [across, up] = guess ?? [0, 0];
    handle.style.left = `${50 + (50 * x(across)) / HALF.width}%`;
    handle.style.top = `${50 + (50 * y(up)) / HALF.height}%`;
    describe(handle, across, context.say("point", { across: format(across), up: format(up) }), [-picture.far, picture.far]);
  }
}

// Write the labels beside the ends of their arrows: further out where another label is, and once
// where two ends with one label lie together.
function addLabels({ context, plot, labels, x, y }, ends) {
  const { show } = context.step;
  const boxes = [];
  ends.forEach(([across, up], at) => {
    const word = drawn("text", {});
    word.textContent = labels[at];
    Object.assign(word.dataset, { kind: show.kinds?.[at] ?? "value", place: at });
    plot.append(word);
    const width = word.getComputedTextLength();
    const beside = x(across) + (across < 0 ? -8 - width : 8);
    const left = Math.max(2 - HALF.width, Math.min(HALF.width - width - 2, beside));
    let base = y(up) + (up < 0 ? LINE - 1 : -4);
    const meets = (box) => left < box.left + box.width && box.left < left + width && Math.abs(base - box.base) < LINE;
    if (boxes.some((box) => meets(box) && box.label === labels[at])) return word.remove();
    while (boxes.some(meets) && Math.abs(base) < HALF.height - LINE) base += up < 0 ? LINE : -LINE;
    boxes.push({ left, width, base, label: labels[at] });
    word.setAttribute("x", left);
    word.setAttribute("y", base);
  });
}

function line({ x, y }, from, to, name) {
  const [x1, y1, x2, y2] = [x(from[0]), y(from[1]), x(to[0]), y(to[1])];
  return drawn("line", { class: name, x1, y1, x2, y2 });
}

// The corners of the smallest convex polygon around points, in order.
export function hull(points) {
  const sorted = points.map((point) => [...point]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
  const chain = (ordered) => {
    const hull = [];
    for (const point of ordered) {
      while (hull.length > 1 && turn(hull.at(-2), hull.at(-1), point) <= 0) hull.pop();
      hull.push(point);
    }
    return hull.slice(0, -1);
  };
  return [...chain(sorted), ...chain(sorted.reverse())];
}

function distance(picture) {
  const { context } = picture;
  const truth = context.truth((one) => sum(one));
  const [x, y] = context.guess;
  const apart = Math.hypot(x - truth[0], y - truth[1]) / picture.far;
  return { apart, text: context.say("point_away", { distance: format(apart * picture.far) }) };
}
