// Saves the chart beside it as SVG or PNG, made in the browser from what is on the screen.

const states = new WeakMap();

export default function (component) {
  const { data, parentElement } = component;
  const state = states.get(parentElement) ?? create(parentElement);
  states.set(parentElement, state);
  state.options = data;
}

function create(parentElement) {
  const root = parentElement.querySelector(".pictures");
  const state = { root, options: null, says: root.querySelector(".says") };
  for (const button of root.querySelectorAll("button")) {
    button.addEventListener("click", () => save(state, button.dataset.format));
  }
  return state;
}

async function save(state, format) {
  const { chart, filename, page, scale } = state.options;
  state.says.textContent = "";
  const plot = document.querySelector(`.st-key-${CSS.escape(chart)} .js-plotly-plot`);
  if (!plot) {
    state.says.textContent = "There is no chart to save.";
    return;
  }
  try {
    const svg = await draw(plot, page);
    const blob =
      format === "svg"
        ? new Blob([svg], { type: "image/svg+xml" })
        : await raster(svg, plot._fullLayout, scale);
    hand(blob, `${filename}.${format}`);
  } catch (error) {
    console.error(error);
    state.says.textContent = `The ${format.toUpperCase()} failed.`;
  }
}

// The figure itself has no ground, so that it fits any page; a file gets the page's.
async function draw(plot, page) {
  const { width, height } = plot._fullLayout;
  const layout = { ...plot.layout, width, height, paper_bgcolor: page };
  const svg = await window.Plotly.toImage(
    { data: plot.data, layout, config: { staticPlot: true } },
    { format: "svg", width, height, imageDataOnly: true }
  );
  // A map is a small picture inside the file; its cells must stay sharp when it is enlarged.
  const file = new DOMParser().parseFromString(svg, "image/svg+xml");
  for (const image of file.querySelectorAll("image")) {
    image.style.imageRendering = "pixelated";
  }
  return new XMLSerializer().serializeToString(file);
}

async function raster(svg, { width, height }, scale) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no image"))), "image/png")
  );
}

function hand(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
