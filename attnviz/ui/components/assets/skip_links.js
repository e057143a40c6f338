// Links that move the focus to a map of the page.

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".links");
  const buttons = Object.entries(data.targets).map(([key, text]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => surfaceOf(key)?.focus());
    return button;
  });
  root.replaceChildren(...buttons);
}

function surfaceOf(key) {
  for (const one of document.querySelectorAll(`.st-key-${CSS.escape(key)} *`)) {
    const surface = one.shadowRoot?.querySelector(".surface");
    if (surface) return surface;
  }
  return null;
}
