// From bytes to grids of numbers, and what a point of the map holds, in words.
//
// Coordinates: tokens are counted along each side; a window [q0, q1, k0, k1] is a rectangle of them,
// and a grid holds one number per bin of it. NaN is masked; Infinity is nothing but keys set aside.

const MASKED = 0xffff;
const SINK = 0xfffe;
const FULL = 0xfffd;

const number = (value) =>
  value === 0 ? "0" : value < 0.0001 ? value.toExponential(1) : value.toFixed(4);
const short = (value) => (value < 0.0001 ? value.toExponential(1) : String(Number(value.toPrecision(2))));
const thousands = (value) => value.toLocaleString("en");
const isolate = (label) => `\u2068${label}\u2069`;

// The bytes: length of the JSON header (4), the header, then the grid: two bytes per number, or
// four per weight and four per score.
function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const map = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const { grid } = map;
  if (grid) {
    const body = bytes.slice(4 + length).buffer;
    grid.columns = grid.keys.length;
    grid.rows = grid.queries.length;
    const count = grid.rows * grid.columns;
    if (grid.scored) {
      grid.values = new Float32Array(body, 0, count);
      grid.scores = new Float32Array(body, 4 * count, count);
    } else {
      grid.values = Float32Array.from(new Uint16Array(body, 0, count), (code) =>
        code === MASKED ? NaN : code === SINK ? Infinity : (code / FULL) ** 2 * grid.scale
      );
    }
    grid.masked = grid.values.some(Number.isNaN);
  }
  return map;
}

// What a point of the map holds: the finest grid that knows it.
function read(grids, query, key) {
  let best = null;
  for (const grid of grids) {
    const [q0, q1, k0, k1] = grid.window;
    if (query < q0 || query >= q1 || key < k0 || key >= k1) continue;
    if (!best || grid.steps[0] * grid.steps[1] < best.steps[0] * best.steps[1]) best = grid;
  }
  if (!best) return null;
  const [q0, q1, k0, k1] = best.window;
  const row = Math.floor((query - q0) / best.steps[0]);
  const column = Math.floor((key - k0) / best.steps[1]);
  const at = row * best.columns + column;
  const from = q0 + row * best.steps[0];
  const start = k0 + column * best.steps[1];
  return {
    value: best.values[at],
    score: best.scores?.[at],
    rank: best.scores && rank(best, row, column),
    exact: best.steps[0] === 1 && best.steps[1] === 1,
    queries: [from, Math.min(from + best.steps[0], q1) - 1],
    keys: [start, Math.min(start + best.steps[1], k1) - 1],
    query: best.queries[row],
    key: best.keys[column],
  };
}

// The place of a key in its row: 1 is the largest weight; of equal ones the first comes first.
function rank(grid, row, column) {
  const weights = grid.values.subarray(row * grid.columns, (row + 1) * grid.columns);
  const own = weights[column];
  return weights.reduce((place, one, at) => place + (one > own || (one === own && at < column)), 1);
}

// A point of the map in words: two lines for the pointer, one sentence for a screen reader.
function words(map, found) {
  const place = ([first, last], label) =>
    first === last
      ? `${isolate(label)} (${first})`
      : `${first}–${last} (from ${isolate(label)})`;
  const what = found.exact
    ? "weight"
    : map.how === "max" ? "largest weight of this bin" : "mean weight of this bin";
  const more =
    found.score === undefined ? "" : ` · score ${found.score.toFixed(3)} · rank ${found.rank}`;
  const says = Number.isNaN(found.value)
    ? "masked: this query cannot see this key"
    : found.value === Infinity
      ? "set aside: only sinks here"
      : `${what} ${number(found.value)}${more}`;
  return [`${place(found.queries, found.query)} → ${place(found.keys, found.key)}`, says];
}

// The labels of a side, from the grids that name every token of theirs.
function labels(grids, side) {
  const at = side === "query" ? 0 : 1;
  const found = grids.filter((grid) => grid.steps[at] === 1);
  return (token) => {
    for (const grid of found) {
      const [start, stop] = grid.window.slice(2 * at, 2 * at + 2);
      if (token >= start && token < stop) return grid[side === "query" ? "queries" : "keys"][token - start];
    }
    return null;
  };
}
