// Sends one message some seconds after it was drawn or was given a new number.

const states = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const state = states.get(parentElement) ?? { number: null, timer: null };
  states.set(parentElement, state);
  state.send = () => setTriggerValue("due", state.number);
  if (state.number !== data.number) {
    clearTimeout(state.timer);
    state.number = data.number;
    state.timer = setTimeout(() => state.send(), data.seconds * 1000);
  }
  return () => clearTimeout(state.timer);
}
