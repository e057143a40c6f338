// Prediction of one number: a handle on a line; the guess stays in grey beside the truth.

import { describe, element, slideOn } from "./elements.js";
import { format, resolve, valueOf } from "./numbers.js";

export function create(context) {
  const { scene, step } = context;
  const { unit = "", label } = step.predict;
  const [from, to] = [step.predict.from, step.predict.to].map((end) => resolve(scene, end));
  const root = element("div", "guess-line");
  const says = element("div", "says");
  const track = element("div", "track");
  const guess = element("div", "guess-mark");
  const truth = element("div", "truth-mark");
  const handle = element("div", "handle");
  const ends = element("div", "ends");
  ends.append(element("span", "", format(from)), element("span", "", format(to)));
  track.append(guess, truth, handle);
  root.append(says, track, ends);
  const middle = (from + to) / 2;
  slideOn(track, handle, {
    label,
    range: () => [from, to],
    get: () => context.guess ?? middle,
    set: (next) => !context.revealed && context.predict(rounded(next, step.predict.step)),
    end: () => context.rest(),
  });
  const decimals = step.predict.step >= 1 ? 0 : 2;
  const text = (value) => `${format(value, decimals)}${unit && ` ${unit}`}`;
  const left = (value) => `${(100 * (Math.max(from, Math.min(to, value)) - from)) / (to - from)}%`;
  return {
    element: root,
    paint() {
      const { revealed } = context;
      const now = context.guess ?? middle;
      const right = revealed ? context.truth((one) => valueOf(step.predict.of, one)) : null;
      if (revealed) track.dataset.still = "";
      else delete track.dataset.still;
      handle.hidden = revealed;
      handle.style.left = left(now);
      guess.hidden = context.guess === null;
      guess.style.left = left(now);
      truth.hidden = !revealed;
      if (revealed) truth.style.left = left(right);
      const { guess: given } = context;
      if (!revealed) says.textContent = given === null ? context.say("drag_guess", { label }) : `${label}: ${text(now)}`;
      else if (given === null) says.textContent = context.say("truth_alone", { label, truth: text(right) });
      else says.textContent = context.say("guess_and_truth", { label, guess: text(given), truth: text(right) });
      describe(handle, now, text(now), [from, to]);
    },
    distance() {
      const right = context.truth((one) => valueOf(step.predict.of, one));
      const apart = Math.abs(context.guess - right);
      return { apart, text: context.say("guess_away", { distance: text(apart) }) };
    },
  };
}

const rounded = (value, unit) => (unit ? Math.round(value / unit) * unit : value);
