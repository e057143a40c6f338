// What is on the screen as a file: one picture, or a picture with its letters as letters.
async function save(state, format) {
  const canvas = document.createElement("canvas");
  const ratio = 3;
  canvas.width = Math.round(state.box.width * ratio);
  canvas.height = Math.round(state.box.height * ratio);
  const { page } = scene(state).colors;
  const { texts, family } = paint(state, canvas, ratio, page, format === "png");
  let blob;
  if (format === "png") blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  else blob = new Blob([svg(state.box, canvas.toDataURL("image/png"), texts, family)], { type: "image/svg+xml" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${state.map.filename}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function svg(box, picture, texts, family) {
  const space = "http://www.w3.org/2000/svg";
  const file = document.implementation.createDocument(space, "svg");
  const add = (name, attributes, text) => {
    const made = file.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    // Half a letter has no place in a file; control characters end one.
    if (text !== undefined) made.textContent = text.toWellFormed().replace(/[\x00-\x1f]/g, "\ufffd");
    file.documentElement.append(made);
  };
  const size = { width: box.width, height: box.height };
  file.documentElement.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  for (const [key, value] of Object.entries(size)) file.documentElement.setAttribute(key, value);
  add("image", { x: 0, y: 0, ...size, href: picture });
  for (const one of texts) {
    add("text", {
      transform: `translate(${one.x} ${one.y}) rotate(${one.turn})`,
      "font-size": one.size, "font-family": family, fill: one.color,
      "text-anchor": one.anchor, "dominant-baseline": "central",
    }, isolate(one.text));
  }
  return new XMLSerializer().serializeToString(file);
}
