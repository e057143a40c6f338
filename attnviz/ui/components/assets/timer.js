// Sends one message some seconds after it was drawn with a new number.

const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const state = states.get(parentElement) ?? { number: null, due: 0 };
  states.set(parentElement, state);
  if (state.number !== data.number) {
    state.number = data.number;
    state.due = performance.now() + data.seconds * 1000;
  }
  // The page may end and begin this effect several times for one number.
  const wait = Math.max(0, state.due - performance.now());
  const timer = setTimeout(() => setTriggerValue("due", data.number), wait);
  return () => clearTimeout(timer);
}
