// Picture of curves: numbers along an axis. A student draws one of them ("curve"); a slider moves a
// mark along it, and small maps show the state at the mark. Each point of a line can be linked.

import { describe, drag, drawn, element } from "./elements.js";
import { mapBox } from "./map_box.js";
import { linkTo } from "./marks.js";
import { format, numbersOf, resolve } from "./numbers.js";
import { evenTicks, labelTicks } from "./axis_ticks.js";

const NARROWEST = 280; // units of the picture; one is a pixel of the page
// Height of the picture for its width; with maps below it, the maps have the room.
const heightFor = (width, maps) => (maps ? 216 : Math.max(276, Math.min(460, Math.round(0.44 * width))));
export const LEVELS = 5; // parts of the upright axis, about
const TICK_WIDTH = 70; // units for each label of the axis
const NARROW = 220; // pixels; a map on less has no room for positions
const EDGE = { left: 44, right: 12, top: 12, bottom: 46 };
const SECOND = 30; // units to the right of the picture where numbers stand there, too
const NARROW_TITLE = 480; // units; the title of a limit has several lines on less
const TYPE = 16; // pixels of the page's type for which the edges are meant

export function create(context) {
  const { scene, step } = context;
  const { show } = step;
  const [low, high] = [show.low, show.high].map((end) => resolve(scene, end));
  const root = element("div", "curve");
  const legend = element("div", "legend");
  const frame = element("div", "frame");
  const plot = drawn("svg", { role: "img" });
  plot.setAttribute("aria-label", show.lines.map((line) => line.title).join(", "));
  const handle = element("div", "pen");
  frame.append(plot, handle);
  root.append(legend, frame);
  const ground = drawn("g");
  plot.append(ground);
  const picture = { context, root, element: root, plot, ground, handle, legend, low, high, pen: 0, maps: [], width: 0, height: 0, edge: EDGE };
  const count = scene.labels[show.axis].length;
  picture.count = count;
  picture.x = (at) => picture.edge.left + ((picture.width - picture.edge.left - picture.edge.right) * at) / Math.max(1, count - 1);
  picture.y = (value) =>
    picture.height -
    picture.edge.bottom -
    ((picture.height - picture.edge.top - picture.edge.bottom) * (value - low)) / (high - low);
  picture.second = show.lines.find((line) => line.high !== undefined);
  for (const line of show.lines) addLine(picture, line);
  addPen(picture);
  picture.over = drawn("g");
  plot.append(picture.over);
  if (show.maps) addMaps(picture);
  picture.paint = () => paint(picture);
  new ResizeObserver(picture.paint).observe(frame);
  picture.distance = () => distance(picture);
  return picture;
}

function axes(picture) {
  const { ground: plot, context, x, y, low, high, count, width, height, edge, second } = picture;
  plot.replaceChildren();
  const { show } = context.step;
  const labels = context.scene.labels[show.axis];
  const grid = (value) => drawn("line", { class: "grid", x1: x(0), x2: x(count - 1), y1: y(value), y2: y(value) });
  const levels = evenTicks(low, high, LEVELS);
  if (levels[0].value > low) plot.append(grid(low));
  for (const { value, text: says } of levels) {
    const text = drawn("text", { x: edge.left - 6, y: y(value) + edge.top / 3, "text-anchor": "end" });
    text.textContent = says;
    plot.append(grid(value), text);
  }
  for (const { at, text: says } of labelTicks(labels, (width * EDGE.left) / (TICK_WIDTH * edge.left))) {
    const last = at > count - 1.5 && says.length > 2 && !second; // centred, it would pass the edge
    const text = drawn("text", { x: x(at) + (last ? edge.right - 2 : 0), y: height - 0.6 * edge.bottom, "text-anchor": last ? "end" : "middle" });
    text.textContent = says;
    plot.append(text);
  }
  // Lines with other ends than the picture have their numbers on the right.
  picture.right = drawn("g");
  for (const { value, text: says } of second ? evenTicks(second.low ?? low, second.high, LEVELS) : []) {
    const text = drawn("text", { x: x(count - 1) + 6, y: y(placed(picture, value, second)) + edge.top / 3 });
    text.textContent = says;
    picture.right.append(text);
  }
  plot.append(picture.right);
  const title = drawn("text", { x: x(count - 1), y: height - 0.17 * edge.bottom, "text-anchor": "end", class: "axis" });
  title.textContent = show.axis_title ?? "";
  plot.append(title);
  picture.over.replaceChildren();
  if (show.limit === undefined) return;
  const at = x(resolve(context.scene, show.limit));
  plot.append(drawn("line", { class: "limit", x1: at, x2: at, y1: edge.top, y2: height - edge.bottom }));
  picture.over.append(limitTitle(at + 5, edge.top, show.limit_title ?? "", width < NARROW_TITLE));
}

// A line with other ends than the picture is stretched to fit.
export function placed({ low, high }, value, { low: from = low, high: to = high }) {
  return low + ((high - low) * (Math.max(from, Math.min(to, value)) - from)) / (to - from);
}

// The title of a line at a place of the axis, above the curves and the mark; on a phone one word below
// the other, as the mark is near.
function limitTitle(left, top, title, narrow) {
  const text = drawn("text", { class: "limit-title", y: 2 * top });
  const lines = narrow ? title.split(" ") : [title];
  lines.forEach((line, at) => {
    const part = drawn("tspan", { x: left, dy: at ? "1.15em" : 0 });
    part.textContent = at + 1 < lines.length ? `${line} ` : line;
    text.append(part);
  });
  return text;
}

function addLine(picture, line) {
  const path = drawn("path", { class: "line" });
  path.dataset.kind = line.kind;
  if (line.dash) path.setAttribute("stroke-dasharray", line.dash);
  picture.plot.append(path);
  path.dataset.place = "line"; // lit by its name alone
  const points = Array.from({ length: picture.count }, (_, at) => {
    const point = drawn("circle", { class: "point", r: 4.5 });
    Object.assign(point.dataset, { kind: line.kind, place: at });
    picture.plot.append(point);
    return point;
  });
  const item = element("span", "title", line.title);
  linkTo(item, picture.context, line.kind, "all");
  if (line.dash) item.classList.add("dashed");
  const number = element("span", "number");
  const entry = element("span", "entry");
  entry.append(item, " ", number);
  picture.legend.append(entry);
  (picture.lines ??= []).push({ ...line, path, number, points });
}

const drawable = ({ revealed, step }) => !revealed && step.predict.kind === "curve";

function addPen(picture) {
  const { plot, context, handle, low, high } = picture;
  const guess = drawn("path", { class: "line guess-curve" });
  const mark = drawn("line", { class: "mark" });
  plot.prepend(guess);
  plot.append(mark);
  Object.assign(picture, { guess, mark });
  let last = null;
  const at = (event) => {
    const box = plot.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width) * picture.width;
    const down = ((event.clientY - box.top) / box.height) * picture.height;
    const { left, right, top, bottom } = picture.edge;
    const place = ((across - left) / (picture.width - left - right)) * (picture.count - 1);
    const room = picture.height - top - bottom;
    const value = low + ((picture.height - bottom - down) / room) * (high - low);
    return [
      Math.max(0, Math.min(picture.count - 1, Math.round(place))),
      Math.max(low, Math.min(high, value)),
    ];
  };
  drag(plot, {
    begin(event) {
      if (!drawable(context)) return false;
      last = at(event);
      put(picture, last, last);
    },
    move(event) {
      const next = at(event);
      put(picture, last, next);
      last = next;
    },
    end: () => (last = null),
  });
  plot.addEventListener("pointerleave", () => context.mark(null));
  plot.addEventListener("pointermove", (event) => {
    if (last) return;
    const place = String(at(event)[0]);
    context.mark(context.step.show.lines.map(({ kind }) => ({ kind, place })));
  });
  handle.tabIndex = 0;
  handle.setAttribute("role", "slider");
  handle.setAttribute("aria-label", context.say("curve_handle"));
  handle.classList.add("handle");
  handle.addEventListener("keydown", (event) => {
    if (!drawable(context)) return;
    const values = start(picture);
    const unit = (high - low) / 20;
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const lift = { ArrowUp: unit, ArrowDown: -unit, End: high, Home: -high }[event.key];
    if (move) picture.pen = Math.max(0, Math.min(picture.count - 1, picture.pen + move));
    else if (lift !== undefined) {
      const next = Math.max(low, Math.min(high, values[picture.pen] + lift));
      context.predict(values.map((value, index) => (index < picture.pen ? value : next)));
    } else return;
    event.preventDefault();
    event.stopPropagation();
    paint(picture);
  });
}

// The curve so far; at first as high as the true curve begins.
function start({ context, count }) {
  const { predict } = context.step;
  return context.guess ?? new Array(count).fill(context.scene.arrays[predict.of].numbers[0]);
}

// Draw a straight line from one point to the next; the first stroke also sets all that follows.
function put(picture, [from, first], [to, second]) {
  const values = Array.from(start(picture));
  const low = Math.min(from, to);
  for (let index = low; index <= Math.max(from, to); index++) {
    const share = from === to ? 1 : (index - from) / (to - from);
    values[index] = first + share * (second - first);
  }
  for (let index = Math.max(from, to) + 1; index < values.length; index++) values[index] = second;
  picture.context.predict(values);
}

// Two maps or more at the mark, with one line below them that reads out a cell.
function addMaps(picture) {
  const { context } = picture;
  const { scene, step } = context;
  const row = element("div", "map-row");
  const says = element("div", "map-says");
  says.setAttribute("aria-live", "polite");
  const [, , rows, columns] = scene.arrays[step.show.maps].shape;
  picture.maps = scene.labels[step.show.map_titles].map((title, at) => {
    const map = mapBox(context, "weights", {
      rows,
      columns,
      label: title,
      fields: { bare: true, plainBelow: NARROW },
      point(cell) {
        context.mark(cell && { kind: "weight", place: `map-${at}` });
        says.textContent = cell ? `${title}: ${map.text(cell)}` : "";
      },
    });
    const cell = element("figure", "map-cell");
    linkTo(cell, context, "weight", `map-${at}`);
    cell.append(element("figcaption", "", title), map.element);
    row.append(cell);
    return map;
  });
  picture.root.append(row, says);
}

function paint(picture) {
  const { context, x, y, low, high, count } = picture;
  const width = Math.max(NARROWEST, Math.round(picture.plot.clientWidth));
  if (width !== picture.width) {
    picture.width = width;
    const larger = parseFloat(getComputedStyle(picture.root).fontSize) / TYPE; // a class sees it from afar
    const edge = { ...EDGE, right: picture.second ? SECOND : EDGE.right };
    picture.edge = Object.fromEntries(Object.entries(edge).map(([side, size]) => [side, larger * size]));
    const most = Math.max(276, (picture.maps.length ? 0.37 : 0.44) * innerHeight);
    picture.height = Math.round(Math.min(most, larger * heightFor(width / larger, picture.maps.length)));
    picture.plot.setAttribute("height", picture.height);
    picture.plot.setAttribute("viewBox", `0 0 ${width} ${picture.height}`);
    picture.mark.setAttribute("y1", picture.edge.top);
    picture.mark.setAttribute("y2", picture.height - picture.edge.bottom);
    axes(picture);
  }
  const { scene, step, revealed, guess } = context;
  const frame = Math.max(0, Math.min(count - 1, Math.round(context.controls.frame ?? 0)));
  // A line has a gap where there is no number.
  const path = (values, line = {}) =>
    Array.from(values, (value, at) => {
      if (!Number.isFinite(value)) return "";
      const stroke = at && Number.isFinite(values[at - 1]) ? "L" : "M";
      return `${stroke}${x(at).toFixed(1)},${y(placed(picture, value, line)).toFixed(1)}`;
    }).join("");
  const drawing = step.predict.kind === "curve";
  picture.right.setAttribute("visibility", revealed || !picture.second?.after ? "visible" : "hidden");
  const markable = revealed && step.change.kind === "slider" && !step.show.frames;
  for (const line of picture.lines) {
    const values = numbersOf(context, line.array);
    const secret = !revealed && (line.array === step.predict.of || line.after);
    line.path.setAttribute("d", secret ? "" : path(values, line));
    line.points.forEach((point, at) => {
      const absent = secret || !Number.isFinite(values[at]);
      point.setAttribute("visibility", absent ? "hidden" : "visible");
      if (absent) return;
      point.setAttribute("cx", x(at));
      point.setAttribute("cy", y(placed(picture, values[at], line)));
    });
    line.number.textContent = revealed && markable ? format(values[frame]) : "";
  }
  picture.guess.setAttribute("d", drawing && (!revealed || guess) ? path(start(picture)) : "");
  picture.mark.setAttribute("visibility", markable ? "visible" : "hidden");
  picture.mark.setAttribute("x1", x(frame));
  picture.mark.setAttribute("x2", x(frame));
  picture.plot.classList.toggle("draggable", drawable(context));
  picture.handle.hidden = revealed || !drawing;
  if (drawing && !revealed) {
    const value = start(picture)[picture.pen];
    picture.handle.style.left = `${(100 * x(picture.pen)) / picture.width}%`;
    picture.handle.style.top = `${(100 * y(value)) / picture.height}%`;
    describe(picture.handle, value, `${scene.labels[step.show.axis][picture.pen]}: ${format(value)}`, [low, high]);
  }
  if (picture.maps.length) {
    const array = scene.arrays[step.show.maps];
    const size = array.shape[2] * array.shape[3];
    const at = revealed ? frame : 0;
    picture.maps.forEach((map, index) => {
      const first = (at * picture.maps.length + index) * size;
      map.draw(array.numbers.subarray(first, first + size));
    });
  }
}

function distance({ context }) {
  const { step, scene, guess } = context;
  const truth = scene.arrays[step.predict.of].numbers;
  const apart = guess.reduce((sum, value, at) => sum + Math.abs(value - truth[at]), 0) / guess.length;
  return { apart, text: context.say("curve_away", { distance: format(apart) }) };
}
