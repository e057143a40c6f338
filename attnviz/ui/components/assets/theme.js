// Reports when the page has changed between light and dark: figures are drawn for one of them.

const states = new WeakMap();

export default function (component) {
  const { parentElement, setTriggerValue } = component;
  const state = states.get(parentElement) ?? create(parentElement);
  states.set(parentElement, state);
  state.report = (ground) => setTriggerValue("ground", ground);
}

function create(parentElement) {
  const root = parentElement.querySelector(".theme");
  const state = { report: () => {}, ground: getComputedStyle(root).backgroundColor };
  // A colour that follows the page's ends a transition when the theme is switched.
  root.addEventListener("transitionend", () => {
    const ground = getComputedStyle(root).backgroundColor;
    if (ground === state.ground) return;
    state.ground = ground;
    state.report(ground);
  });
  return state;
}
