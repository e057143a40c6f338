// Picture of many small maps: a student clicks one ("pick"), or gives each a name ("names"). The map
// that was clicked or pointed at last is drawn large beside or below them, where the step has its tokens.

import { button, element } from "./elements.js";
import { largeMap } from "./large_map.js";
import { mapBox } from "./map_box.js";
import { linkTo } from "./marks.js";
import { format, numbersOf, resolve } from "./numbers.js";

export function create(context) {
  const { scene, step } = context;
  const labels = scene.labels[step.show.rows];
  const shape = scene.arrays[step.show.maps].shape.slice(-2);
  const root = element("div", "thumbs");
  root.style.setProperty("--across", step.show.across ?? Math.ceil(Math.sqrt(labels.length)));
  const names = step.predict.kind === "names" ? scene.labels[step.predict.names] : [];
  const picture = { context, root, element: root, chosen: null, names, cells: [] };
  const bar = element("div", "names");
  picture.buttons = names.map((name, at) => button("name", name, () => choose(picture, at)));
  picture.buttons.forEach((one, at) => {
    one.draggable = true;
    one.addEventListener("dragstart", () => choose(picture, at, true));
  });
  bar.append(...picture.buttons);
  const grid = element("div", "thumb-grid");
  labels.forEach((label, at) => {
    const cell = button("thumb", "", () => click(picture, at));
    cell.dataset.pick = at;
    linkTo(cell, context, "weight", at);
    cell.addEventListener("pointerenter", () => look(picture, at));
    cell.addEventListener("focus", () => look(picture, at));
    const [rows, columns] = shape;
    const says = context.say("weights_of", { head: label });
    const map = mapBox(context, "weights", { rows, columns, label: says, fields: { plain: true, bare: true } });
    const given = element("span", "given");
    const number = element("span", "number");
    cell.append(element("span", "name-of-head", label), map.element, given, number);
    cell.addEventListener("dragover", (event) => event.preventDefault());
    cell.addEventListener("drop", (event) => {
      event.preventDefault();
      click(picture, at);
    });
    grid.append(cell);
    picture.cells.push({ cell, map, given, number });
  });
  const row = element("div", "thumb-row");
  row.append(grid);
  root.append(row);
  grid.addEventListener("pointerleave", () => look(picture, null));
  const tokens = scene.labels[step.show.tokens];
  picture.large = tokens ? largeMap(context, tokens) : null;
  if (picture.large) {
    row.append(picture.large.element);
    row.classList.add("with-large");
    picture.light = (places) => picture.large.light(places);
  }
  if (names.length) root.prepend(bar);
  picture.paint = () => paint(picture);
  picture.distance = () => distance(picture);
  return picture;
}

function choose(picture, at, keep = false) {
  picture.chosen = picture.chosen === at && !keep ? null : at;
  paint(picture);
}

// Draw a map large.
function look(picture, at) {
  if (picture.looked === at) return;
  picture.last = picture.looked ?? picture.last;
  picture.looked = at;
  drawLarge(picture);
}

function drawLarge(picture) {
  const { context, cells, large } = picture;
  if (!large) return;
  const { scene, step, controls, revealed, guess } = context;
  const chosen = revealed ? controls.frame : typeof guess === "number" ? guess : picture.last;
  const at = picture.looked ?? chosen ?? 0;
  const numbers = numbersOf(context, step.show.maps);
  const size = numbers.length / cells.length;
  large.draw(numbers.subarray(at * size, (at + 1) * size), scene.labels[step.show.rows][at]);
}

function click(picture, at) {
  const { context, names } = picture;
  look(picture, at);
  if (context.revealed) {
    if (context.step.change.kind !== "map") return;
    context.control("frame", at);
    return context.rest();
  }
  if (!names.length) return context.predict(at);
  const given = context.guess ?? new Array(picture.cells.length).fill(null);
  const next = given.map((one) => (one === picture.chosen ? null : one));
  next[at] = picture.chosen;
  picture.chosen = null;
  context.predict(next);
}

function paint(picture) {
  const { context, cells, names } = picture;
  const { scene, step, revealed, guess, controls } = context;
  const numbers = numbersOf(context, step.show.maps);
  const size = numbers.length / cells.length;
  const truth = revealed && step.predict.kind === "pick" ? resolve(scene, step.predict.truth) : null;
  const right = revealed && names.length ? scene.arrays[step.predict.of].numbers : null;
  const scores = revealed && step.show.number ? numbersOf(context, step.show.number) : null;
  cells.forEach(({ cell, map, given, number }, at) => {
    map.draw(numbers.subarray(at * size, (at + 1) * size));
    cell.classList.toggle("picked", names.length ? guess?.[at] != null : guess === at);
    cell.classList.toggle("truth", truth === at);
    const mine = names.length && guess?.[at] != null ? names[guess[at]] : "";
    given.replaceChildren();
    if (right) {
      if (mine && guess[at] !== right[at]) given.append(element("s", "", mine), " ");
      given.append(names[right[at]]);
    } else given.textContent = mine;
    cell.classList.toggle("looked", revealed && controls.frame === at);
    number.textContent = scores ? format(scores[at], 2) : "";
    cell.setAttribute("aria-pressed", String(!names.length && guess === at));
  });
  picture.buttons.forEach((one, at) => {
    one.setAttribute("aria-pressed", String(picture.chosen === at));
    one.disabled = revealed;
    one.classList.toggle("given-away", Boolean(guess?.includes?.(at)));
  });
  drawLarge(picture);
}

function distance(picture) {
  const { context, names } = picture;
  const { step, guess, scene } = context;
  if (names.length) {
    const right = scene.arrays[step.predict.of].numbers;
    const wrong = Array.from(right).filter((one, at) => guess[at] !== one).length;
    return { apart: wrong / right.length, text: context.say("names_elsewhere", { wrong, count: right.length }) };
  }
  const scores = numbersOf(context, step.predict.of);
  const right = resolve(scene, step.predict.truth);
  const labels = scene.labels[step.show.rows];
  const apart = Math.max(0, scores[right] - scores[guess]);
  if (guess === right) return { apart, text: context.say("right_one") };
  const here = { label: labels[guess], number: format(scores[guess]) };
  const there = { right_label: labels[right], right: format(scores[right]) };
  return { apart, text: context.say("has_and_right", { ...here, ...there }) };
}
