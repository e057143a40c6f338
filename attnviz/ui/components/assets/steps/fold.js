// FlashAttention on one row: tiles of keys are read one after the other; the bars are
// exp(score - highest score so far), which shrink whenever a tile brings a higher score.
//
// Each tile has two steps: the comparison, which rescales what was added before, and the addition.

import { createPlayer, element, playerComponent } from "./step_player.js";
import { decimals, significant } from "../written_numbers.js";

export default playerComponent(".fold", build);

function build(root, data) {
  root.replaceChildren();
  const controls = element("div", "controls");
  const says = element("div", "says");
  says.setAttribute("aria-live", "polite");
  const bars = element("div", "bars");
  const fills = data.labels.map((label, at) => {
    const bar = element("div", "bar");
    bar.title = `${label} (${at})`;
    const fill = element("div", "fill");
    bar.append(fill);
    bars.append(bar);
    return fill;
  });
  const tiles = element("div", "tiles");
  const boxes = data.tiles.map((tile) => {
    const box = element("div", "tile", tile.start === tile.stop - 1 ? `${tile.start}` : `${tile.start}–${tile.stop - 1}`);
    box.style.gridColumn = `${tile.start + 1} / ${tile.stop + 1}`;
    tiles.append(box);
    return box;
  });
  tiles.style.gridTemplateColumns = `repeat(${data.labels.length}, minmax(0, 1fr))`;
  bars.style.gridTemplateColumns = tiles.style.gridTemplateColumns;
  const numbers = element("div", "numbers");
  const highest = number(numbers, "highest score so far");
  const factor = number(numbers, "earlier sums times");
  const total = number(numbers, "sum of exponentials");
  const error = number(numbers, "output differs from exact by");
  root.append(controls, says, bars, tiles, numbers);
  const draw = (step) => {
    const at = Math.ceil(step / 2) - 1; // the tile of this step; -1 before the first
    const added = step % 2 === 0 ? at : at - 1; // the last tile that was added
    const tile = data.tiles[at];
    data.labels.forEach((_, key) => {
      const place = data.tiles.findIndex((one) => key >= one.start && key < one.stop);
      const shown = place >= 0 && place <= added && data.scores[key] !== null;
      fills[key].style.height = shown ? `${100 * Math.exp(data.scores[key] - tile.highest)}%` : "0%";
      fills[key].classList.toggle("new", place === at && step % 2 === 0);
    });
    boxes.forEach((box, place) => {
      box.classList.toggle("read", place <= added);
      box.classList.toggle("now", place === at);
    });
    const sum = at < 0 ? 0 : step % 2 === 0 ? tile.total : tile.rescaled;
    highest.textContent = at < 0 ? "–" : decimals(tile.highest, 3);
    factor.textContent = at < 0 ? "–" : significant(tile.factor, 3);
    total.textContent = significant(sum, 4);
    error.textContent = added < 0 ? "–" : significant(data.tiles[added].error, 2);
    factor.parentElement.classList.toggle("changed", at > 0 && step % 2 === 1 && tile.factor < 1);
    says.textContent = sentence(data, step, at, tile);
  };
  return createPlayer(controls, 2 * data.tiles.length, draw);
}

function number(parent, name) {
  const box = element("div", "number");
  const value = element("span", "value");
  box.append(element("span", "name", name), value);
  parent.append(box);
  return value;
}

function sentence(data, step, at, tile) {
  if (at < 0) return "No tile is read yet. Press Step.";
  const name = `Tile ${at}`;
  if (step % 2 === 0) {
    const end = at === data.tiles.length - 1 ? " All tiles are read: divide by the sum." : "";
    return `${name} is added. The sum is ${significant(tile.total, 4)}.${end}`;
  }
  if (at === 0) return `${name} is read. Its highest score is ${decimals(tile.highest, 3)}.`;
  const earlier = data.tiles[at - 1].highest;
  return tile.factor < 1
    ? `${name} has a higher score: ${decimals(tile.highest, 3)} after ${decimals(earlier, 3)}. ` +
        `All earlier sums are multiplied by ${significant(tile.factor, 3)}.`
    : `${name} has no higher score. Earlier sums stay.`;
}
