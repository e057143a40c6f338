// What is in view, what Python is asked for, and how the view moves.

const SMALLEST = 8; // tokens that fill the screen at the closest look
const MOST = 256; // numbers along a side of a grid

const whole = (state) => [0, state.map.shape[0], 0, state.map.shape[1]];
const all = (state) => String(whole(state));
const zoomed = (state) => String(state.view) !== all(state);

// Whole tokens in view, and the part that is asked for: as much around it as costs no detail.
function wanted(state) {
  const side = (low, high, count) => {
    const from = Math.max(Math.floor(low + 1e-6), 0);
    const to = Math.min(Math.ceil(high - 1e-6), count);
    const size = Math.min(count, Math.ceil((to - from) / MOST) * MOST);
    const start = Math.min(Math.max(Math.floor((from + to - size) / 2), 0), count - size);
    return { seen: [from, to], region: [start, start + size] };
  };
  const [q0, q1, k0, k1] = state.view;
  const rows = side(q0, q1, state.map.shape[0]);
  const columns = side(k0, k1, state.map.shape[1]);
  return {
    window: [...rows.seen, ...columns.seen],
    region: [...rows.region, ...columns.region],
    steps: [rows, columns].map(({ seen: [from, to] }) => Math.ceil((to - from) / MOST)),
  };
}

// A grid that shows all that is in view as finely as it can be sent.
function suiting(state) {
  const { window: seen, steps } = wanted(state);
  return state.grids.find(
    ({ window: [q0, q1, k0, k1], steps: own }) =>
      q0 <= seen[0] && q1 >= seen[1] && k0 <= seen[2] && k1 >= seen[3] &&
      own[0] <= steps[0] && own[1] <= steps[1]
  );
}

// Grids that are no finer than the window can show: finer ones would be thinned out, not pooled.
function fitting(state) {
  const { steps } = wanted(state);
  const coarse = state.grids.filter((grid) => grid.steps[0] >= steps[0] && grid.steps[1] >= steps[1]);
  return coarse.length ? coarse : state.grids;
}

function settle(state, wait = 140) {
  clearTimeout(state.timer);
  state.timer = setTimeout(() => {
    if (!state.root.isConnected || !state.map) return;
    const has = Boolean(suiting(state));
    if (has && state.map.small) return; // all of it is here, and Python need not know what is in view
    const { window, region } = wanted(state);
    const { text, identity } = state.map;
    const view = { text, identity, window, region, has };
    // A page that was told once is not told again; one that did not answer may be asked anew.
    const asked = JSON.stringify(view);
    if (has && asked === state.asked) return;
    state.asked = asked;
    state.send({ ...view, turn: Math.random() }); // each asking is answered once
  }, wait);
}

// Zoom by a factor about a point of the map, or move; the window stays on the map.
function look(state, factor, query, key, byQuery = 0, byKey = 0) {
  const [queries, keys] = state.map.shape;
  const side = (low, high, count, at, by) => {
    const least = Math.min(SMALLEST, count);
    const size = Math.min(Math.max((high - low) * factor, least), count);
    const start = at - ((at - low) / (high - low)) * size + by;
    const from = Math.min(Math.max(start, 0), count - size);
    return [from, from + size];
  };
  const [q0, q1, k0, k1] = state.view;
  const rows = side(q0, q1, queries, query ?? (q0 + q1) / 2, byQuery);
  const columns = side(k0, k1, keys, key ?? (k0 + k1) / 2, byKey);
  state.view = [...rows, ...columns];
  state.tip.hidden = true;
  draw(state);
  settle(state);
}

function reveal(state) {
  const chosen = state.map.selected;
  const [q0, q1] = state.view;
  if (chosen === null || (chosen >= q0 && chosen < q1)) return;
  look(state, 1, null, null, chosen + 0.5 - (q0 + q1) / 2, 0);
}

function act(state, what) {
  if (what === "whole") {
    state.view = whole(state);
    draw(state);
    settle(state);
  } else {
    const at = state.cursor;
    look(state, what === "in" ? 0.5 : 2, at?.queries[0], at?.keys[0]);
  }
}
