// A line for a number to predict: its ends, and the truth afterwards.

import { evenTicks } from "../axis_ticks.js";
import { drawn } from "../elements.js";
import { format, resolve, valueOf } from "../numbers.js";
import { round, sheet, stroke, TYPE, widthOf, words } from "./ink.js";

export function numberLine(context, width) {
  const { scene, step, revealed } = context;
  const { label, unit = "" } = step.predict;
  const [from, to] = [step.predict.from, step.predict.to].map((end) => resolve(scene, end));
  const [left, right, base] = [14, width - 14, 3 + 2.3 * TYPE];
  const svg = sheet(width, base + 1.7 * TYPE);
  svg.setAttribute("class", "number-line");
  const x = (value) => left + ((right - left) * (Math.max(from, Math.min(to, value)) - from)) / (to - from);
  svg.append(words(label, { x: 0, y: TYPE, "font-weight": 600 }));
  svg.append(stroke(left, base, right, base));
  for (const { value, text } of evenTicks(from, to, 5)) {
    svg.append(stroke(x(value), base - 3, x(value), base + 3));
    svg.append(words(text, { x: round(x(value)), y: base + 1.4 * TYPE, "text-anchor": "middle" }));
  }
  if (!revealed) return svg;
  const truth = valueOf(step.predict.of, context);
  const decimals = step.predict.step >= 1 ? 0 : 2;
  const says = `${format(truth, decimals)}${unit && ` ${unit}`}`;
  const at = x(truth);
  svg.append(drawn("path", { class: "truth", d: `M${round(at)} ${base}l-4 -8h8z` }));
  const beside = at + 7 + widthOf(says) > width ? { x: round(at - 7), "text-anchor": "end" } : { x: round(at + 7) };
  svg.append(words(says, { ...beside, y: base - 4, "font-weight": 700, class: "truth-number" }));
  return svg;
}
