// Sentences of a lesson, with current numbers in them and words that are linked with cells.
//
// Markup: [[text|kind:place]] is linked with the cell `place` of a kind (query, key, value, score,
// weight, output), or with all its cells where the place is `all`; {name} is a value, {array@place} a number or label at a place, {name.3} with
// three decimals, {name.%} a share in percent; ^(…) and _(…) are raised and lowered. Everything reaches the page as text.

import { linkTo } from "./marks.js";
import { format, resolve, valueOf } from "./numbers.js";
import { percent } from "../written_numbers.js";

const PART = /\[\[(.*?)\|(\w+):([\w-]+)\]\]|([\^_])\(((?:[^()]|\([^()]*\))*)\)|\{([^{}]+)\}/g;

export function write(element, text, context) {
  element.replaceChildren(...nodes(text ?? "", context));
  element.hidden = !text;
}

function nodes(text, context) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(PART)) {
    if (match.index > end) parts.push(document.createTextNode(text.slice(end, match.index)));
    end = match.index + match[0].length;
    if (match[1] !== undefined) parts.push(linked(match[1], match[2], match[3], context));
    else if (match[4]) {
      const raised = document.createElement(match[4] === "^" ? "sup" : "sub");
      raised.append(...nodes(match[5], context));
      parts.push(raised);
    } else parts.push(value(match[6], context));
  }
  if (end < text.length) parts.push(document.createTextNode(text.slice(end)));
  return parts;
}

function linked(text, kind, place, context) {
  const word = document.createElement("span");
  word.className = "linked";
  word.tabIndex = 0;
  const at = resolve(context.scene, place) ?? place;
  const here = { kind, place: String(at) };
  linkTo(word, context, kind, at);
  word.append(...nodes(text, context));
  word.addEventListener("focus", () => context.mark(here));
  word.addEventListener("blur", () => context.mark(null));
  return word;
}

function value(name, context) {
  const shown = document.createElement("bdi");
  shown.textContent = read(name, context);
  return shown;
}

// The text of a placeholder; its name where there is no such value, so that a mistake is seen.
export function read(name, context) {
  const [, path, decimals] = name.match(/^(.*?)(?:\.(\d|%))?$/);
  const shown = valueOf(path, context);
  if (shown === undefined) return `{${name}}`;
  if (decimals === "%") return percent(shown);
  return format(shown, decimals === undefined ? undefined : Number(decimals));
}
