// Bars of the probabilities of tokens. Labels are untrusted text: they reach the page as textContent.

import { markDrawn } from "./drawn.js";
import { isolate } from "./map_grids.js";

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".bars");
  root.setAttribute("role", "img");
  root.setAttribute("aria-label", data.alt);
  data.colors.forEach((color, at) => root.style.setProperty(`--state-${at}`, color));
  const several = data.states.length > 1;
  root.replaceChildren(...(several ? [legend(data.states)] : []), ...data.rows.map(row));
  markDrawn(root);
}

function legend(states) {
  const line = element("div", "legend");
  states.forEach((name, at) => line.append(bar(at, 0), element("span", "state", name)));
  return line;
}

function row({ label, widths, shares, exact }) {
  const line = element("div", "row");
  const name = element("span", "token", isolate(label));
  const track = element("span", "track");
  track.append(...widths.map((width, at) => bar(at, width)));
  line.append(name, track, element("span", "shares", shares.join(" → ")));
  line.title = `${label} ${exact.join(" → ")}`;
  return line;
}

function bar(state, width) {
  const one = element("span", "bar");
  one.style.background = `var(--state-${state})`;
  one.style.width = `${100 * width}%`;
  return one;
}

function element(tag, name, text = "") {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = text;
  return node;
}
