// Where everything lies in a picture: the plot, its labels and what is written below it.

const LABEL = 11; // pixels a label needs
const SPARSE = 8; // from how many tokens one is still named; of more, numbers tell the place

// A square cell's side: large for few, so small for many that the plot stays on a screen.
function cellSize(longest) {
  if (longest * 34 < 210) return Math.min(60, 210 / longest);
  return Math.min(34, Math.max(440, Math.min(13 * longest, 720)) / longest);
}

// Where the plot lies in a picture of this width, and how its window is stretched. Cells are square
// but where a side is so short that its labels need more. `named` are the pixels of the longest
// labels, [query, key]; null for a text whose labels are not all known.
function layout(map, width, view, named) {
  const [queries, keys] = map.shape;
  const most = Math.max(52, Math.min(118, width * 0.32));
  const left = named
    ? Math.min(Math.max(named[0] + 14, 52), most)
    : Math.min(104, Math.max(64, width * 0.16));
  const room = Math.max(80, width - left - 10);
  const cell = Math.min(cellSize(Math.max(queries, keys)), room / keys);
  const across = Math.max(cell * keys, Math.min(13 * keys, 220, room));
  const down = Math.min(Math.max(cell * queries, Math.min(13 * queries, 220)), 720);
  const flat = Boolean(named) && named[1] + 6 <= across / keys;
  const top = flat ? 38 : named ? Math.min(Math.max(named[1] + 14, 38), 110) : left * 0.86;
  const [q0, q1, k0, k1] = view;
  return {
    left, top, across, down, view, flat,
    width: Math.min(width, Math.max(left + across + 10, left + 240)),
    height: top + down + 46,
    x: (key) => left + ((key - k0) / (k1 - k0)) * across,
    y: (query) => top + ((query - q0) / (q1 - q0)) * down,
    key: (x) => k0 + ((x - left) / across) * (k1 - k0),
    query: (y) => q0 + ((y - top) / down) * (q1 - q0),
  };
}

// Which bins of a side are in view, and the tokens they cover.
function bins(start, step, stop, low, high) {
  const first = Math.max(Math.floor((low - start) / step), 0);
  const last = Math.min(Math.ceil((high - start) / step), Math.ceil((stop - start) / step));
  if (last <= first) return null;
  const to = Math.min(start + last * step, stop);
  return { first, count: last - first, from: start + first * step, to };
}

const barWidth = (box) => Math.min(170, Math.max(box.across * 0.5, 130));

// The letters, as a list, so that a canvas and an SVG write the same ones.
function letters(map, grids, box, colors, legend, measure) {
  const made = [];
  const [q0, q1, k0, k1] = box.view;
  side(made, map, "query", box.y(1) - box.y(0), [q0, q1], grids, box, colors, measure);
  side(made, map, "key", box.x(1) - box.x(0), [k0, k1], grids, box, colors, measure);
  const below = { y: box.top + box.down + 32, turn: 0, size: 11, color: colors.muted };
  const width = barWidth(box);
  made.push({ ...below, x: box.left, anchor: "start", text: legend.low });
  made.push({ ...below, x: box.left + width, anchor: "end", text: legend.high });
  made.push({ ...below, x: box.left + width + 10, anchor: "start", text: legend.name });
  if (legend.masked) {
    made.push({
      ...below, x: box.left + width + 40, y: box.top + box.down + 16, anchor: "start", text: "masked",
    });
  }
  made.push({ ...below, x: 2, y: box.top - 26, anchor: "start", text: "key →" });
  made.push({ ...below, x: 2, y: box.top - 12, anchor: "start", text: "query ↓" });
  return made;
}

// One side's labels: every token, or every so-manieth, or places in thousands.
function side(made, map, which, size, [low, high], grids, box, colors, measure) {
  const query = which === "query";
  const middle = query ? (at) => box.y(at + 0.5) : (at) => box.x(at + 0.5);
  const chosen = query ? map.selected : null;
  const named = labels(grids, which);
  const from = Math.max(Math.floor(low), 0);
  const to = Math.min(Math.ceil(high), map.shape[query ? 0 : 1]);
  const seen = (at) => at + 0.5 >= low && at + 0.5 <= high;
  const crowded = (at) => chosen !== null && at !== chosen && Math.abs(at - chosen) * size < LABEL;
  const step = Math.ceil((LABEL - 0.01) / size);
  const all = Array.from({ length: to - from }, (_, at) => from + at);
  if (step <= SPARSE && all.every((at) => named(at) !== null)) {
    const letter = Math.min(12, Math.max(9, size * step * 0.85));
    const flat = query || box.flat;
    const room = query ? box.left - 8 : box.flat ? size - 4 : box.top - 8;
    for (const at of all) {
      if (!seen(at) || (at !== chosen && (at % step || crowded(at)))) continue;
      const text = fit(named(at), room, letter, measure);
      const color = at === chosen ? colors.accent : colors.text;
      const place = query
        ? { x: box.left - 5, y: middle(at), anchor: "end" }
        : { x: middle(at), y: box.top - (flat ? 10 : 5), anchor: flat ? "middle" : "start" };
      made.push({ ...place, turn: flat ? 0 : -90, text, size: letter, color });
    }
    return;
  }
  const apart = nice(high - low);
  for (let at = Math.ceil(low / apart) * apart; at < to; at += apart) {
    if (!seen(at) || at === chosen || crowded(at)) continue;
    const place = query
      ? { x: box.left - 5, y: middle(at), anchor: "end" }
      : { x: Math.min(middle(at), box.width - 18), y: box.top - 9, anchor: "middle" };
    made.push({ ...place, turn: 0, text: thousands(at), size: 11, color: colors.muted });
  }
  if (chosen !== null && chosen >= low && chosen < high) {
    const text = `${thousands(chosen)} ▸`;
    made.push({ x: box.left - 5, y: middle(chosen), anchor: "end", turn: 0, text, size: 11, color: colors.accent });
  }
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
