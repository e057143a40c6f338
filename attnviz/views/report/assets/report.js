// Draws the report's figures in the colours of the reader's theme, and sorts and filters its table.
"use strict";

const figures = JSON.parse(document.getElementById("figures").textContent);
const config = JSON.parse(document.getElementById("config").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const PAPER = 680; // pixels between the margins of a printed page

function draw(theme, width) {
  for (const [id, drawn] of Object.entries(figures)) {
    const place = document.getElementById(id);
    const { data, layout } = drawn[theme];
    const room = width ?? place.clientWidth;
    const natural = layout.width ?? drawn.width;
    drawn.width = natural;
    const size = natural ? Math.min(natural, room) : room;
    Plotly.react(place, data, { ...layout, width: size }, config);
  }
}

const now = () => draw(dark.matches ? "dark" : "light");
now();
dark.addEventListener("change", now);
window.addEventListener("beforeprint", () => draw("light", PAPER));
window.addEventListener("afterprint", now);
let waiting;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(now, 150);
});

const table = document.getElementById("heads");
const rows = [...table.tBodies[0].rows];
const search = document.getElementById("search");
const label = document.getElementById("label");
const count = document.getElementById("count");

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase().replaceAll("·", " ");
    const fits = !label.value || row.dataset.label === label.value;
    row.hidden = !(fits && words.every((word) => text.includes(word)));
    shown += row.hidden ? 0 : 1;
  }
  count.textContent = `${shown} of ${rows.length} heads`;
}

search.addEventListener("input", filter);
label.addEventListener("change", filter);
filter();

function value(row, column) {
  const given = row.cells[column].dataset.value;
  if (given === undefined) return row.cells[column].textContent;
  return given === "" ? null : Number(given);
}

for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
  heading.querySelector("button").addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sign = down ? -1 : 1;
    const sorted = [...rows].sort((one, two) => {
      const [a, b] = [value(one, column), value(two, column)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
    });
    table.tBodies[0].append(...sorted);
  });
}

function open() {
  const row = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const more = row && row.querySelector("details");
  if (more) more.open = true;
}

window.addEventListener("hashchange", () => {
  search.value = label.value = "";
  filter();
  open();
});
open();
document.body.dataset.ready = "yes";
