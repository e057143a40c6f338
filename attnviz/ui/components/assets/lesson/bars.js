// Picture of rows with bars: a label, and one bar for each array that is shown.
//
// A step predicts weights by dragging their bars ("bars"), one score by dragging its bar
// ("score"), or a row by clicking its label ("pick").

import { describe, element, slideOn } from "./elements.js";
import { totalVariation } from "./kernel.js";
import { linkTo } from "./marks.js";
import { format, numbersOf, resolve, softmaxRow } from "./numbers.js";
import { percent } from "../written_numbers.js";

export function create(context) {
  const { scene, step } = context;
  const labels = scene.labels[step.show.rows ?? "keys"];
  const root = element("div", "bars");
  root.style.setProperty("--columns", step.show.columns.length);
  root.style.setProperty("--rows", labels.length);
  if (step.show.columns.length > 2) root.classList.add("crowded");
  const longest = Math.max(...labels.map((label) => label.length));
  root.style.setProperty("--label", `${Math.max(3.5, Math.min(15, 1 + 0.55 * longest))}em`);
  const head = element("div", "row head");
  head.append(element("span", "label", step.show.title ?? ""));
  for (const column of step.show.columns) {
    const title = element("span", "title", column.title);
    linkTo(title, context, column.kind, "all");
    head.append(title);
  }
  root.append(head);
  const picture = { context, root, rows: [], element: root, ranges: {} };
  labels.forEach((label, at) => addRow(picture, label, at));
  picture.paint = () => paint(picture);
  picture.distance = () => distance(picture);
  return picture;
}

function addRow(picture, label, at) {
  const { context, root } = picture;
  const { step } = context;
  const line = element("div", "row");
  const name = element(canClick(step) ? "button" : "span", "label");
  const word = element("bdi", "", label);
  name.append(word);
  name.title = label;
  linkTo(name, context, step.show.kind ?? "key", at);
  if (canClick(step)) {
    name.type = "button";
    if (step.predict.kind === "pick") name.dataset.pick = at;
    name.addEventListener("click", () => click(picture, at));
  }
  const row = { line, name, tracks: [] };
  line.append(name);
  for (const column of step.show.columns) {
    const track = element("div", "track");
    const fill = element("div", "fill");
    const guess = element("div", "guess");
    const handle = element("div", "handle");
    const number = element("span", "number");
    track.append(guess, fill, handle, number);
    linkTo(track, context, column.kind, at);
    slideOn(track, handle, {
      label: `${column.title}: ${label}`,
      range: () => picture.ranges[column.array],
      get: () => current(picture, column, at),
      set: (next) => drag(picture, column, at, next),
      end: () => context.rest(),
    });
    line.append(track);
    row.tracks.push({ track, fill, guess, handle, number, column });
  }
  root.append(line);
  picture.rows.push(row);
}

const canClick = (step) => step.predict.kind === "pick" || step.change.kind === "hide";

function click(picture, at) {
  const { context } = picture;
  if (!context.revealed && context.step.predict.kind === "pick") context.predict(at);
  else if (context.revealed && context.step.change.kind === "hide") {
    const hidden = new Set(context.controls.hidden ?? []);
    if (!hidden.delete(at) && hidden.size < picture.rows.length - 1) hidden.add(at);
    context.control("hidden", [...hidden]);
    context.rest();
  }
}

// Whether the bars of a column can be dragged now.
function movable(picture, column, at) {
  const { step, revealed, scene } = picture.context;
  const predict = step.predict;
  if (!revealed && predict.kind === "bars") return column.array === predict.of;
  if (!revealed && predict.kind === "heights") {
    return column.array === predict.of && at >= (predict.known ?? 0);
  }
  if (!revealed && predict.kind === "score") {
    return column.array === "scores" && at === resolve(scene, predict.place);
  }
  return revealed && step.change.kind === "drag" && column.array === "scores";
}

function current(picture, column, at) {
  const { context } = picture;
  if (!context.revealed && context.guess !== null) {
    if (isBars(context.step) && column.array === context.step.predict.of) return context.guess[at];
    if (context.step.predict.kind === "score") return context.guess;
  }
  return numbersOf(context, column.array)[at];
}

function drag(picture, column, at, next) {
  const { context } = picture;
  if (!movable(picture, column, at)) return;
  if (context.revealed) {
    context.control("scores", { ...(context.controls.scores ?? {}), [at]: next });
  } else if (context.step.predict.kind === "score") context.predict(next);
  else if (context.step.predict.kind === "heights") {
    context.predict((context.guess ?? start(picture)).map((one, index) => (index === at ? next : one)));
  } else context.predict(shared(context.guess ?? start(picture), at, Math.min(1, next)));
}

// The distribution in which one share is set and the others keep their proportions.
export function shared(shares, at, next) {
  const rest = shares.reduce((sum, share, index) => (index === at ? sum : sum + share), 0);
  const left = 1 - next;
  return shares.map((share, index) => {
    if (index === at) return next;
    return rest > 1e-9 ? (share * left) / rest : left / (shares.length - 1);
  });
}

const isBars = (step) => ["bars", "heights"].includes(step.predict.kind);

// What the bars of a prediction start from: all alike; the numbers that are shown; or, where each
// bar is free, the known rows and the first of them.
function start(picture) {
  const { context } = picture;
  const { step } = context;
  const count = picture.rows.length;
  if (step.predict.from === "shown") return Array.from(numbersOf(context, step.predict.of));
  if (step.predict.kind === "heights") {
    const known = step.predict.known ?? 0;
    const numbers = context.truth((one) => numbersOf(one, step.predict.of));
    return Array.from(numbers, (one, at) => (at < known ? one : known ? numbers[0] : 0));
  }
  return new Array(count).fill(1 / count);
}

function paint(picture) {
  const { context, rows } = picture;
  const { step, revealed, guess } = context;
  const predict = step.predict;
  for (const column of step.show.columns) {
    const numbers = numbersOf(context, column.array);
    const hidden = !revealed && isBars(step) && column.array === predict.of;
    const secret = !hidden && isSecret(context, column);
    const shown = hidden ? (guess ?? start(picture)) : numbers;
    const ghost = ghostOf(picture, column);
    const range = rangeOf(picture, column, shown, ghost);
    rows.forEach((row, at) => {
      const bar = row.tracks.find((one) => one.column === column);
      const free = movable(picture, column, at);
      if (free) delete bar.track.dataset.still;
      else bar.track.dataset.still = "";
      bar.handle.hidden = !free;
      const score = !revealed && predict.kind === "score" && free && guess !== null;
      const number = score ? guess : shown[at];
      bar.track.classList.toggle("guessing", (hidden && free) || score);
      place(bar.fill, secret ? NaN : number, range);
      place(bar.guess, ghost ? ghost[at] : null, range);
      bar.track.classList.toggle("none", number === -Infinity);
      bar.handle.style.left = `${share(number, range)}%`;
      bar.number.textContent = secret ? "?" : format(number, column.decimals);
      bar.number.style.setProperty("--room", `${1.2 + 0.55 * bar.number.textContent.length}em`);
      bar.number.style.setProperty("--end", `${secret ? 0 : share(Math.max(number, 0), range)}%`);
      if (free) describe(bar.handle, number, format(number), range);
    });
  }
  const picked = predict.kind === "pick" ? guess : null;
  const truth = predict.kind === "pick" && revealed ? resolve(context.scene, predict.truth) : null;
  const gone = new Set(context.controls.hidden ?? []);
  rows.forEach((row, at) => {
    row.line.classList.toggle("picked", picked === at);
    row.line.classList.toggle("truth", truth === at);
    row.line.classList.toggle("hidden-key", gone.has(at));
    if (row.name.type === "button") {
      const pressed = gone.has(at) || (!revealed && picked === at);
      row.name.setAttribute("aria-pressed", String(pressed));
    }
  });
}

// Whether a bar is what the student predicts, or is shown after the prediction alone.
export function isSecret({ step: { predict }, revealed }, column, at = 0) {
  if (revealed) return false;
  const predicted = column.array === predict.of && ["bars", "heights", "pick"].includes(predict.kind);
  return Boolean(column.after) || (predicted && at >= (predict.known ?? 0));
}

// What stays in grey behind the truth.
function ghostOf(picture, column) {
  const { context } = picture;
  const { step, revealed, guess, scene } = context;
  const kind = step.predict.kind;
  if (!revealed || guess === null) return null;
  if (isBars(step) && column.array === step.predict.of) return guess;
  if (kind === "score") {
    const at = resolve(scene, step.predict.place);
    const row = softmaxRow({ scene, controls: { scores: { [at]: guess } } })[column.array];
    return column.array === "scores" ? row.map((one, index) => (index === at ? one : NaN)) : row;
  }
  return null;
}

export function rangeOf(picture, column, shown, ghost) {
  let range = [column.low, column.high];
  if (column.high === undefined || column.low === undefined) {
    const all = [...shown, ...(ghost ?? []), ...picture.context.scene.arrays[column.array].numbers];
    const finite = all.filter(Number.isFinite);
    const spare = picture.context.step.change.kind === "drag" && column.array === "scores" ? 4 : 0;
    range = [Math.min(0, ...finite), Math.max(0, ...finite) + spare];
    if (range[0] === range[1]) range[1] = range[0] + 1;
  }
  picture.ranges[column.array] = range;
  return range;
}

export const share = (value, [low, high]) =>
  Math.max(0, Math.min(100, (100 * ((Number.isFinite(value) ? value : low) - low)) / (high - low)));

function place(bar, value, range) {
  bar.hidden = value === null || !Number.isFinite(value);
  if (bar.hidden) return;
  const zero = share(0, range);
  const end = share(value, range);
  bar.style.left = `${Math.min(zero, end)}%`;
  bar.style.width = `${Math.abs(end - zero)}%`;
}

// How far the prediction is from the truth, and the sentence about it.
function distance(picture) {
  const { context } = picture;
  const { step, guess, scene } = context;
  const predict = step.predict;
  if (predict.kind === "bars") {
    const apart = totalVariation(guess, context.truth((one) => numbersOf(one, predict.of)));
    return { apart, text: context.say("share_elsewhere", { share: percent(apart) }) };
  }
  if (predict.kind === "heights") {
    const known = predict.known ?? 0;
    const truth = context.truth((one) => numbersOf(one, predict.of));
    const apart = guess.slice(known).map((one, at) => Math.abs(one - truth[at + known]));
    const mean = apart.reduce((sum, one) => sum + one, 0) / apart.length;
    const unit = predict.unit ? ` ${predict.unit}` : "";
    return { apart: mean, text: context.say("bars_away", { distance: `${format(mean)}${unit}` }) };
  }
  if (predict.kind === "score") {
    const at = resolve(scene, predict.place);
    const right = softmaxRow({ scene, controls: context.atTruth() }).weights;
    const yours = softmaxRow({ scene, controls: { scores: { [at]: guess } } }).weights;
    const apart = totalVariation(yours, right);
    return { apart, text: context.say("score_elsewhere", { share: percent(apart) }) };
  }
  const weights = context.truth((one) => numbersOf(one, predict.of));
  const right = resolve(scene, predict.truth);
  const apart = Math.abs(weights[right] - weights[guess]);
  const label = scene.labels[step.show.rows ?? "keys"][guess];
  if (guess === right) return { apart: 0, text: context.say("right_one") };
  const numbers = { number: format(weights[guess]), largest: format(weights[right]) };
  return { apart, text: context.say("has_and_largest", { label, ...numbers }) };
}
