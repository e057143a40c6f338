// From grids to colours on a canvas. Nothing here remembers anything but painted grids.

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
  grid.values.forEach((value, at) => {
    if (Number.isNaN(value)) return;
    const set = value === Infinity || hidden.has(at % grid.columns);
    const share = set ? 0 : Math.min(tone(map, value, highest), 1);
    image.data.set(set ? grey : ramp[Math.round(share * 1024)], 4 * at);
    image.data[4 * at + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  grid.name = name;
  grid.picture = canvas;
  return canvas;
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
function raster(context, map, grids, box, colors, legend, cursor) {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.across, box.down);
  context.clip();
  hatch(context, box, colors, box.left, box.top, box.across, box.down);
  context.imageSmoothingEnabled = false;
  const area = (grid) => grid.steps[0] * grid.steps[1];
  for (const grid of [...grids].sort((a, b) => area(b) - area(a))) {
    cells(context, map, grid, box, colors, legend.highest);
  }
  if (map.selected !== null) frameRow(context, map.selected, box, colors);
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
  bar(context, box, colors, legend.masked);
}

function cells(context, map, grid, box, colors, highest) {
  const [q0, q1, k0, k1] = box.view;
  const rows = bins(grid.window[0], grid.steps[0], grid.window[1], q0, q1);
  const columns = bins(grid.window[2], grid.steps[1], grid.window[3], k0, k1);
  if (!rows || !columns) return;
  const x = box.x(columns.from);
  const y = box.y(rows.from);
  const width = box.x(columns.to) - x;
  const height = box.y(rows.to) - y;
  context.clearRect(x, y, width, height);
  hatch(context, box, colors, x, y, width, height);
  context.drawImage(
    painted(grid, map, colors, highest),
    columns.first, rows.first, columns.count, rows.count,
    x, y, columns.count * grid.steps[1] * (box.x(1) - box.x(0)),
    rows.count * grid.steps[0] * (box.y(1) - box.y(0))
  );
}

function frameRow(context, row, box, colors) {
  const height = box.y(1) - box.y(0);
  context.strokeStyle = colors.accent;
  context.lineWidth = 2;
  if (height > 5) {
    context.strokeRect(box.left + 1, box.y(row), box.across - 2, height);
  } else {
    context.fillStyle = colors.accent;
    context.fillRect(box.left, box.y(row + 0.5) - 0.75, box.across, 1.5);
  }
}

function bar(context, box, colors, masked) {
  const y = box.top + box.down + 12;
  const width = barWidth(box);
  const fill = context.createLinearGradient(box.left, 0, box.left + width, 0);
  colors.scale.forEach((color, at) =>
    fill.addColorStop(at / (colors.scale.length - 1), `rgb(${color.join()})`)
  );
  context.fillStyle = fill;
  context.fillRect(box.left, y, width, 9);
  if (!masked) return;
  const swatch = box.left + width + 12;
  context.strokeStyle = colors.line;
  context.strokeRect(swatch + 0.5, y - 1.5, 20, 11);
  hatch(context, box, colors, swatch + 0.5, y - 1.5, 20, 11);
}
