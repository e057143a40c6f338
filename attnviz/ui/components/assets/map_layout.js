// Sizes in pixels and the labels along both sides of a map.

import { isolate, labelLookup } from "./map_grids.js";
import { count } from "./written_numbers.js";

const SPARSE = 8; // up to every eighth position is labelled by its token; beyond, by its number
const BELOW = 46; // height of colour bar and legend

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// A function that measures a text in the font of an element: (text, size in pixels) to pixels.
export function measuring(element) {
  const surface = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(element).fontFamily;
  return (text, size) => {
    surface.font = `${size}px ${family}`;
    return surface.measureText(text).width;
  };
}

// Place the plot inside the space that is there. Cells are square. `measure(text, size)` returns a
// width in pixels; `space` is { width, height }.
export function layoutOf(map, space, measure) {
  const [rows, columns] = map.shape;
  if (map.plain) return plainLayout(map.shape, space.width);
  const { least, most, share, largestCell } = map.labelRule;
  const widest = (labels, size) => Math.max(0, ...(labels ?? []).map((one) => measure(one, size)));
  let font = least;
  let box;
  for (let pass = 0; pass < 3; pass++) {
    const left = map.rowLabels
      ? clamp(widest(map.rowLabels, font) + 14, 52, Math.max(52, Math.min(11 * font, space.width * 0.32)))
      : clamp(space.width * 0.16, 64, 104);
    const columnWidth = map.columnLabels ? widest(map.columnLabels, font) : null;
    const room = Math.max(80, space.width - left - 10);
    let top = 0;
    let flat = false;
    let cell = largestCell;
    for (let again = 0; again < 2; again++) {
      flat = columnWidth !== null && columnWidth + 6 <= cell;
      top = flat ? 32 : columnWidth !== null ? clamp(columnWidth + 20, 40, Math.max(40, 10 * font)) : left * 0.86;
      const high = Math.max(160, space.height - top - (map.bare ? 8 : BELOW));
      cell = Math.min(largestCell, room / columns, high / rows);
    }
    // A side of few positions is stretched so far that its labels fit.
    const across = Math.max(cell * columns, Math.min(13 * columns, 220, room));
    const down = Math.max(cell * rows, Math.min(13 * rows, 220));
    box = { left, top, across, down, flat, font };
    font = clamp(share * cell, least, most);
  }
  return {
    ...box,
    width: Math.min(space.width, Math.max(box.left + box.across + 10, map.bare ? 0 : box.left + 240)),
    height: box.top + box.down + (map.bare ? 8 : BELOW),
  };
}

// A map without labels fills the width, up to a line on each side.
function plainLayout([rows, columns], width) {
  const across = width - 2;
  const down = (across * rows) / columns;
  return { left: 1, top: 1, across, down, flat: true, font: 0, width, height: down + 2 };
}

// Shorten a label to a width in pixels, never in the middle of a character.
export function fitLabel(text, room, size, measure) {
  if (measure(text, size) <= room) return text;
  const parts = [...new Intl.Segmenter().segment(text)].map((part) => part.segment);
  while (parts.length > 1 && measure(`${parts.join("")}…`, size) > room) parts.pop();
  return `${parts.join("")}…`;
}

// Plotly reads a part of HTML in every text.
const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;", $: "&#36;" };
export const escapeText = (text) => text.replace(/[&<>%$]/g, (one) => ENTITIES[one]);

// The ticks of one side: every label, every so-manieth, or positions in round numbers.
export function ticksOf(state, side, measure) {
  const { map, box, window: view } = state;
  if (map.plain) return { positions: [], texts: [], size: map.labelRule.least, upright: false, marks: 0 };
  const axis = side === "row" ? 0 : 1;
  const [low, high] = view.slice(2 * axis, 2 * axis + 2);
  const cell = (side === "row" ? box.down : box.across) / (high - low);
  const step = Math.ceil((map.labelRule.least - 0.01) / cell);
  const label = labelLookup(state.grids, side);
  const from = Math.max(Math.floor(low), 0);
  const to = Math.min(Math.ceil(high), map.shape[axis]);
  const positions = Array.from({ length: to - from }, (_, at) => from + at).filter(
    (at) => at + 0.5 >= low && at + 0.5 <= high
  );
  const selected = side === "row" ? map.selected?.[0] : undefined;
  const crowded = (at) => selected != null && at !== selected && Math.abs(at - selected) * cell < map.labelRule.least;
  const upright = side === "column" && !box.flat;
  if (step <= SPARSE && positions.every((at) => label(at) !== null)) {
    const size = clamp(map.labelRule.share * cell * step, map.labelRule.least, map.labelRule.most);
    const room = side === "row" ? box.left - 10 : upright ? box.top - 10 : cell * step - 4;
    const shown = positions.filter((at) => at === selected || (at % step === 0 && !crowded(at)));
    return {
      positions: shown,
      texts: shown.map((at) => {
        const text = escapeText(isolate(fitLabel(label(at), room, size, measure)));
        return at === selected ? `<b>${text}</b>` : text;
      }),
      size,
      upright,
      marks: step > 1 ? 4 : 0, // tick marks show which position a sparse label belongs to
    };
  }
  const apart = roundStep(high - low);
  const shown = positions.filter((at) => (at % apart === 0 && !crowded(at)) || at === selected);
  return {
    positions: shown,
    texts: shown.map((at) => (at === selected ? `<b>${count(at)}</b>` : count(at))),
    size: map.labelRule.least,
    upright: false,
    marks: 4,
  };
}

function roundStep(span) {
  const rough = Math.max(span / 8, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((step) => step * power >= rough);
}
