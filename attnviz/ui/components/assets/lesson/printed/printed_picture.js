// Picture of a step on paper: the same numbers as on the screen, in black and greys, before or after
// the prediction. What the student predicts is empty before it.

import { stateText } from "../change.js";
import { element } from "../elements.js";
import { barTable, ROWS, tickTable } from "./printed_bars.js";
import { curvePlot } from "./printed_curve.js";
import { MANY, matrixMap, smallMaps } from "./printed_maps.js";
import { arrowPlane, dotPlane } from "./printed_plane.js";
import { numberLine } from "./number_line.js";

const PICTURES = {
  arrows: arrowPlane, bars: barTable, curve: curvePlot, dots: dotPlane, matrix: matrixMap,
  thumbs: smallMaps, ticks: tickTable,
};

const CROWDED = 1.4; // times the width for three columns of bars, four of ticks, or maps beside a curve
const MOST = 400; // pixels
const FULL = 1.6; // times the width for more

// A figure of about the size { width, page, flat }: pixels of a picture beside a text and of the page,
// and the height of a curve as a share of its width. The context has `revealed`, and the controls of
// that state.
export function printedPicture(context, size) {
  const { step, scene, revealed } = context;
  const { show, predict } = step;
  const figure = element("figure", step.picture);
  const count = scene.labels[show.rows ?? "keys"]?.length ?? 0;
  const wide = count > ({ thumbs: MANY, bars: ROWS, ticks: ROWS }[step.picture] ?? Infinity);
  if (wide) figure.classList.add("wide");
  const columns = Math.max(show.columns?.length ?? 0, (scene.labels[show.across]?.length ?? 0) - 1, show.maps && show.axis ? 3 : 0);
  const width = wide ? size.page : Math.min(MOST, size.width * ({ 3: CROWDED, 4: FULL }[columns] ?? 1));
  figure.dataset.step = step.name;
  figure.style.width = `${width}px`;
  figure.append(...PICTURES[step.picture](context, width, size.flat));
  if (predict.kind === "number") figure.append(numberLine(context, width));
  const state = stateText(context);
  // What is drawn by hand has the state of the answer.
  const known = !["bars", "heights", "curve"].includes(predict.kind) && (show.frames || show.compute);
  if (state && (revealed || known)) figure.append(element("figcaption", "", state));
  return figure;
}
