// One map of weights with its tokens on both sides. Pointing at a cell reads it out and lights up
// its two tokens.

import { element } from "./elements.js";
import { mapBox } from "./map_box.js";

// `labels` are the tokens along both sides; the result has `draw(numbers, title)` and `light(places)`.
export function largeMap(context, labels) {
  const root = element("figure", "large-map");
  const title = element("figcaption", "");
  const says = element("div", "map-says");
  says.setAttribute("aria-live", "polite");
  const map = mapBox(context, "weights", {
    rows: labels,
    label: context.say("weight"),
    point(cell) {
      context.mark(cell && [{ kind: "query", place: String(cell.rows[0]) }, { kind: "key", place: String(cell.columns[0]) }]);
      says.textContent = cell ? map.text(cell) : "";
    },
  });
  root.append(title, map.element, says);
  return {
    element: root,
    draw(numbers, text) {
      title.textContent = text;
      map.draw(numbers);
    },
    light: map.light,
  };
}
