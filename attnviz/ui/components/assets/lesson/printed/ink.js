// Pieces of drawings on paper: sizes in pixels (1/96 inch), texts, greys, and widths of texts.

import { drawn } from "../elements.js";

export const TYPE = 9.5; // pixels of all letters in drawings
const FAMILY = "system-ui, sans-serif";

export function sheet(width, height) {
  return drawn("svg", {
    width: round(width), height: round(height), viewBox: `0 0 ${round(width)} ${round(height)}`,
    "font-size": TYPE, "font-family": FAMILY, fill: "#000",
  });
}

export function words(text, attributes) {
  const written = drawn("text", attributes);
  written.textContent = text;
  return written;
}

export const stroke = (x1, y1, x2, y2, attributes = {}) =>
  drawn("line", { x1: round(x1), y1: round(y1), x2: round(x2), y2: round(y2), stroke: "#000", ...attributes });

export const round = (value) => Number(value.toFixed(2));

let pen = null;

// Pixels that a text takes.
export function widthOf(text, size = TYPE) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = `${size}px ${FAMILY}`;
  return pen.measureText(text).width;
}

const SMALLEST = 6.5; // pixels of letters

// A text in smaller letters where it is wider than the room, and then in narrower ones.
export function fitted(text, room, attributes) {
  const size = Math.max(SMALLEST, Math.min(TYPE, (TYPE * room) / (widthOf(text) || 1)));
  const written = words(text, { ...attributes, "font-size": round(size) });
  if (widthOf(text, size) > room + 0.5) {
    written.setAttribute("textLength", round(room));
    written.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
  return written;
}

// A grey from white at 0 to black at 1.
export function grey(share) {
  const part = Math.round(255 * (1 - share)).toString(16).padStart(2, "0");
  return `#${part}${part}${part}`;
}
