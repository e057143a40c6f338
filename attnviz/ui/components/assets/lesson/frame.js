// The frame of a step: buttons, words before and after the prediction, sentence, picture, control.

import { button, element } from "./elements.js";
import { saveHandout } from "./handout.js";
import { linkTo } from "./marks.js";
import { write } from "./words.js";

// Signs in labels of tokens that need a word.
const SIGNS = [
  ["·", "space_sign"],
  ["<|endoftext|>", "begin_sign"],
  ["[CLS]", "begin_sign"],
  ["[SEP]", "end_sign"],
];

const AFTER = { reveal: 1, formula: 1, wrong: 1, right: 1 }; // below the picture on a phone

// Fill the page with a step. `acts`: go(number), forward(), reset().
export function build(state, acts) {
  const { root, sent, context, parts } = state;
  const { step } = context;
  const texts = {};
  const before = element("div", "words before");
  const after = element("div", "words after");
  for (const name of ["title", "question", "task", "distance", "reveal", "formula", "wrong", "right"]) {
    texts[name] = element(name === "title" ? "h2" : "p", name);
    (name in AFTER ? after : before).append(texts[name]);
  }
  texts.distance.setAttribute("aria-live", "polite");
  texts.wrong.dataset.before = context.say("often_heard");
  texts.right.dataset.before = context.say("in_fact");
  texts.keep = element("ul", "keep");
  after.append(texts.keep);
  const stage = element("div", "stage");
  const sentence = sentenceLine(context);
  if (sentence) stage.append(sentence);
  stage.append(parts.picture.element);
  if (parts.line) stage.append(parts.line.element);
  stage.append(parts.change.element);
  const columns = element("div", "columns");
  columns.append(before, stage, after);
  const tools = toolsOf(state, acts);
  parts.texts = texts;
  parts.tools = tools;
  root.replaceChildren(element("p", "point", sent.lesson.point), tools.element, columns);
  root.dataset.number = String(state.step + 1);
  root.dataset.step = step.name;
  root.dataset.lesson = sent.name;
}

// The sentence that the lesson is about; the query's token and its keys can be pointed at.
function sentenceLine(context) {
  const labels = context.scene.labels.sentence;
  if (!labels) return null;
  const line = element("div", "sentence");
  labels.forEach((label, at) => {
    const word = element("bdi", "token", label);
    linkTo(word, context, context.scene.places.query === at ? "query" : "key", at);
    line.append(word);
  });
  const signs = SIGNS.filter(([sign]) => labels.some((label) => label.startsWith(sign)));
  const notes = signs.map(([sign, key]) => `${sign} ${context.say(key)}`);
  if (notes.length) line.append(element("span", "signs", notes.join(", ")));
  return line;
}

function toolsOf(state, { go, forward, reset }) {
  const { sent, step } = state;
  const { say } = state.context;
  const bar = element("div", "tools");
  const steps = element("div", "steps");
  sent.lesson.steps.forEach((one, at) => {
    const dot = button("dot", String(at + 1), () => go(at));
    dot.title = one.title;
    dot.setAttribute("aria-label", say("step", { number: at + 1, title: one.title }));
    if (at === step) dot.setAttribute("aria-current", "step");
    dot.dataset.done = String(Boolean(state.answers[one.name]?.revealed));
    steps.append(dot);
  });
  const back = button("back", say("back"), () => go(step - 1));
  back.disabled = step === 0;
  const main = button("main", say("reveal"), forward);
  const again = button("reset", say("reset"), reset);
  const print = button("print", say("handout"), () => saveHandout(sent));
  print.title = say("handout_help");
  const acts = element("div", "acts");
  acts.append(back, main);
  const extras = element("div", "extras");
  extras.append(again, print);
  bar.append(steps, acts, extras);
  return { element: bar, main };
}

// Write the words of a step, as far as they are shown by now.
export function writeTexts(state) {
  const { context, parts } = state;
  const { step, revealed } = context;
  const { texts } = parts;
  write(texts.title, step.title, context);
  write(texts.question, step.question, context);
  write(texts.task, revealed ? "" : step.task, context);
  const judge = parts.line ?? parts.picture;
  const distance = revealed && context.guess !== null ? judge.distance() : null;
  texts.distance.textContent = distance ? context.say("distance", distance) : "";
  texts.distance.hidden = !distance;
  if (distance) texts.distance.dataset.apart = String(distance.apart);
  write(texts.reveal, revealed ? step.reveal : "", context);
  write(texts.formula, revealed ? step.formula : "", context);
  write(texts.wrong, revealed ? step.misconception.wrong : "", context);
  write(texts.right, revealed ? step.misconception.right : "", context);
  texts.keep.hidden = !revealed;
  texts.keep.replaceChildren(
    ...step.keep.map((sentence) => {
      const item = element("li", "");
      write(item, sentence, context);
      return item;
    })
  );
  writeButton(state);
}

// Reveal, next step, or next lesson.
function writeButton({ sent, step, context, parts }) {
  const { revealed } = context;
  const { main } = parts.tools;
  const last = step + 1 === sent.lesson.steps.length;
  const ahead = context.say(!last ? "next" : sent.next ? "next_lesson" : "the_end");
  main.textContent = revealed ? ahead : context.say("reveal");
  const locked = context.guess === null || sent.hide.includes("reveal");
  main.disabled = revealed ? last && !sent.next : locked;
  main.title = main.disabled && !revealed ? context.say("guess_first") : "";
}
