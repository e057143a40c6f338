// Decode the bytes of a message into grids of numbers, and describe one cell in words.
//
// Positions are counted in rows and columns (queries and keys, or layers and heads). A window
// [row start, row stop, column start, column stop] is a rectangle of positions; a grid holds one
// number per bin of its window. NaN: masked or not defined. Infinity: only keys that are set aside.
// -Infinity: a weight that the model computes as NaN or infinity.

import { count, decimals, exact, withPlus } from "./written_numbers.js";

const MASKED = 0xffff;
const SET_ASIDE = 0xfffe;
const BROKEN = 0xfffd;
const FULL = 0xfffc;

// Unicode isolates keep a right-to-left token from reordering the text around it.
export const isolate = (label) => `\u2068${label}\u2069`;

// Layout of the bytes: header length (uint32), JSON header, numbers. Encodings of the numbers:
// "f4": float32 per value; "f4f4": values, then scores; "u2": value = scale * (code / 65532)²;
// "i2": value = scale * sign(code) * (code / 32767)², -32768 is NaN. Pictures of cells come last.
export function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const { grid } = header;
  if (!grid) return header;
  const body = bytes.slice(4 + length).buffer;
  grid.columns = grid.columnLabels.length;
  grid.rows = grid.rowLabels.length;
  const count = grid.rows * grid.columns;
  if (grid.encoding === "u2") {
    grid.values = Float32Array.from(new Uint16Array(body, 0, count), (code) =>
      code === MASKED ? NaN
      : code === SET_ASIDE ? Infinity
      : code === BROKEN ? -Infinity
      : (code / FULL) ** 2 * grid.scale
    );
  } else if (grid.encoding === "i2") {
    grid.values = Float32Array.from(new Int16Array(body, 0, count), (code) =>
      code === -32768 ? NaN : Math.sign(code) * (code / 32767) ** 2 * grid.scale
    );
  } else {
    grid.values = new Float32Array(body, 0, count);
    if (grid.encoding === "f4f4") grid.scores = new Float32Array(body, 4 * count, count);
  }
  if (grid.pictures) {
    // A picture per cell: value (code / 254)², and 255 where nothing is visible.
    const sent = new Uint8Array(body, body.byteLength - count * grid.pictures[0] * grid.pictures[1]);
    grid.pictureRows = Array.from({ length: grid.rows * grid.pictures[0] }, (_, row) => {
      const width = grid.columns * grid.pictures[1];
      return Float32Array.from(sent.subarray(row * width, (row + 1) * width), (code) =>
        code === 255 ? NaN : (code / 254) ** 2
      );
    });
  }
  grid.broken = grid.values.some((value) => value === -Infinity);
  grid.masked = grid.broken || grid.values.some(Number.isNaN);
  return header;
}

// Return what the finest grid holds at a position, or null outside all grids.
export function cellAt(grids, row, column) {
  let best = null;
  for (const grid of grids) {
    const [r0, r1, c0, c1] = grid.window;
    if (row < r0 || row >= r1 || column < c0 || column >= c1) continue;
    if (!best || grid.steps[0] * grid.steps[1] < best.steps[0] * best.steps[1]) best = grid;
  }
  if (!best) return null;
  const [r0, r1, c0, c1] = best.window;
  const down = Math.floor((row - r0) / best.steps[0]);
  const across = Math.floor((column - c0) / best.steps[1]);
  const at = down * best.columns + across;
  const fromRow = r0 + down * best.steps[0];
  const fromColumn = c0 + across * best.steps[1];
  return {
    value: best.values[at],
    score: best.scores?.[at],
    rank: best.scores && rankInRow(best, down, across),
    exact: best.steps[0] === 1 && best.steps[1] === 1,
    rows: [fromRow, Math.min(fromRow + best.steps[0], r1) - 1],
    columns: [fromColumn, Math.min(fromColumn + best.steps[1], c1) - 1],
    rowLabel: best.rowLabels?.[down],
    columnLabel: best.columnLabels?.[across],
  };
}

// 1 is the largest value of the row; of equal values the first comes first.
function rankInRow(grid, row, column) {
  const values = grid.values.subarray(row * grid.columns, (row + 1) * grid.columns);
  const value = values[column];
  return values.reduce((rank, one, at) => rank + (one > value || (one === value && at < column)), 1);
}

// Two sentences about a cell: where it is, and what it holds. The words are those of the map.
export function describe(map, cell) {
  const { words } = map;
  const say = (name, values) => words[name].replace(/\{(\w+)\}/g, (_, one) => values[one]);
  const place = ([first, last], label, side) => {
    if (label === undefined) return `${side} ${count(first)}`; // a map of positions alone
    if (!map.numbered) return isolate(label);
    if (first === last) return `${isolate(label)} (${first})`;
    return `${first}–${last} (from ${isolate(label)})`;
  };
  const between = map.numbered || cell.rowLabel === undefined ? " → " : "·";
  const where = `${place(cell.rows, cell.rowLabel, words.query)}${between}${place(cell.columns, cell.columnLabel, words.key)}`;
  if (Number.isNaN(cell.value)) return [where, map.missing];
  if (cell.value === -Infinity) return [where, words.broken];
  if (cell.value === Infinity) return [where, words.set_aside];
  const { value, how } = map;
  const name = cell.exact ? value : say(how === "mean" ? "mean_of_bin" : "largest_of_bin", { value });
  const numbers = { score: cell.score === undefined ? "" : decimals(cell.score, 3), rank: cell.rank };
  const score = numbers.score && ` · ${say("score_and_rank", numbers)}`;
  const unit = map.unit ? ` ${map.unit}` : "";
  return [where, `${name} ${map.signed ? withPlus(exact(cell.value)) : exact(cell.value)}${unit}${score}`];
}

// Return a function from a position to its label: from grids in which every position has one.
export function labelLookup(grids, side) {
  const [axis, field] = side === "row" ? [0, "rowLabels"] : [1, "columnLabels"];
  const complete = grids.filter((grid) => grid[field] && grid.steps[axis] === 1);
  return (position) => {
    for (const grid of complete) {
      const [start, stop] = grid.window.slice(2 * axis, 2 * axis + 2);
      if (position >= start && position < stop) return grid[field][position - start];
    }
    return null;
  };
}
