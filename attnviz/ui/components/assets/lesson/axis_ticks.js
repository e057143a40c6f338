// Round numbers along an axis, and the places where they stand.

import { round } from "../written_numbers.js";

const PARTS = [1, 2, 2.5, 5, 10];

// The smallest round step that divides a range into at most `most` parts.
function roundStep(range, most, parts = PARTS) {
  const power = 10 ** Math.floor(Math.log10(range / most));
  return power * parts.find((part) => part * power >= (range / most) * 0.999);
}

// The multiples of a round step from `low` to `high`, each with its text.
export function evenTicks(low, high, most, step = roundStep(high - low, most)) {
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-6); at * step <= high + step * 1e-6; at++) {
    ticks.push({ value: at * step, text: round(at * step) });
  }
  return ticks;
}

// Labels of an axis with one label for each point: places among the points, and texts. Between evenly
// spaced numbers they are round numbers; of other labels some are taken.
export function labelTicks(labels, most) {
  const numbers = labels.map((label) => Number(label.replaceAll(",", "").replace("−", "-")));
  const [first, last] = [numbers[0], numbers.at(-1)];
  const unit = (last - first) / (numbers.length - 1);
  // A quarter: labels are rounded.
  if (numbers.every((number, at) => Math.abs(number - first - at * unit) < unit / 4)) {
    const step = Math.max(unit, roundStep(last - first, most, [1, 2, 5, 10]));
    return evenTicks(first, last, most, step).map(({ value, text }) => ({ at: (value - first) / unit, text }));
  }
  const every = Math.max(1, Math.ceil(labels.length / most));
  return labels.flatMap((text, at) => (at % every ? [] : [{ at, text }]));
}
