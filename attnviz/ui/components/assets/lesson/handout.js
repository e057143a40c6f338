// Handout of a lesson as an HTML file that prints on two pages: questions, then answers, each with the
// picture of its step.
//
// The page is built as a document and written out by the browser, which escapes all texts. Letters
// and pictures are as large as two pages allow.

import { controlsAtStart, controlsAtTruth } from "./numbers.js";
import { value } from "./arrows.js";
import { element } from "./elements.js";
import { printedPicture } from "./printed/printed_picture.js";
import { sayer } from "./say.js";
import { write } from "./words.js";

const STYLE = `
@page { margin: 12mm; }
* { box-sizing: border-box; }
body { margin: 0; }
.sheet { width: 186mm; margin: 0 auto; color: #111; line-height: 1.33; font-family: system-ui, sans-serif; }
h1 { margin: 0 0 .2em; font-size: 1.5em; line-height: 1.2; }
h2 { margin: .1em 0 .1em; font-size: 1.1em; }
p, ul { margin: .15em 0; }
ul { padding-left: 1.2em; font-weight: 600; }
section { display: flow-root; break-inside: avoid; padding: .35em 0; border-top: 1px solid #ccc; }
figure { float: right; margin: .2em 0 .2em 5mm; font-size: 7.2pt; line-height: 1.25; }
.wide { float: none; clear: both; margin: .1em 0; }
figure svg { display: block; overflow: hidden; }
figcaption { margin-top: 1px; font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: 0 2px; text-align: left; vertical-align: middle; }
.label { max-width: 8.5em; overflow: hidden; text-overflow: ellipsis; text-align: right; white-space: pre; }
.number { padding-left: 5px; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.tick-table td { border: 1px solid #bbb; white-space: nowrap; }
.tick-table .label { white-space: pre; }
.tick-table th { line-height: 1.1; }
.yes { font-weight: 700; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1em; }
.legend svg { display: inline-block; vertical-align: middle; }
.texts { columns: 2; margin: .3em 0; padding-left: 1.6em; }
.key { color: #333; }
.answer { height: 1.6em; margin-right: 5mm; overflow: hidden; border-bottom: 1px solid #888; }
.small { color: #444; }
.beside { display: flex; gap: 14px; }
.tight { line-height: 1.27; }
.tight figure { font-size: 6.9pt; line-height: 1.14; }
.tight h1 { font-size: 1.3em; }
.tight section { padding: .2em 0; }
.tight p, .tight ul { margin: .08em 0; }
.tight ul { padding: 0; }
.tight li { display: inline; }
.tight li::before { content: "• "; }
.tightest .reveal, .tightest .formula { display: inline; }
.formula { font-style: italic; }
.second { break-before: page; }
.linked { font-weight: 600; }
@media screen { .sheet { margin: 2em auto; } }`;

// Sizes to try, from the largest: letters in points, the width of pictures in millimetres, and the
// height of a curve as a share of it.
const SIZES = [
  [10.5, 100, 0.55], [10.5, 92, 0.5], [10, 84, 0.5], [10, 76, 0.5], [9.6, 74, 0.45], [9.2, 70, 0.4], [8.8, 66, 0.4],
  [8.8, 62, 0.4], [8.4, 60, 0.38], [8.4, 58, 0.35], [8.2, 56, 0.33], [8, 54, 0.32], [8, 54, 0.28], [7.7, 52, 0.26],
];
const TIGHT = 9; // points; with smaller letters the sentences to keep stand in one paragraph
const TIGHTEST = 8.3; // points; with smaller letters the formula stands behind the sentence before it
const WIDTH = 186; // millimetres of a page
const ROOM = 250; // millimetres of a page: of Letter, which is lower than A4, with some to spare
const PIXELS = 96 / 25.4; // in a millimetre

const silent = (sent, step, controls, revealed) => ({
  scene: sent.scenes[step.name],
  step,
  guess: null,
  revealed,
  controls: controls({ scene: sent.scenes[step.name], step }),
  picture: step.picture === "arrows" ? { value } : null,
  say: sayer(sent.words),
  mark() {},
});

export function handout(sent) {
  const { lesson } = sent;
  const page = document.implementation.createHTMLDocument(lesson.title);
  page.documentElement.lang = sayer(sent.words)("language");
  const meta = page.createElement("meta");
  meta.setAttribute("charset", "utf-8");
  page.head.prepend(meta);
  page.head.append(element("style", "", STYLE));
  page.body.append(fitting((size) => first(sent, size)), fitting((size) => second(sent, size)));
  for (const one of page.querySelectorAll("[tabindex], [data-place]")) {
    one.removeAttribute("tabindex");
  }
  return `<!doctype html>\n${page.documentElement.outerHTML}`;
}

// The page with the largest size at which it is no longer than a sheet.
function fitting(build) {
  const host = element("div");
  host.style.cssText = "all: initial; position: fixed; top: 0; left: -300mm; visibility: hidden";
  const shadow = host.attachShadow({ mode: "open" });
  document.body.append(host);
  let sheet = null;
  for (const [letters, width, flat] of SIZES) {
    sheet = build({ width: width * PIXELS, page: WIDTH * PIXELS, flat });
    sheet.style.fontSize = `${letters}pt`;
    sheet.classList.toggle("tight", letters < TIGHT);
    sheet.classList.toggle("tightest", letters < TIGHTEST);
    shadow.replaceChildren(element("style", "", STYLE), sheet);
    if (sheet.getBoundingClientRect().height <= ROOM * PIXELS) break;
  }
  // A text of many rows is made smaller as a whole.
  const share = (ROOM * PIXELS) / sheet.getBoundingClientRect().height;
  if (share < 1) sheet.style.zoom = String(Math.floor(1000 * share) / 1000);
  host.remove();
  return sheet;
}

function first(sent, size) {
  const { lesson } = sent;
  const sheet = element("div", "first sheet");
  sheet.append(element("h1", "", lesson.title), element("p", "", lesson.point));
  sheet.append(element("p", "small", sayer(sent.words)("name_line")));
  sheet.append(...lesson.steps.map((step, at) => question(silent(sent, step, controlsAtStart, false), at, size)));
  return sheet;
}

function second(sent, size) {
  const { lesson } = sent;
  const sheet = element("div", "second sheet");
  sheet.append(element("h1", "", sayer(sent.words)("answers", lesson)));
  sheet.append(...lesson.steps.map((step, at) => answer(silent(sent, step, controlsAtTruth, true), at, size)));
  return sheet;
}

function question(context, at, size) {
  const section = element("section");
  section.append(element("h2", "", `${at + 1}. ${context.step.title}`), text("p", context.step.question, context));
  section.append(element("div", "answer"));
  return withPicture(section, printedPicture(context, size));
}

function answer(context, at, size) {
  const { step } = context;
  const section = element("section");
  section.append(element("h2", "", `${at + 1}. ${step.title}`));
  const formula = text("p", step.formula, context);
  formula.className = "formula";
  const reveal = text("p", step.reveal, context);
  reveal.className = "reveal";
  section.append(reveal, " ", formula);
  const both = element("p", "small");
  both.append(`${context.say("often_heard")} `, text("span", step.misconception.wrong, context), " ");
  both.append(`${context.say("in_fact")} `, text("span", step.misconception.right, context));
  const keep = element("ul");
  keep.append(...step.keep.map((one) => [text("li", one, context), " "]).flat());
  section.append(both, keep);
  return withPicture(section, printedPicture(context, size));
}

// Beside the words, or below them where it takes the whole width.
function withPicture(section, picture) {
  if (picture.classList.contains("wide")) section.append(picture);
  else section.prepend(picture);
  return section;
}

function text(tag, words, context) {
  const created = element(tag);
  write(created, words, context);
  return created;
}

export function saveHandout(sent) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([handout(sent)], { type: "text/html" }));
  link.download = `attnviz-lesson-${sent.name}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
