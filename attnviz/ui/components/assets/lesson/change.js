// The one thing to change in a step: a slider, buttons, or a sentence about what can be dragged.

import { button, element } from "./elements.js";
import { format, resolve } from "./numbers.js";
import { write } from "./words.js";

const SWEEP = 3500; // milliseconds from one end to the other

export function create(context) {
  const { step, scene } = context;
  const change = step.change;
  const root = element("div", "change");
  if (!change) return { element: root, paint() {}, stop() {} };
  if (change.kind === "choice") return choice(context, root);
  if (change.kind !== "slider") {
    const words = element("div", "says");
    root.append(words);
    const paint = () => {
      root.hidden = !context.revealed;
      write(words, change.label, context);
    };
    return { element: root, paint, stop() {} };
  }
  const says = element("label", "says");
  const input = element("input", "");
  input.type = "range";
  const scale = scaleOf(change, scene);
  Object.assign(input, { min: 0, max: scale.count ?? 1000, step: 1 });
  const title = element("span", "");
  const number = element("bdi", "number");
  says.append(title, " ", number, input);
  root.append(says);
  let frame = null;
  const stop = () => {
    cancelAnimationFrame(frame);
    frame = null;
  };
  input.addEventListener("input", () => {
    stop();
    context.control(change.name, scale.value(Number(input.value)));
  });
  input.addEventListener("change", () => context.rest());
  const play = button("play", context.say("play"), () => {
    if (frame !== null) return stop();
    const end = Number(input.max);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      context.control(change.name, scale.value(end));
      return context.rest();
    }
    const start = performance.now();
    const tick = (now) => {
      const share = Math.min(1, (now - start) / SWEEP);
      context.control(change.name, scale.value(Math.round(share * end)));
      if (share < 1) frame = requestAnimationFrame(tick);
      else {
        frame = null;
        context.rest();
      }
    };
    frame = requestAnimationFrame(tick);
  });
  root.append(play);
  return {
    element: root,
    stop,
    paint() {
      root.hidden = !context.revealed;
      write(title, change.label, context);
      input.value = scale.place(valueNow(context, scale));
      number.textContent = valueText(context);
      input.setAttribute("aria-valuetext", number.textContent);
    },
  };
}

// The value of a control that nothing has set.
const start = (change, scale) => ({ temperature: 1, shift: 0 })[change.name] ?? scale.value(0);

const valueNow = ({ step, controls }, scale) => controls[step.change.name] ?? start(step.change, scale);

// The value of the slider, as it stands beside its label.
function valueText(context) {
  const { step, scene } = context;
  const { change } = step;
  const now = valueNow(context, scaleOf(change, scene));
  const names = change.labels && scene.labels[change.labels];
  const shown = names ? names[Math.round(now)] : format(Math.round(now * 100) / 100);
  return `${shown}${change.unit ? ` ${change.unit}` : ""}`;
}

// What a picture on paper shows of the one thing to change: "Temperature: 8", or the name of a choice.
export function stateText(context) {
  const { step, scene, controls } = context;
  const { change } = step;
  if (!["choice", "slider"].includes(change?.kind)) return "";
  const label = element("span");
  write(label, change.label, context);
  const last = label.textContent.split(/(?<=[.)]) /).at(-1);
  if (change.kind === "slider") return `${last} ${valueText(context)}`;
  const name = scene.labels[change.labels][Math.round(controls.frame ?? 0)];
  return /[:?]$/.test(last) ? `${last} ${name}` : name;
}

// From places on the slider to values and back; `count` is the last place.
function scaleOf(change, scene) {
  if (change.name === "frame") {
    const count = (scene.labels[change.labels]?.length ?? change.to + 1) - 1;
    return { count, value: (at) => at, place: (value) => Math.round(value) };
  }
  const from = resolve(scene, change.from);
  const to = resolve(scene, change.to);
  if (change.scale === "log") {
    const ratio = Math.log(to / from);
    return {
      value: (at) => from * Math.exp((ratio * at) / 1000),
      place: (value) => (1000 * Math.log(value / from)) / ratio,
    };
  }
  return {
    value: (at) => from + ((to - from) * at) / 1000,
    place: (value) => (1000 * (value - from)) / (to - from),
  };
}

function choice(context, root) {
  const { step, scene } = context;
  const { change } = step;
  const says = element("div", "says");
  root.append(says);
  const group = element("div", "choices");
  group.setAttribute("role", "group");
  const buttons = scene.labels[change.labels].map((label, at) =>
    button("choice", label, () => {
      context.control("frame", at);
      context.rest();
    })
  );
  group.append(...buttons);
  root.append(group);
  return {
    element: root,
    stop() {},
    paint() {
      root.hidden = !context.revealed;
      write(says, change.label, context);
      group.setAttribute("aria-label", says.textContent);
      buttons.forEach((one, at) =>
        one.setAttribute("aria-pressed", String(at === Math.round(context.controls.frame ?? 0)))
      );
    },
  };
}
