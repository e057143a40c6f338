// Small maps of weights: canvases with one pixel per cell, in the colours of the app's maps.

import { element } from "./elements.js";
import { isDark } from "../page_colors.js";

// A canvas for a [rows, columns] map; the result has `draw(numbers)`.
export function smallMap(rows, columns, label) {
  const canvas = element("canvas", "small-map");
  canvas.width = columns;
  canvas.height = rows;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const surface = canvas.getContext("2d");
  return {
    element: canvas,
    draw(numbers, stops) {
      const picture = surface.createImageData(columns, rows);
      for (let at = 0; at < rows * columns; at++) {
        const [red, green, blue] = shade(numbers[at], stops);
        picture.data.set([red, green, blue, Number.isFinite(numbers[at]) ? 255 : 0], 4 * at);
      }
      surface.putImageData(picture, 0, 0);
    },
  };
}

// The colour of a weight from 0 to 1, on the square root: a share of 0.05 is still seen.
const shade = (weight, stops) => between(Math.sqrt(Math.max(0, Math.min(1, weight || 0))), stops);

function between(share, stops) {
  const at = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((part, index) => Math.round(part + (stops[low + 1][index] - part) * (at - low)));
}

const colorsOf = (context, root) =>
  isDark(root.closest(".lesson") ?? root) ? context.dark : context.light;

export const stopsOf = (context, root) => colorsOf(context, root).sequential;

// The colours of numbers between two ends: weights if the lower end is 0, signed numbers otherwise;
// and the two colours of letters.
export function scaleOf(context, root, low, high) {
  const { sequential, diverging, page, text } = colorsOf(context, root);
  const color = (value) =>
    low === 0
      ? between(Math.sqrt(Math.max(0, value) / high), sequential)
      : between((value - low) / (high - low), diverging);
  return { color, texts: [page, text] };
}
