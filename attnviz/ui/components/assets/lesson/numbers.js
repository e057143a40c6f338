// Numbers of a step: those that the server sent, and those that follow from the controls.

import { mask, matmul, norm, runningSums, softmax } from "./kernel.js";
import { decimals, short } from "../written_numbers.js";

// What a step computes in the browser: arrays and numbers by name.
const COMPUTED = { softmax: softmaxRow, shares: sharesRow };

// The text of a value: a string as it is, a dash without a value, a number with so many decimals.
export function format(value, digits) {
  if (typeof value === "string") return value;
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  return digits === undefined ? short(value) : decimals(value, digits);
}

// A name of a place, or a number: from the scene where it is a name.
export function resolve(scene, what) {
  if (typeof what !== "string") return what;
  if (/^\d+$/.test(what)) return Number(what);
  return scene.places[what] ?? scene.values[what];
}

// The numbers of an array under the controls; of the chosen frame where it has frames.
export function numbersOf(context, name) {
  const { scene, step } = context;
  const computed = COMPUTED[step.show.compute]?.(context)[name];
  if (computed !== undefined) return computed;
  const array = scene.arrays[name];
  if (!array) return undefined;
  if (!step.show.frames || array.shape.length < 2) return array.numbers;
  const size = array.numbers.length / array.shape[0];
  const frame = Math.max(0, Math.min(array.shape[0] - 1, Math.round(context.controls.frame ?? 0)));
  return array.numbers.subarray(frame * size, (frame + 1) * size);
}

// Scores and weights of a row after all controls: dragged scores, a number added to all, hidden
// keys, temperature, a sink.
export function softmaxRow({ scene, controls }) {
  const sent = scene.arrays.scores.numbers;
  const hidden = new Set(controls.hidden ?? []);
  const moved = Float64Array.from(sent, (score, at) => (controls.scores?.[at] ?? score));
  const visible = Array.from(sent, (_, at) => !hidden.has(at));
  const scores = mask(moved.map((score) => score + (controls.shift ?? 0)), visible);
  const temperature = controls.temperature ?? 1;
  const sink = controls.sink ?? -Infinity;
  const weights = softmax(scores, { temperature, sink });
  const highest = Math.max(sink, ...scores);
  const powers = scores.map((score) => Math.exp((score - highest) / temperature));
  let sum = Math.exp((sink - highest) / temperature);
  for (const power of powers) sum += power;
  let share = 0;
  for (const weight of weights) share += weight;
  const { highest: highest_so_far, sums } = runningSums(scores);
  // The same keys hidden too late: their weights are set to 0 after the softmax.
  const whole = softmax(moved, { temperature, sink });
  const zeroed = whole.map((weight, at) => (visible[at] ? weight : 0));
  const left = zeroed.reduce((total, weight) => total + weight, 0);
  const shares = { share, rest: 1 - share, left };
  const rows = { scores, weights, powers, highest_so_far, sums, whole, zeroed };
  return { ...rows, ...shares, highest, sum, temperature, sink };
}

// A row in which the value at the place `shortened` is multiplied by the control `length`: lengths of
// the values; each key's share, which is weight times length over the sum of these; and how far the
// output has moved, as a share of its length with the values that were sent.
export function sharesRow({ scene, controls }) {
  const weights = scene.arrays.weights.numbers;
  const { numbers, shape } = scene.arrays.values;
  const [count, width] = shape;
  const first = scene.places.shortened * width;
  const last = first + width;
  const factor = controls.length ?? 1;
  const changed = numbers.map((one, at) => (at >= first && at < last ? one * factor : one));
  const lengths = Float64Array.from(weights, (_, at) => norm(changed.subarray(at * width, (at + 1) * width)));
  const parts = lengths.map((length, at) => weights[at] * length);
  const whole = parts.reduce((sum, part) => sum + part, 0);
  const output = matmul(weights, numbers, 1, count, width);
  const after = matmul(weights, changed, 1, count, width);
  const moved = norm(after.map((one, at) => one - output[at])) / norm(output);
  return { weights, lengths, shares: parts.map((part) => part / whole), moved };
}

// A value by its name: `array@place`, a number of the picture, a control, or a value that was sent.
export function valueOf(path, context) {
  const { scene, step, controls } = context;
  const frame = Math.round(controls.frame ?? 0);
  const [name, place] = path.split("@");
  if (place !== undefined) {
    const at = resolve(scene, place);
    return scene.labels[name]?.[at] ?? numbersOf(context, name)?.[at];
  }
  const computed = COMPUTED[step.show.compute]?.(context)[name];
  if (typeof computed === "number") return computed;
  const given = context.picture?.value?.(name, context) ?? controls[name] ?? scene.values[name];
  if (Array.isArray(given)) return given[frame];
  if (given !== undefined) return given;
  const series = scene.arrays[name];
  const framed = step.show.frames || step.show.axis || step.change?.kind === "map";
  if (series?.shape.length === 1) return series.numbers[framed ? frame : 0];
  return scene.labels[name]?.[frame];
}

// The controls before the prediction, and those at which the prediction is compared.
export const controlsAtStart = ({ scene, step }) => named(scene, step.start);

export function controlsAtTruth({ scene, step }) {
  return { ...named(scene, step.start), ...named(scene, step.predict?.at) };
}

// Values, lists and records in which names of places and values are replaced.
function named(scene, what = {}) {
  if (Array.isArray(what)) return what.map((one) => named(scene, one));
  if (what === null || typeof what !== "object") return resolve(scene, what);
  return Object.fromEntries(
    Object.entries(what).map(([name, value]) => [scene.places[name] ?? name, named(scene, value)])
  );
}

// Controls as plain numbers by name, for a link: scores.3 is a dragged score, hidden.5 a hidden key;
// `shown` says that the truth is on the screen.
export function toNumbers(controls) {
  const flat = { shown: 1 };
  for (const [name, value] of Object.entries(controls)) {
    if (Array.isArray(value)) for (const at of value) flat[`${name}.${at}`] = 1;
    else if (value && typeof value === "object") {
      for (const [at, one] of Object.entries(value)) {
        if (Array.isArray(one)) one.forEach((part, axis) => (flat[`${name}.${at}.${axis}`] = part));
        else flat[`${name}.${at}`] = one;
      }
    } else flat[name] = value;
  }
  return Object.fromEntries(Object.entries(flat).filter(([, value]) => Number.isFinite(value)));
}

export function fromNumbers(numbers) {
  const controls = {};
  for (const [path, value] of Object.entries(numbers)) {
    const [name, at, axis] = path.split(".");
    if (name === "shown") continue;
    if (at === undefined) controls[name] = value;
    else if (name === "tips") {
      const point = [...(controls.tips?.[at] ?? [0, 0])];
      point[Number(axis)] = value;
      controls.tips = { ...controls.tips, [at]: point };
    } else if (name === "scores") controls.scores = { ...controls.scores, [at]: value };
    else controls[name] = [...(controls[name] ?? []), Number(at)];
  }
  return controls;
}
