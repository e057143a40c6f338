// The part of a map that is on the screen: zoom, movement, and the request for finer numbers.

const SMALLEST = 8; // positions along a side at the closest zoom
const MOST = 256; // numbers along a side of one grid

export const wholeWindow = (state) => [0, state.map.shape[0], 0, state.map.shape[1]];
export const isZoomed = (state) => String(state.window) !== String(wholeWindow(state));

// Positions in view, the region to request (as large as costs no detail), and positions per number.
export function wanted(state) {
  const side = (low, high, count) => {
    const from = Math.max(Math.floor(low + 1e-6), 0);
    const to = Math.min(Math.ceil(high - 1e-6), count);
    const size = Math.min(count, Math.ceil((to - from) / MOST) * MOST);
    const start = Math.min(Math.max(Math.floor((from + to - size) / 2), 0), count - size);
    return { seen: [from, to], region: [start, start + size] };
  };
  const [r0, r1, c0, c1] = state.window;
  const rows = side(r0, r1, state.map.shape[0]);
  const columns = side(c0, c1, state.map.shape[1]);
  return {
    window: [...rows.seen, ...columns.seen],
    region: [...rows.region, ...columns.region],
    steps: [rows, columns].map(({ seen: [from, to] }) => Math.ceil((to - from) / MOST)),
  };
}

// Return the grid that covers the window at the finest detail that can be sent, if it is here.
export function suitableGrid(state) {
  const { window: seen, steps } = wanted(state);
  return state.grids.find(
    ({ window: [r0, r1, c0, c1], steps: held }) =>
      r0 <= seen[0] && r1 >= seen[1] && c0 <= seen[2] && c1 >= seen[3] &&
      held[0] <= steps[0] && held[1] <= steps[1]
  );
}

// Grids no finer than the window can show: finer ones would be thinned out instead of pooled.
export function drawableGrids(state) {
  const { steps } = wanted(state);
  const coarse = state.grids.filter((grid) => grid.steps[0] >= steps[0] && grid.steps[1] >= steps[1]);
  return coarse.length ? coarse : state.grids;
}

// Report the window to Python, once it has been still for a moment, if Python has to know it.
export function settle(state, wait = 140) {
  clearTimeout(state.timer);
  state.timer = setTimeout(() => {
    if (!state.root.isConnected || !state.map) return;
    const has = Boolean(suitableGrid(state));
    if (has && state.map.small) return; // every number is here
    const { window, region } = wanted(state);
    const { text, identity } = state.map;
    const view = { text, identity, window, region, has };
    const request = JSON.stringify(view);
    if (has && request === state.lastRequest) return;
    state.lastRequest = request;
    state.sendView({ ...view, turn: Math.random() }); // each request is answered once
  }, wait);
}

// Zoom by a factor around a position, or move; the window stays inside the map.
export function changeWindow(state, factor, row, column, byRows = 0, byColumns = 0) {
  const [rows, columns] = state.map.shape;
  const side = (low, high, count, at, by) => {
    const least = Math.min(SMALLEST, count);
    const size = Math.min(Math.max((high - low) * factor, least), count);
    const start = at - ((at - low) / (high - low)) * size + by;
    const from = Math.min(Math.max(start, 0), count - size);
    return [from, from + size];
  };
  const [r0, r1, c0, c1] = state.window;
  state.window = [
    ...side(r0, r1, rows, row ?? (r0 + r1) / 2, byRows),
    ...side(c0, c1, columns, column ?? (c0 + c1) / 2, byColumns),
  ];
  state.draw();
  settle(state);
}

// Move the window to the selected row if it is outside.
export function revealSelected(state) {
  const row = state.map.selected?.[0] ?? null;
  const [r0, r1] = state.window;
  if (row === null || (row >= r0 && row < r1)) return;
  changeWindow(state, 1, null, null, row + 0.5 - (r0 + r1) / 2, 0);
}

export function zoomAction(state, action) {
  if (action === "whole") {
    state.window = wholeWindow(state);
    state.draw();
    settle(state);
  } else {
    changeWindow(state, action === "in" ? 0.5 : 2, state.cursor?.rows[0], state.cursor?.columns[0]);
  }
}

export const atClosestZoom = (state) => {
  const [r0, r1, c0, c1] = state.window;
  return r1 - r0 <= Math.min(SMALLEST, state.map.shape[0]) && c1 - c0 <= SMALLEST;
};
