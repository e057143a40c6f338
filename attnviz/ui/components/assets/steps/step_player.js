// Buttons that play a picture of several steps, step through it and reset it.
//
// Where the visitor prefers reduced motion there is no button that plays: the steps stay, and the
// style sheets switch transitions off.

const SECONDS = 1.1;

// Puts the controls into `place`; `draw(step)` is called with 0 to `last`.
export function createPlayer(place, last, draw) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let step = 0;
  let timer = null;
  const addButton = (name, action) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", action);
    place.append(button);
    return button;
  };
  const go = (to) => {
    step = Math.min(Math.max(to, 0), last);
    back.disabled = step === 0;
    next.disabled = step === last;
    range.value = String(step);
    count.textContent = `step ${step} of ${last}`;
    draw(step);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    if (play) play.textContent = "Play";
  };
  const tick = () => {
    if (!place.isConnected || step === last) stop();
    else go(step + 1);
    if (step === last) stop();
  };
  const begin = () => {
    if (timer !== null) return stop();
    if (step === last) go(0);
    play.textContent = "Pause";
    timer = setInterval(tick, SECONDS * 1000);
  };
  const play = still ? null : addButton("Play", begin);
  const by = (change) => () => {
    stop();
    go(step + change);
  };
  const back = addButton("Back", by(-1));
  const next = addButton("Step", by(1));
  addButton("Reset", () => {
    stop();
    go(0);
  });
  const range = document.createElement("input");
  range.type = "range";
  range.min = "0";
  range.max = String(last);
  range.setAttribute("aria-label", "step");
  range.addEventListener("input", () => {
    stop();
    go(Number(range.value));
  });
  const count = document.createElement("span");
  count.className = "count";
  place.append(range, count);
  go(0);
  return { stop };
}

// Returns a new element with a class and a text; texts reach the page as text alone.
export function element(kind, name, text = "") {
  const element = document.createElement(kind);
  element.className = name;
  element.textContent = text;
  return element;
}

// Returns a component whose picture `build(root, data)` makes, with its player, when data.name changes.
export function playerComponent(selector, build) {
  const states = new WeakMap();
  return ({ data, parentElement }) => {
    const before = states.get(parentElement);
    if (before?.name === data.name) return;
    before?.player.stop();
    const root = parentElement.querySelector(selector);
    states.set(parentElement, { name: data.name, player: build(root, data) });
  };
}
