// Draws BertViz's view in the width of the window, names its heads, and saves the picture.
"use strict";
var require = { config: function () {} };
var requirejs;
var attnviz = (function () {
  const SMALLEST = 300; // pixels that a picture needs, however narrow the window
  const FRAME = 4;
  let given = null; // the parameters of the view
  let draw = null; // BertViz's drawing function
  let shown = null; // the heads that are drawn; null before the first drawing
  let drawnWidth = 0;

  const picture = () => document.querySelector("#vis svg");
  const width = () => Math.max(document.documentElement.clientWidth - FRAME, SMALLEST);
  const part = () => given.attention[document.getElementById("filter")?.value ?? 0];

  // The widest token of both sides in pixels, with a margin, and within a share of the width.
  function tokenWidth(size, share) {
    const context = document.createElement("canvas").getContext("2d");
    context.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    const widths = given.attention.flatMap((one) =>
      [...one.left_text, ...one.right_text].map((token) => context.measureText(token).width)
    );
    return Math.round(Math.min(Math.max(...widths, 40) + size, width() * share));
  }

  // Height of a token in a small picture: all layers are to fit on a screen, if they can.
  function thumbnailStep() {
    const tokens = Math.max(part().left_text.length, part().right_text.length);
    const layers = part().attn.length;
    return Math.min(Math.max((given.room / layers - 10) / tokens, 1.5), 14);
  }

  function squares() {
    return [...(picture()?.lastElementChild?.querySelectorAll("rect") ?? [])];
  }

  // The rules are BertViz's: a click adds or removes a head, the last one stays, a double click
  // selects one head alone, and a double click on the only one selects all.
  function toggle(head) {
    if (!shown.has(head)) shown.add(head);
    else if (shown.size > 1) shown.delete(head);
    squares()[head].dispatchEvent(new MouseEvent("click"));
    press();
  }

  function alone(head) {
    const all = shown.size === 1 && shown.has(head);
    shown = new Set(all ? given.include_heads : [head]);
    squares()[head].dispatchEvent(new MouseEvent("dblclick"));
    press();
  }

  function press() {
    document.querySelectorAll(".names button").forEach((button, head) => {
      button.setAttribute("aria-pressed", String(shown.has(head)));
    });
  }

  function nameHeads() {
    const place = document.querySelector(".names");
    if (!place || !picture()) return;
    picture().lastElementChild.classList.add("squares");
    if (place.childElementCount === 0) {
      for (const head of given.include_heads) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = `H${head}`;
        button.style.setProperty("--color", given.colors[head % given.colors.length]);
        button.addEventListener("click", () => toggle(head));
        button.addEventListener("dblclick", () => alone(head));
        place.append(button);
      }
      document.getElementById("all").addEventListener("click", () => {
        shown = new Set(given.include_heads);
        redraw();
      });
    }
    press();
  }

  function redraw() {
    drawnWidth = width();
    for (const id of ["layer", "filter"]) {
      const menu = document.getElementById(id);
      if (!menu) continue;
      const chosen = menu.value;
      const fresh = menu.cloneNode(id === "filter"); // BertViz fills the menu of layers itself
      menu.replaceWith(fresh);
      fresh.dataset.chosen = chosen;
    }
    document.getElementById("vis").replaceChildren();
    draw(window.jQuery, window.d3);
    for (const id of ["layer", "filter"]) {
      const menu = document.getElementById(id);
      if (!menu) continue;
      menu.addEventListener("change", finish);
      if (menu.dataset.chosen && menu.dataset.chosen !== menu.value) {
        menu.value = menu.dataset.chosen;
        window.jQuery(menu).trigger("change");
      }
    }
    finish();
  }

  function finish() {
    picture().dataset.view = given.view;
    if (given.view === "head") nameHeads();
    // In the app the frame is as high as the drawing.
    if (window.frameElement) window.frameElement.style.height = `${document.body.scrollHeight}px`;
  }

  function save() {
    const source = picture();
    const { width: across, height: down } = source.getBoundingClientRect();
    const top = given.view === "head" ? 28 : 0;
    const copy = source.cloneNode(true);
    for (const element of copy.querySelectorAll(".squares, [stroke-opacity='0']")) element.remove();
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("viewBox", `0 ${-top} ${across} ${down + top}`);
    copy.setAttribute("width", across);
    copy.setAttribute("height", down + top);
    const add = (name, attributes, text, before = null) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      element.textContent = text;
      copy.insertBefore(element, before);
    };
    const first = copy.firstChild;
    add("style", {}, given.picture_style, first);
    add("rect", { y: -top, width: across, height: down + top, fill: given.palette.background }, "", first);
    if (top) {
      [...shown].sort((a, b) => a - b).forEach((head, at) => {
        const color = given.colors[head % given.colors.length];
        add("rect", { x: 8 + at * 52, y: -20, width: 10, height: 10, fill: color }, "");
        add("text", { x: 22 + at * 52, y: -11, "font-size": 13 }, `H${head}`);
      });
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(
      new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" })
    );
    link.download = `${given.filename}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  requirejs = function (names, drawing) {
    draw = drawing;
    // Every run of the drawing reads the parameters; `parameters` adds the chosen heads.
    redraw();
    document.getElementById("svg").addEventListener("click", save);
    let waiting = 0;
    window.addEventListener("resize", () => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => {
        if (width() !== drawnWidth) redraw();
      });
    });
  };

  function parameters(all) {
    given = all;
    shown ??= new Set(all.heads ?? all.include_heads);
    return { ...all, heads: [...shown] };
  }

  return { parameters, width, tokenWidth, thumbnailStep };
})();
