// The Plotly figure of a map: traces and layout from the specification and the grids.
//
// Position i covers [i, i + 1] on an axis. Colours, colour bar, hatching, captions and frames come
// from Python (`attnviz.views.maps.map_style`), where the same parts make `draw_weights`.

import { escapeText, ticksOf } from "./map_layout.js";
import { drawableGrids, suitableGrid } from "./map_window.js";
import { betterTextColor, channels, colorAt } from "./page_colors.js";
import { decimals } from "./written_numbers.js";

// Cells lie on a second pair of axes above the first, so that hatching stays behind them.
const CELLS = { xaxis: "x2", yaxis: "y2" };
const LARGEST_TEXT = 12; // pixels, of a number in a cell
const CLEAR = [[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]];

export function figureOf(state, style, measure) {
  const { map, box } = state;
  const exact = suitableGrid(state);
  const grids = exact ? [exact] : [...drawableGrids(state)].sort((a, b) => area(b) - area(a));
  const highest = map.highest ?? grids.at(-1)?.highest ?? 1;
  const range = map.log ? [Math.log10(map.log), 0] : [map.signed ? -highest : map.lowest ?? 0, highest];
  // Plotly draws axes only where a trace uses them.
  const data = [{ type: "scatter", x: [null], y: [null], hoverinfo: "skip" }];
  if (grids.some((grid) => grid.masked && !grid.pictureRows)) data.push(hatching(state, style));
  if (exact?.pictureRows) data.push(hatching(state, style), pictures(map, exact, style));
  else grids.forEach((grid, number) => data.push(...cells(state, grid, style, range, number === grids.length - 1)));
  if (map.numbers && exact) data.push(...cellTexts(state, exact, style, range, measure));
  const rows = ticksOf(state, "row", measure);
  const columns = ticksOf(state, "column", measure);
  const [r0, r1, c0, c1] = state.window;
  const axis = (ticks, from, to) => ({
    range: [from, to],
    fixedrange: true,
    showgrid: false,
    zeroline: false,
    showline: !map.gap,
    mirror: true,
    linecolor: style.line,
    tickmode: "array",
    tickvals: ticks.positions.map((at) => at + 0.5),
    ticktext: ticks.texts,
    tickfont: { size: ticks.size, color: style.text },
    tickangle: ticks.upright ? -90 : 0,
    ticks: ticks.marks ? "outside" : "",
    ticklen: ticks.marks,
    tickcolor: style.muted,
    ticklabelstandoff: 2,
    automargin: false,
  });
  const layout = {
    width: box.width,
    height: box.height,
    margin: { l: box.left, r: box.width - box.left - box.across, t: box.top, b: box.height - box.top - box.down, pad: 0 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.font, size: 12, color: style.text },
    showlegend: false,
    xaxis: { ...axis(columns, c0, c1), side: "top" },
    yaxis: axis(rows, r1, r0),
    xaxis2: { overlaying: "x", visible: false, fixedrange: true, range: [c0, c1] },
    yaxis2: { overlaying: "y", visible: false, fixedrange: true, range: [r1, r0] },
    shapes: [...gaps(state, style), ...marks(state, style), ...frames(state, style)],
    annotations: captions(state, style),
  };
  return { data, layout };
}

const area = (grid) => grid.steps[0] * grid.steps[1];

// Strokes behind the whole plot, visible where the cells above are open; between cells that are
// apart they would be seen too, and lie behind the open cells alone.
function hatching({ window: [r0, r1, c0, c1], map, grids }, style) {
  const places = map.gap && grids.length === 1 && !grids[0].pictureRows ? openCells(grids[0]) : [[r0, r1, c0, c1]];
  return {
    type: "scatter",
    mode: "lines",
    x: places.flatMap(([, , left, right]) => [left, right, right, left, null]),
    y: places.flatMap(([top, bottom]) => [top, top, bottom, bottom, null]),
    fill: "toself",
    line: { width: 0 },
    fillpattern: style.fillpattern,
    hoverinfo: "skip",
  };
}

// The windows of the cells without a number.
function openCells({ window: [top, , left], rows, columns, steps: [down, across], values }) {
  const windows = [];
  for (let at = 0; at < rows * columns; at++) {
    if (Number.isFinite(values[at]) || values[at] === Infinity) continue;
    const row = top + Math.floor(at / columns) * down;
    const column = left + (at % columns) * across;
    windows.push([row, row + down, column, column + across]);
  }
  return windows;
}

function cells({ map }, grid, style, [low, high], withBar) {
  const aside = new Set(grid.steps[1] === 1 ? map.aside.map((key) => key - grid.window[2]) : []);
  const grey = [];
  const z = [];
  let anyGrey = false;
  for (let row = 0; row < grid.rows; row++) {
    const values = grid.values.slice(row * grid.columns, (row + 1) * grid.columns);
    const covered = new Float32Array(grid.columns).fill(NaN);
    for (let column = 0; column < grid.columns; column++) {
      const value = values[column];
      if (value === Infinity || (aside.has(column) && !Number.isNaN(value))) {
        covered[column] = 1;
        anyGrey = true;
        values[column] = NaN;
      } else if (value === -Infinity) {
        values[column] = NaN;
      } else if (map.log && !Number.isNaN(value)) {
        values[column] = Math.log10(Math.max(value, map.log));
      }
    }
    z.push(values);
    grey.push(covered);
  }
  const place = {
    type: "heatmap",
    x0: grid.window[2] + grid.steps[1] / 2,
    dx: grid.steps[1],
    y0: grid.window[0] + grid.steps[0] / 2,
    dy: grid.steps[0],
    hoverinfo: "skip",
    ...CELLS,
    xgap: map.gap,
    ygap: map.gap,
  };
  const { heatmap } = style;
  const traces = [
    {
      ...place,
      z,
      zmin: low,
      zmax: high,
      colorscale: heatmap.colorscale,
      showscale: withBar && !map.bare,
      colorbar: heatmap.colorbar,
    },
  ];
  if (anyGrey) {
    const tone = [[0, style.grey], [1, style.grey]];
    traces.push({ ...place, z: grey, zmin: 0, zmax: 1, colorscale: tone, showscale: false });
  }
  return traces;
}

// The pictures of all cells are one fine heatmap over the same axes.
function pictures(map, grid, style) {
  const [down, across] = grid.pictures;
  const { heatmap } = style;
  return {
    type: "heatmap",
    x0: 0.5 / across,
    dx: 1 / across,
    y0: 0.5 / down,
    dy: 1 / down,
    z: grid.pictureRows,
    zmin: 0,
    zmax: 1,
    colorscale: heatmap.colorscale,
    colorbar: heatmap.colorbar,
    showscale: !map.bare,
    hoverinfo: "skip",
    ...CELLS,
  };
}

// Strips in the page's colour keep the pictures apart.
function gaps({ map, grids }, style) {
  if (!grids[0]?.pictureRows) return [];
  const [rows, columns] = map.shape;
  const strip = (x0, x1, y0, y1) => ({
    type: "line", xref: "x2", yref: "y2", x0, x1, y0, y1, line: { color: style.page, width: map.gap },
  });
  return [
    ...Array.from({ length: rows + 1 }, (_, row) => strip(0, columns, row, row)),
    ...Array.from({ length: columns + 1 }, (_, column) => strip(column, column, 0, rows)),
  ];
}

// The numbers in their cells, in the text colour with the better contrast. Two unseen maps write them.
function cellTexts({ map, box }, grid, style, [low, high], measure) {
  const digits = Math.max(...grid.values.map((one) => (Number.isFinite(one) ? Math.abs(one) : 0)));
  const places = map.decimals ?? (digits >= 100 ? 0 : digits >= 10 ? 1 : 2);
  const textColors = [style.page, style.text];
  const colors = style.heatmap.colorscale.map(([, color]) => channels(color));
  const widest = measure(decimals(-digits, places), LARGEST_TEXT);
  const room = box.across / grid.columns - map.gap - 2;
  const size = Math.min(map.textSize ?? LARGEST_TEXT, (LARGEST_TEXT * room) / widest);
  const lines = Array.from({ length: grid.rows }, (_, row) =>
    Array.from(grid.values.subarray(row * grid.columns, (row + 1) * grid.columns), (value) => {
      if (!Number.isFinite(value)) return {};
      const shade = betterTextColor(colorAt(colors, (value - low) / (high - low)), textColors);
      return { value, shade, text: decimals(value, places) };
    })
  );
  return textColors.map((textColor, number) => ({
    type: "heatmap", x0: 0.5, dx: 1, y0: 0.5, dy: 1,
    z: lines.map((line) => line.map(({ value, shade }) => (shade === number ? value : null))),
    // An empty text where the other map writes: Plotly writes where there is no number, too.
    text: lines.map((line) => line.map(({ text, shade }) => (shade === number ? text : ""))),
    colorscale: CLEAR, showscale: false, hoverinfo: "skip", ...CELLS,
    texttemplate: "%{text}", textfont: { color: textColor, size },
  }));
}

// Diagonals of the map, outlined: the cells (row, row - offset).
function marks({ map }, style) {
  const length = map.shape[0];
  return map.marks.map(({ offset }, number) => {
    const last = length - offset;
    const corners = [
      [0, offset], [1, offset], [last, length - 1], [last, length], [last - 1, length], [0, offset + 1],
    ];
    return {
      type: "path",
      path: `M ${corners.map((one) => one.join(" ")).join(" L ")} Z`,
      line: style.marks[number],
      layer: "above",
      xref: "x2",
      yref: "y2",
    };
  });
}

function frames({ map, cursor, box, window: [r0, r1, c0, c1] }, style) {
  const rectangle = ([x0, x1], [y0, y1], width) => ({
    type: "rect", xref: "x2", yref: "y2", x0, x1, y0, y1, line: { color: style.frame.color, width }, fillcolor: "rgba(0,0,0,0)",
  });
  const shapes = [];
  if (map.selected) {
    const [row, column] = map.selected;
    const thin = box.down / (r1 - r0) <= 5;
    const across = column === null ? [c0, c1] : [column, column + 1];
    shapes.push(rectangle(across, [row, row + 1], thin ? 1 : style.frame.width));
  }
  if (cursor) {
    shapes.push(rectangle([cursor.columns[0], cursor.columns[1] + 1], [cursor.rows[0], cursor.rows[1] + 1], 2));
  }
  return shapes;
}

function captions({ map, box, grids }, style) {
  const base = { xref: "paper", yref: "paper", showarrow: false };
  const notes = [];
  if (map.corner && !map.plain) {
    notes.push({
      ...base, text: map.corner, x: 0, y: 1, xanchor: "right", yanchor: "bottom", align: "right",
      xshift: -5, yshift: 3, font: { size: 10, color: style.muted },
    });
  }
  if (map.marks.length) {
    const lines = map.marks.map(({ offset, name }, number) => {
      const { color, dash } = style.marks[number];
      const stroke = dash === "solid" ? "──" : "┄┄";
      return `<span style="color:${color}">${stroke}</span> ${escapeText(name)}: key = query − ${offset}`;
    });
    // In the upper right corner, where a causal map has nothing to show.
    notes.push({
      ...base, text: lines.join("<br>"), x: 1, y: 1, xanchor: "right", yanchor: "top", align: "left",
      xshift: -8, yshift: -8, bgcolor: style.page, bordercolor: style.line, borderpad: 5,
      font: { size: 11, color: style.text },
    });
  }
  if (map.bare) return notes;
  const below = { ...base, y: 0, yanchor: "top", yshift: -4, font: { size: 11, color: style.muted } };
  notes.push({ ...below, text: escapeText(map.caption), x: 0, xanchor: "left", xshift: -1 });
  if (grids.some((grid) => grid.masked)) {
    const shift = Math.max(box.across, 230);
    const text = map.maskedCaption + (grids.some((grid) => grid.broken) ? " or NaN" : "");
    notes.push({ ...below, text, x: 0, xanchor: "right", xshift: shift });
  }
  return notes;
}
