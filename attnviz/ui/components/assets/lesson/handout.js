// Handout of a lesson as an HTML file that prints on two pages: questions, then answers.
//
// The page is built as a document and written out by the browser, which escapes all texts.

import { controlsAtStart, controlsAtTruth, format, numbersOf } from "./numbers.js";
import { value } from "./arrows.js";
import { element } from "./elements.js";
import { sayer } from "./say.js";
import { write } from "./words.js";

const STYLE = `
@page { size: A4; margin: 13mm; }
* { box-sizing: border-box; }
body { max-width: 46rem; margin: 1rem auto; color: #111; font: 10pt/1.35 system-ui, sans-serif; }
h1 { margin: 0 0 .2rem; font-size: 16pt; }
h2 { margin: .55rem 0 .1rem; font-size: 11pt; }
p, ul { margin: .12rem 0; }
ul { padding-left: 1.1rem; font-weight: 600; }
section { break-inside: avoid; }
table { border-collapse: collapse; margin: .3rem 0; font-size: 9pt; }
td, th { padding: 0 .5rem; border-bottom: 1px solid #bbb; text-align: right; white-space: pre; }
td:first-child, th:first-child { text-align: left; }
.space { width: 9cm; }
.answer { height: 1.35rem; border-bottom: 1px solid #888; }
.small { color: #444; }
.second { break-before: page; }
.linked { font-weight: 600; }
.long { font-size: 8.8pt; line-height: 1.25; }
@media print { body { margin: 0; } }`;

const silent = (sent, step, controls) => ({
  scene: sent.scenes[step.name],
  step,
  controls: controls({ scene: sent.scenes[step.name], step }),
  picture: step.picture === "arrows" ? { value } : null,
  say: sayer(sent.words),
  mark() {},
});

export function handout(sent) {
  const { lesson } = sent;
  const say = sayer(sent.words);
  const page = document.implementation.createHTMLDocument(lesson.title);
  page.documentElement.lang = say("language");
  const meta = page.createElement("meta");
  meta.setAttribute("charset", "utf-8");
  page.head.prepend(meta);
  page.head.append(element("style", "", STYLE));
  page.body.className = lesson.steps.length > 5 ? "long" : "short";
  const first = element("div", "first");
  first.append(element("h1", "", lesson.title), element("p", "", lesson.point));
  first.append(element("p", "small", say("name_line")));
  const second = element("div", "second");
  second.append(element("h1", "", say("answers", lesson)));
  lesson.steps.forEach((step, at) => {
    first.append(question(silent(sent, step, controlsAtStart), at));
    second.append(answer(silent(sent, step, controlsAtTruth), at));
  });
  page.body.append(first, second);
  for (const one of page.querySelectorAll("[tabindex], [data-place]")) {
    one.removeAttribute("tabindex");
  }
  return `<!doctype html>\n${page.documentElement.outerHTML}`;
}

function question(context, at) {
  const section = element("section");
  section.append(element("h2", "", `${at + 1}. ${context.step.title}`), text("p", context.step.question, context));
  if (at === 0) section.append(table(context));
  section.append(element("div", "answer"));
  return section;
}

function answer(context, at) {
  const { step } = context;
  const section = element("section");
  section.append(element("h2", "", `${at + 1}. ${step.title}`));
  section.append(text("p", step.reveal, context), text("p", step.formula, context));
  const both = element("p", "small");
  both.append(`${context.say("often_heard")} `, text("span", step.misconception.wrong, context), " ");
  both.append(`${context.say("in_fact")} `, text("span", step.misconception.right, context));
  const keep = element("ul");
  keep.append(...step.keep.map((one) => text("li", one, context)));
  section.append(both, keep);
  return section;
}

function text(tag, words, context) {
  const created = element(tag);
  write(created, words, context);
  return created;
}

// The rows of the picture, with room to draw.
function table(context) {
  const { step, scene } = context;
  const rows = element("table");
  const labels = scene.labels[step.show.rows ?? "keys"];
  if (step.picture === "ticks") return emptyCells(rows, labels, scene.labels[step.show.across]);
  if (!labels || !step.show.columns) return rows;
  const columns = step.show.columns.filter((one) => one.array !== step.predict.of && !one.after);
  const head = element("tr");
  head.append(element("th"), ...columns.map((one) => element("th", "", one.title)));
  head.append(element("th", "space", context.say("notes")));
  rows.append(head);
  labels.forEach((label, at) => {
    const row = element("tr");
    row.append(element("td", "", label));
    for (const { array, decimals } of columns) {
      row.append(element("td", "", format(numbersOf(context, array)[at], decimals)));
    }
    row.append(element("td", "space"));
    rows.append(row);
  });
  return rows;
}

// Cells to tick on paper.
function emptyCells(table, rows, columns) {
  const head = element("tr");
  head.append(element("th"), ...columns.map((one) => element("th", "", one)));
  table.append(head);
  for (const label of rows) {
    const row = element("tr");
    row.append(element("td", "", label), ...columns.map(() => element("td", "", "☐")));
    table.append(row);
  }
  return table;
}

export function saveHandout(sent) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([handout(sent)], { type: "text/html" }));
  link.download = `attnviz-lesson-${sent.name}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
