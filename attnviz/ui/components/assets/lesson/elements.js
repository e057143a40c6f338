// Small pieces of a page: elements, parts of drawings, and handles that are dragged or moved by keys.

export function element(tag, className, text) {
  const created = document.createElement(tag);
  if (className) created.className = className;
  if (text !== undefined) created.textContent = text;
  return created;
}

export function drawn(tag, attributes = {}) {
  const created = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
  return created;
}

export function button(className, text, act) {
  const created = element("button", className, text);
  created.type = "button";
  created.addEventListener("click", act);
  return created;
}

// Follow the mouse or one finger from where it is pressed to where it is let go, wherever that is.
// `acts`: begin(event), which returns false to refuse; move(event); end(), also after a lost pointer.
export function drag(part, { begin, move, end }) {
  let pointer = null;
  part.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button > 0 || begin(event) === false) return;
    pointer = event.pointerId;
    part.setPointerCapture(pointer);
    event.preventDefault();
  });
  part.addEventListener("pointermove", (event) => {
    if (event.pointerId === pointer) move(event);
  });
  // The capture ends with the press, whether it is let go or taken away by the browser.
  part.addEventListener("lostpointercapture", (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    end?.();
  });
}

// A handle on a horizontal track. `options`: label; range() as [low, high]; get(); set(value) while
// it moves; end() when it rests; text(value) for screen readers.
export function slideOn(track, handle, options) {
  handle.tabIndex = 0;
  handle.setAttribute("role", "slider");
  handle.setAttribute("aria-label", options.label);
  let range = null;
  const put = (value) => {
    const [low, high] = range ?? options.range();
    options.set(Math.max(low, Math.min(high, value)));
  };
  const at = (event) => {
    const box = track.getBoundingClientRect();
    const [low, high] = range;
    put(low + ((event.clientX - box.left) / box.width) * (high - low));
  };
  drag(track, {
    begin(event) {
      if (track.dataset.still !== undefined) return false;
      range = options.range();
      handle.focus({ preventScroll: true });
      at(event);
    },
    move: at,
    end() {
      options.end?.();
      range = null;
    },
  });
  handle.addEventListener("keydown", (event) => {
    const [low, high] = options.range();
    const unit = ((high - low) / 100) * (event.shiftKey ? 10 : 1);
    const now = options.get();
    const next = {
      ArrowRight: now + unit,
      ArrowUp: now + unit,
      ArrowLeft: now - unit,
      ArrowDown: now - unit,
      PageUp: now + 10 * unit,
      PageDown: now - 10 * unit,
      Home: low,
      End: high,
    }[event.key];
    if (next === undefined || track.dataset.still !== undefined) return;
    event.preventDefault();
    event.stopPropagation();
    put(next);
    options.end?.();
  });
}

// What a screen reader says of a handle.
export function describe(handle, value, text, [low, high]) {
  handle.setAttribute("aria-valuemin", String(low));
  handle.setAttribute("aria-valuemax", String(high));
  handle.setAttribute("aria-valuenow", String(value));
  handle.setAttribute("aria-valuetext", text);
}
