// Tokens as chips: point at one to see where it looks, or who looks at it.
//
// Everything here happens in the browser; a message is sent only for the token that was chosen.
// Tokens are untrusted text: they reach the page through textContent and setAttribute alone.
// The events attnviz:cell (from a map) and attnviz:token (to a map) link both pictures of one text.

import { byteNotes } from "./byte_pieces.js";
import { markDrawn } from "./drawn.js";
import { isolate } from "./map_grids.js";
import { betterTextColor, colorAt, isDark } from "./page_colors.js";
import { decimals, exact } from "./written_numbers.js";

const MASKED = 0xffff;
const FULL = 0xfffe;
const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const state = states.get(parentElement) ?? create(parentElement);
  states.set(parentElement, state);
  state.send = (index) => setTriggerValue("clicked", { index, tokens: state.strip.identity });
  update(state, decode(data));
  markDrawn(state.root);
  document.addEventListener("attnviz:cell", state.pointCell);
  return () => document.removeEventListener("attnviz:cell", state.pointCell);
}

// The bytes: length of the JSON header (4), the header, then numbers of two bytes: where each
// query's visible keys start and stop, and the weights of these stretches, one after the other.
function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const numbers = new Uint16Array(bytes.slice(4 + length).buffer);
  const rows = header.queries.length;
  const columns = header.keys.length;
  const weights = new Uint16Array(rows * columns).fill(MASKED);
  let at = 2 * rows;
  for (let row = 0; row < rows; row++) {
    const [start, stop] = numbers.subarray(2 * row, 2 * row + 2);
    weights.set(numbers.subarray(at, at + stop - start), row * columns + start);
    at += stop - start;
  }
  const queryNotes = byteNotes(header.queries);
  const keyNotes = byteNotes(header.keys);
  return { ...header, queryNotes, keyNotes, weights };
}

function create(parentElement) {
  const root = parentElement.querySelector(".strip");
  const state = {
    root,
    tools: root.querySelector(".tools"),
    lists: root.querySelector(".lists"),
    says: root.querySelector(".says"),
    chips: { query: [], key: [] },
    direction: "query",
    pinned: null,
    pointed: null,
    cell: null, // the cell under the pointer in a map of the same text: { query, key }
    strip: null,
  };
  state.pointCell = (event) => pointCell(state, event.detail);
  // The page's colours change without a run of the script when the theme is switched.
  root.addEventListener("transitionend", (event) => {
    if (event.target === root) paint(state);
  });
  return state;
}

function update(state, strip) {
  const before = state.strip;
  state.strip = strip;
  if (!before || before.identity !== strip.identity) {
    state.pinned = null;
    state.pointed = null;
    state.cell = null;
    build(state);
  }
  if (!before || before.identity !== strip.identity || before.selected !== strip.selected) {
    state.pinned =
      strip.selected === null ? null : { side: home(state), index: strip.selected };
  }
  paint(state);
}

// Where a choice made by the page is shown: in one strip both directions start at the same chip.
function home(state) {
  return state.strip.same ? state.direction : "query";
}

function build(state) {
  const { strip, tools, lists } = state;
  tools.replaceChildren();
  lists.replaceChildren();
  if (strip.same) {
    state.direction = "query";
    for (const [side, text] of [["query", "where it looks"], ["key", "who looks at it"]]) {
      const button = element("button", "direction", text);
      button.type = "button";
      button.dataset.side = side;
      button.addEventListener("click", () => {
        state.direction = side;
        if (state.pinned) state.pinned = { ...state.pinned, side };
        paint(state);
      });
      tools.append(button);
    }
    state.chips.query = state.chips.key = list(state, null, strip.queries, `${strip.unit}s of the text`);
  } else {
    state.chips.query = list(state, "query", strip.queries, strip.query_title);
    state.chips.key = list(state, "key", strip.keys, strip.key_title);
  }
  tools.hidden = !strip.same;
}

function list(state, side, labels, title) {
  if (side) state.lists.append(element("div", "title", title));
  const group = element("div", "chips");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", title);
  const chips = labels.map((label, index) => {
    const chip = element("button", "chip");
    chip.type = "button";
    chip.tabIndex = index === 0 ? 0 : -1;
    const word = element("span", "word", label);
    word.dir = "auto";
    const number = element("span", "number");
    number.setAttribute("aria-hidden", "true");
    chip.append(word, number);
    const here = () => ({ side: side ?? state.direction, index });
    chip.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") point(state, here());
    });
    chip.addEventListener("focus", () => {
      if (chip.matches(":focus-visible")) point(state, here());
    });
    chip.addEventListener("blur", () => point(state, null));
    chip.addEventListener("click", () => choose(state, here()));
    return chip;
  });
  group.addEventListener("pointerleave", () => point(state, null));
  group.addEventListener("keydown", (event) => walk(state, chips, event));
  group.append(...chips);
  // A fade at the lower edge while there are lines below it.
  const fade = () => {
    const below = group.scrollHeight - group.scrollTop - group.clientHeight;
    group.classList.toggle("longer", below > 8);
  };
  group.addEventListener("scroll", fade);
  new ResizeObserver(fade).observe(group);
  state.lists.append(group);
  return chips;
}

function point(state, target) {
  state.pointed = target;
  const { strip } = state;
  const first = target && strip.first[target.side === "query" ? 0 : 1];
  const detail = target && { text: strip.text, side: target.side, index: target.index + first };
  document.dispatchEvent(new CustomEvent("attnviz:token", { detail }));
  paint(state);
}

// Show the row of the cell that the pointer is on in a map, and mark its key.
function pointCell(state, cell) {
  const { strip } = state;
  if (!strip) return;
  const query = cell ? cell.query - strip.first[0] : -1;
  const key = cell ? cell.key - strip.first[1] : -1;
  const here = cell && cell.text === strip.text && strip.queries[query] !== undefined;
  if (!here && !state.cell) return;
  state.cell = here ? { query, key } : null;
  paint(state);
}

function choose(state, target) {
  const again =
    state.pinned && state.pinned.side === target.side && state.pinned.index === target.index;
  state.pinned = again ? null : target;
  if (again) state.pointed = null;
  paint(state);
  // A key of another text is looked at here only: the page follows queries.
  if (state.strip.same || target.side === "query") state.send(again ? null : target.index);
}

// One tab stop per list; the arrows walk, up and down to the nearest chip of the next line.
function walk(state, chips, event) {
  const at = chips.indexOf(event.target.closest(".chip"));
  if (at < 0) return;
  const next = {
    ArrowRight: () => at + 1,
    ArrowLeft: () => at - 1,
    Home: () => 0,
    End: () => chips.length - 1,
    ArrowDown: () => nearest(chips, at, 1),
    ArrowUp: () => nearest(chips, at, -1),
  }[event.key];
  if (event.key === "Escape" && state.pinned) {
    choose(state, state.pinned);
    event.preventDefault();
  }
  if (!next) return;
  event.preventDefault();
  const chip = chips[Math.max(0, Math.min(chips.length - 1, next()))];
  for (const other of chips) other.tabIndex = other === chip ? 0 : -1;
  chip.focus();
}

function nearest(chips, at, step) {
  const middle = (box) => box.left + box.width / 2;
  const from = chips[at].getBoundingClientRect();
  let best = at;
  let line = null;
  for (let index = at + step; index >= 0 && index < chips.length; index += step) {
    const box = chips[index].getBoundingClientRect();
    if (Math.abs(box.top - from.top) < 4) continue;
    if (line !== null && Math.abs(box.top - line) >= 4) break;
    const closer =
      line === null ||
      Math.abs(middle(box) - middle(from)) <
        Math.abs(middle(chips[best].getBoundingClientRect()) - middle(from));
    line = box.top;
    if (closer) best = index;
  }
  return best;
}

// Weights of one row (where a query looks) or one column (who looks at a key); null is masked.
function weightsOf(strip, target) {
  const columns = strip.keys.length;
  const rows = strip.queries.length;
  const read = (at) => (strip.weights[at] === MASKED ? null : strip.weights[at] / FULL);
  return target.side === "query"
    ? Array.from({ length: columns }, (_, key) => read(target.index * columns + key))
    : Array.from({ length: rows }, (_, query) => read(query * columns + target.index));
}

function paint(state) {
  const { strip, chips } = state;
  if (!strip) return;
  const { cell } = state;
  const active = state.pointed ?? (cell ? { side: "query", index: cell.query } : state.pinned);
  const colors = isDark(state.root) ? strip.dark : strip.light;
  state.root.style.setProperty("--selected", colors.accent);
  state.root.style.setProperty("--muted", colors.muted);
  for (const button of state.tools.children) {
    button.setAttribute("aria-pressed", String(button.dataset.side === state.direction));
  }
  const weights = active ? weightsOf(strip, active) : null;
  const side = active ? (active.side === "query" ? "key" : "query") : null;
  for (const row of new Set([chips.query, chips.key])) {
    const colored = active && (strip.same || row === chips[side]);
    row.forEach((chip, index) => {
      const weight = colored ? weights[index] : undefined;
      dress(chip, weight, colors);
      const home = strip.same || (active && row === chips[active.side]);
      chip.classList.toggle("active", Boolean(active && home && active.index === index));
      const keys = row === chips.key;
      chip.classList.toggle("linked", Boolean(cell && !state.pointed && keys && cell.key === index));
      const pinned = state.pinned;
      const held = pinned && pinned.index === index && (strip.same || row === chips[pinned.side]);
      chip.setAttribute("aria-pressed", String(Boolean(held)));
      const queries = row === chips.query;
      const place = index + strip.first[queries ? 0 : 1];
      const notes = queries ? strip.queryNotes : strip.keyNotes;
      describe(chip, (queries ? strip.queries : strip.keys)[index], notes[index], place, weight);
    });
  }
  state.says.textContent = sentence(strip, active, weights);
}

function dress(chip, weight, colors) {
  const number = chip.lastElementChild;
  chip.classList.toggle("masked", weight === null);
  if (weight === undefined || weight === null) {
    chip.style.removeProperty("background-color");
    chip.style.removeProperty("color");
    number.textContent = "";
    return;
  }
  const [fill, text] = shade(colors, weight);
  chip.style.backgroundColor = fill;
  chip.style.color = text;
  number.textContent = weight >= 0.005 ? decimals(weight) : "";
}

function describe(chip, label, note, at, weight) {
  const place = `${label} (${at})${note && `, ${note}`}`;
  const says =
    weight === undefined ? "" : weight === null ? ": masked" : `: weight ${exact(weight)}`;
  chip.title = place + says;
  chip.setAttribute("aria-label", place + says);
}

function sentence(strip, active, weights) {
  if (!active) return strip.hint;
  const [texts, others] =
    active.side === "query" ? [strip.queries, strip.keys] : [strip.keys, strip.queries];
  const [ownFirst, otherFirst] = active.side === "query" ? strip.first : [...strip.first].reverse();
  const best = weights
    .map((weight, index) => [weight ?? -1, index])
    .filter(([weight]) => weight >= 0.005)
    .sort((a, b) => b[0] - a[0])
    .slice(0, 4)
    .map(([weight, index]) => `${isolate(others[index])} (${index + otherFirst}) ${decimals(weight)}`);
  const who = `${isolate(texts[active.index])} (${active.index + ownFirst})`;
  const here = strip.whole ? "" : `among the ${strip.unit}s shown, `;
  if (!best.length) {
    return active.side === "query"
      ? `${here}${who} looks at nothing here`
      : `${here}no ${strip.unit} looks at ${who}`;
  }
  return active.side === "query"
    ? `${here}${who} looks at ${best.join(", ")}`
    : `${here}${who} is looked at by ${best.join(", ")}`;
}

// The heatmap's own colours, on the square root: a share of 0.05 is still seen on a word.
function shade(colors, weight) {
  const color = colorAt(colors.scale, Math.sqrt(weight));
  const textColors = [colors.page, colors.text];
  return [`rgb(${color.map(Math.round).join(",")})`, textColors[betterTextColor(color, textColors)]];
}

function element(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
