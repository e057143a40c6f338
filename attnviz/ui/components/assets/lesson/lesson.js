// A lesson: steps with a prediction, a picture, one thing to change, and the truth.
//
// The server sends all vectors of a lesson once. Everything that moves is computed here, and a
// message is sent only when a step is chosen or a control rests. Guesses stay in this browser tab.
// Texts and tokens reach the page through textContent and setAttribute alone.

import { isDark } from "../page_colors.js";
import * as arrows from "./arrows.js";
import * as bars from "./bars.js";
import * as change from "./change.js";
import * as curve from "./curve.js";
import * as dots from "./dots.js";
import { build, writeTexts } from "./frame.js";
import * as guessLine from "./guess_line.js";
import { mark } from "./marks.js";
import { sayer } from "./say.js";
import { decode } from "./sent_lesson.js";
import * as ticks from "./ticks.js";
import { controlsAtStart, controlsAtTruth, fromNumbers, toNumbers } from "./numbers.js";
import * as matrix from "./matrix.js";
import * as thumbs from "./thumbs.js";

const PICTURES = { arrows, bars, curve, dots, matrix, thumbs, ticks };
const REVEAL = 900; // milliseconds from the start to the truth
const HIDEABLE = ["steps", "sentence", "change", "formula", "misconception", "keep", "handout"];
const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const state = states.get(parentElement) ?? create(parentElement);
  states.set(parentElement, state);
  state.send = (place) => setStateValue("place", place);
  update(state, decode(data));
  document.addEventListener("keydown", state.onKey);
  return () => document.removeEventListener("keydown", state.onKey);
}

function create(parentElement) {
  const root = parentElement.querySelector(".lesson");
  const state = { root, sent: null, step: 0, answers: {}, context: null, parts: null };
  state.onKey = (event) => onKey(state, event);
  // The page's colours change without a run of the script when the theme is switched.
  root.addEventListener("transitionend", (event) => {
    if (event.target !== root) return;
    color(state);
    paint(state);
  });
  return state;
}

function update(state, sent) {
  const before = state.sent;
  state.sent = sent;
  const { root } = state;
  root.classList.toggle("present", sent.present);
  for (const name of HIDEABLE) root.classList.toggle(`without-${name}`, sent.hide.includes(name));
  color(state);
  if (before?.identity === sent.identity) return;
  const names = sent.lesson.steps.map((step) => step.name);
  const linked = names.indexOf(sent.place.step);
  if (before?.name !== sent.name) state.step = Math.max(0, linked);
  state.answers = restore(state);
  const values = before ? {} : sent.place.values;
  open(state, state.step, values);
}

function color(state) {
  const colors = isDark(state.root) ? state.sent.dark : state.sent.light;
  for (const [kind, value] of Object.entries(colors)) {
    if (typeof value === "string") state.root.style.setProperty(`--${kind}`, value);
  }
}

// Guesses of this tab, by lesson and numbers.
const shelf = (state) => `attnviz:lesson:${state.sent.name}:${state.sent.identity}`;

function restore(state) {
  try {
    return JSON.parse(sessionStorage.getItem(shelf(state))) ?? {};
  } catch {
    return {};
  }
}

function keep(state) {
  const { step, guess, revealed } = state.context;
  state.answers[step.name] = { guess, revealed };
  try {
    sessionStorage.setItem(shelf(state), JSON.stringify(state.answers));
  } catch {
    // Without storage the guesses last as long as the page.
  }
}

// Open a step: build its picture and its words.
function open(state, number, values = {}) {
  state.parts?.change.stop();
  cancelAnimationFrame(state.frame);
  const { sent } = state;
  const step = sent.lesson.steps[number];
  state.step = number;
  const answer = state.answers[step.name] ?? {};
  const context = {
    scene: sent.scenes[step.name],
    step,
    maps: sent.maps,
    say: sayer(sent.words),
    controls: {},
    guess: answer.guess ?? null,
    revealed: Boolean(answer.revealed || values.shown),
    picture: null,
    mark: (places) => mark(state.root, context.picture, places),
    predict: (guess) => {
      context.guess = guess;
      paint(state);
    },
    control: (name, value) => {
      context.controls = { ...context.controls, [name]: value };
      paint(state);
    },
    rest: () => rest(state),
    atTruth: () => controlsAtTruth(context),
    truth: (read) => read({ ...context, controls: controlsAtTruth(context) }),
  };
  context.controls = context.revealed
    ? { ...controlsAtTruth(context), ...fromNumbers(values) }
    : controlsAtStart(context);
  state.context = context;
  context.picture = PICTURES[step.picture].create(context);
  const line = step.predict?.kind === "number" ? guessLine.create(context) : null;
  state.parts = { picture: context.picture, line, change: change.create(context) };
  build(state, {
    go: (at) => go(state, at),
    forward: () => forward(state),
    reset: () => reset(state),
  });
  paint(state);
}

// Forget the answer of a step and begin it anew.
function reset(state) {
  delete state.answers[state.context.step.name];
  open(state, state.step);
  keep(state);
  rest(state);
}

function go(state, number) {
  if (number < 0 || number >= state.sent.lesson.steps.length) return;
  open(state, number);
  rest(state);
}

// Reveal, or go on to the next step, or to the next lesson.
function forward(state) {
  const { context, sent } = state;
  if (!context.revealed) {
    if (context.guess === null || sent.hide.includes("reveal")) return;
    reveal(state);
  } else if (state.step + 1 < sent.lesson.steps.length) go(state, state.step + 1);
  else if (sent.next) state.send({ lesson: sent.next, step: "", values: {} });
}

function reveal(state) {
  const { context } = state;
  const from = context.controls;
  const to = controlsAtTruth(context);
  context.revealed = true;
  keep(state);
  const numbers = Object.keys(to).filter((name) => Number.isFinite(to[name]));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const begin = (name) => start(context, name, from[name]);
  const moving = numbers.filter((name) => begin(name) !== to[name] && Number.isFinite(begin(name)));
  const begun = performance.now();
  const tick = (now) => {
    const share = still || !moving.length ? 1 : Math.min(1, Math.max(0, now - begun) / REVEAL);
    const eased = share * share * (3 - 2 * share);
    const between = moving.map((name) => [name, begin(name) + eased * (to[name] - begin(name))]);
    context.controls = share < 1 ? { ...to, ...Object.fromEntries(between) } : to;
    paint(state);
    if (share < 1) state.frame = requestAnimationFrame(tick);
    else rest(state);
  };
  tick(begun);
}

// The value of a control that nothing has set.
function start(context, name, value) {
  return value ?? { temperature: 1, shift: 0, frame: 0 }[name];
}

// A step was chosen or a control rests: the link follows.
function rest(state) {
  const { context, sent } = state;
  const values = context.revealed ? toNumbers(context.controls) : {};
  state.send({ lesson: sent.name, step: context.step.name, values });
}

function paint(state) {
  const { context, parts } = state;
  const { revealed } = context;
  parts.picture.paint();
  parts.line?.paint();
  parts.change.paint();
  writeTexts(state);
  state.root.classList.toggle("revealed", revealed);
  state.root.dataset.revealed = String(revealed);
}

// Space reveals or goes on; the arrows change the step. Fields and handles keep their keys.
function onKey(state, event) {
  const target = event.composedPath()[0];
  const busy = target.closest?.("input, textarea, select, [contenteditable], [role=slider], [role=listbox]");
  const pressed = target.closest?.("button, a, summary");
  if (!state.root.isConnected || event.ctrlKey || event.metaKey || event.altKey || busy) return;
  if (event.key === "ArrowRight") go(state, state.step + 1);
  else if (event.key === "ArrowLeft") go(state, state.step - 1);
  else if (event.key === " " && !pressed) forward(state);
  else return;
  event.preventDefault();
}
