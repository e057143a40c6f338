// From grids of numbers to a picture. Nothing here remembers anything but painted grids.
//
// Coordinates: tokens are counted along each side, and a window [q0, q1, k0, k1] (fractions allowed)
// is stretched over the plot. Tokens are a person's text: canvas and textContent only.

const MASKED = 0xffff;
const SINK = 0xfffe;
const FULL = 0xfffd;
const MOST = 256; // numbers along a side of a grid
const LABEL = 11; // pixels a cell needs for its label

const number = (value) =>
  value === 0 ? "0" : value < 0.0001 ? value.toExponential(1) : value.toFixed(4);
const short = (value) => (value < 0.0001 ? value.toExponential(1) : String(Number(value.toPrecision(2))));
const thousands = (value) => value.toLocaleString("en");
const isolate = (label) => `\u2068${label}\u2069`;

// The bytes: length of the JSON header (4), the header, then one uint16 per number of the grid.
function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const map = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  if (map.grid) {
    const body = bytes.slice(4 + length);
    map.grid.codes = new Uint16Array(body.buffer, 0, body.byteLength >> 1);
    map.grid.columns = map.grid.keys.length;
    map.grid.rows = map.grid.queries.length;
  }
  return map;
}

const decoded = (grid, code) => (code / FULL) ** 2 * grid.scale;

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
  const code = best.codes[row * best.columns + column];
  const from = q0 + row * best.steps[0];
  const start = k0 + column * best.steps[1];
  return {
    code,
    value: code <= FULL ? decoded(best, code) : null,
    exact: best.steps[0] === 1 && best.steps[1] === 1,
    queries: [from, Math.min(from + best.steps[0], q1) - 1],
    keys: [start, Math.min(start + best.steps[1], k1) - 1],
    query: best.queries[row],
    key: best.keys[column],
  };
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
  const says =
    found.code === MASKED
      ? "masked: this query cannot see this key"
      : found.code === SINK
        ? "set aside: only sinks here"
        : `${what} ${number(found.value)}`;
  return [`${place(found.queries, found.query)} → ${place(found.keys, found.key)}`, says];
}

function mix(scale, share) {
  const at = Math.min(Math.max(share, 0), 1) * (scale.length - 1);
  const low = Math.min(Math.floor(at), scale.length - 2);
  return scale[low].map((part, index) => part + (scale[low + 1][index] - part) * (at - low));
}

// The place of a weight on the colour scale, from 0 to 1.
function tone(map, value, highest) {
  if (map.log === null) return value / highest;
  return 1 - Math.log10(Math.max(value, map.log)) / Math.log10(map.log);
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

// A grid as a picture with one pixel per number; masked ones stay clear for the hatching behind.
function painted(grid, map, colors, highest) {
  const name = [colors.page, map.log, highest, map.aside].join();
  if (grid.name === name) return grid.picture;
  const canvas = document.createElement("canvas");
  canvas.width = grid.columns;
  canvas.height = grid.rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(grid.columns, grid.rows);
  const grey = rgb(colors.hatch);
  const hidden = new Set(grid.steps[1] === 1 ? map.aside.map((key) => key - grid.window[2]) : []);
  const ramp = Array.from({ length: 1025 }, (_, at) => mix(colors.scale, at / 1024));
  grid.codes.forEach((code, at) => {
    if (code === MASKED) return;
    const set = code === SINK || hidden.has(at % grid.columns);
    const share = set ? 0 : Math.min(tone(map, decoded(grid, code), highest), 1);
    image.data.set(set ? grey : ramp[Math.round(share * 1024)], 4 * at);
    image.data[4 * at + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  grid.name = name;
  grid.picture = canvas;
  return canvas;
}

// Where the plot lies in a picture of this width, and how its window is stretched.
function layout(map, width, view) {
  const [queries, keys] = map.shape;
  const left = Math.min(104, Math.max(64, width * 0.16));
  const top = left * 0.86;
  const across = Math.max(80, Math.min(width - left - 10, 720));
  const down = Math.min(Math.max((across * queries) / keys, 120), 720);
  const [q0, q1, k0, k1] = view;
  return {
    left, top, across, down, view,
    width: left + across + 10,
    height: top + down + 46,
    x: (key) => left + ((key - k0) / (k1 - k0)) * across,
    y: (query) => top + ((query - q0) / (q1 - q0)) * down,
    key: (x) => k0 + ((x - left) / across) * (k1 - k0),
    query: (y) => q0 + ((y - top) / down) * (q1 - q0),
  };
}

function hatch(context, box, colors, x, y, width, height) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colors.hatch;
  context.lineWidth = 1;
  context.beginPath();
  // One lattice over the whole plot, so that neighbouring pieces join.
  const origin = box.left + box.top;
  for (let at = origin; at < origin + box.across + box.down + box.height; at += 7) {
    context.moveTo(at - y, y);
    context.lineTo(at - y - height, y + height);
  }
  context.stroke();
  context.restore();
}

// Everything but letters: cells, hatching, the framed row, the cursor, the colour bar.
function raster(context, map, grids, box, colors, highest, cursor) {
  const [q0, q1, k0, k1] = box.view;
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.across, box.down);
  context.clip();
  hatch(context, box, colors, box.left, box.top, box.across, box.down);
  context.imageSmoothingEnabled = false;
  const area = (grid) => grid.steps[0] * grid.steps[1];
  for (const grid of [...grids].sort((a, b) => area(b) - area(a))) {
    const rows = bins(grid.window[0], grid.steps[0], grid.window[1], q0, q1);
    const columns = bins(grid.window[2], grid.steps[1], grid.window[3], k0, k1);
    if (!rows || !columns) continue;
    const x = box.x(columns.from);
    const y = box.y(rows.from);
    const width = box.x(columns.to) - x;
    const height = box.y(rows.to) - y;
    context.clearRect(x, y, width, height);
    hatch(context, box, colors, x, y, width, height);
    const picture = painted(grid, map, colors, highest);
    context.drawImage(
      picture, columns.first, rows.first, columns.count, rows.count,
      x, y, columns.count * grid.steps[1] * (box.x(1) - box.x(0)),
      rows.count * grid.steps[0] * (box.y(1) - box.y(0))
    );
  }
  if (map.selected !== null) {
    const height = box.y(1) - box.y(0);
    context.strokeStyle = colors.accent;
    context.lineWidth = 2;
    if (height > 5) {
      context.strokeRect(box.left + 1, box.y(map.selected), box.across - 2, height);
    } else {
      context.fillStyle = colors.accent;
      context.fillRect(box.left, box.y(map.selected + 0.5) - 0.75, box.across, 1.5);
    }
  }
  if (cursor) {
    context.strokeStyle = colors.accent;
    context.lineWidth = 2;
    const x = box.x(cursor.keys[0]);
    const y = box.y(cursor.queries[0]);
    const width = Math.max(box.x(cursor.keys[1] + 1) - x, 4);
    context.strokeRect(x, y, width, Math.max(box.y(cursor.queries[1] + 1) - y, 4));
  }
  context.restore();
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.strokeRect(box.left - 0.5, box.top - 0.5, box.across + 1, box.down + 1);
  bar(context, box, colors);
}

// Which bins of a side are in view, and the tokens they cover.
function bins(start, step, stop, low, high) {
  const first = Math.max(Math.floor((low - start) / step), 0);
  const last = Math.min(Math.ceil((high - start) / step), Math.ceil((stop - start) / step));
  if (last <= first) return null;
  const to = Math.min(start + last * step, stop);
  return { first, count: last - first, from: start + first * step, to };
}

const barWidth = (box) => Math.min(170, box.across * 0.5);

function bar(context, box, colors) {
  const y = box.top + box.down + 12;
  const width = barWidth(box);
  const fill = context.createLinearGradient(box.left, 0, box.left + width, 0);
  colors.scale.forEach((color, at) =>
    fill.addColorStop(at / (colors.scale.length - 1), `rgb(${color.join()})`)
  );
  context.fillStyle = fill;
  context.fillRect(box.left, y, width, 9);
  const swatch = box.left + width + 28;
  context.strokeStyle = colors.line;
  context.strokeRect(swatch + 0.5, y - 1.5, 20, 11);
  hatch(context, box, colors, swatch + 0.5, y - 1.5, 20, 11);
}

// The letters, as a list, so that a canvas and an SVG write the same ones.
function letters(map, grids, box, colors, highest, measure) {
  const made = [];
  const [q0, q1, k0, k1] = box.view;
  const cell = [box.y(1) - box.y(0), box.x(1) - box.x(0)];
  const sides = [
    ["query", cell[0], q0, q1, map.shape[0], box.left - 6],
    ["key", cell[1], k0, k1, map.shape[1], box.top - 6],
  ];
  for (const [side, size, low, high, count, room] of sides) {
    const middle = side === "query" ? (at) => box.y(at + 0.5) : (at) => box.x(at + 0.5);
    const place = (at, turn = -90) =>
      side === "query"
        ? { x: box.left - 5, y: middle(at), anchor: "end", turn: 0 }
        : turn
          ? { x: middle(at), y: box.top - 5, anchor: "start", turn }
          : { x: Math.min(middle(at), box.width - 18), y: box.top - 9, anchor: "middle", turn };
    const named = size >= LABEL ? labels(grids, side) : null;
    const from = Math.max(Math.floor(low), 0);
    const to = Math.min(Math.ceil(high), count);
    if (named && Array.from({ length: to - from }, (_, at) => from + at).every((at) => named(at))) {
      const letter = Math.min(12, Math.max(9, size * 0.85));
      for (let at = from; at < to; at += 1) {
        if (at + 0.5 < low || at + 0.5 > high) continue;
        const text = fit(named(at), room, letter, measure);
        const color = side === "query" && at === map.selected ? colors.accent : colors.text;
        made.push({ ...place(at), text, size: letter, color });
      }
    } else {
      for (let at = Math.ceil(low / nice(high - low)) * nice(high - low); at < to;
        at += nice(high - low)) {
        if (at + 0.5 < low || at + 0.5 > high) continue;
        const far = Math.abs(at - map.selected) * size > 14;
        if (side === "query" && map.selected !== null && !far) continue;
        made.push({ ...place(at, 0), text: thousands(at), size: 11, color: colors.muted });
      }
      const chosen = map.selected;
      if (side === "query" && chosen !== null && chosen >= low && chosen < high) {
        const text = `${thousands(chosen)} ▸`;
        made.push({ ...place(chosen), text, size: 11, color: colors.accent });
      }
    }
  }
  const below = { y: box.top + box.down + 32, turn: 0, size: 11, color: colors.muted };
  const last = map.log === null ? short(highest) : "1";
  made.push({ ...below, x: box.left, anchor: "start", text: map.log === null ? "0" : "≤0.0001" });
  made.push({ ...below, x: box.left + barWidth(box), anchor: "end", text: last });
  made.push({
    ...below, x: box.left + barWidth(box) + 54, y: box.top + box.down + 16, anchor: "start",
    text: "masked",
  });
  made.push({ ...below, x: 2, y: box.top - 26, anchor: "start", text: "key →" });
  made.push({ ...below, x: 2, y: box.top - 12, anchor: "start", text: "query ↓" });
  return made;
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

function nice(span) {
  const rough = Math.max(span / 8, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((step) => step * power >= rough);
}

function fit(text, room, size, measure) {
  if (measure(text, size) <= room) return text;
  const parts = [...new Intl.Segmenter().segment(text)].map((part) => part.segment);
  while (parts.length > 1 && measure(`${parts.join("")}…`, size) > room) parts.pop();
  return `${parts.join("")}…`;
}
