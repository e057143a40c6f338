// Links between words and cells: everything of one place lights up, wherever it is drawn.
//
// A place is { kind, place }: a kind of vector (query, key, value, score, weight, output) and a
// number as text, or "all" for everything of the kind. An element has both as data attributes.

const SAME_TOKEN = ["key", "value", "score", "weight"];

// Light up `marked`, a place or a list of them, or nothing: strongly what has the kind, lightly the
// rest of the token.
export function mark(root, picture, marked) {
  const places = marked ? [marked].flat() : [];
  for (const one of root.querySelectorAll("[data-place]")) {
    const { kind, place } = one.dataset;
    const here = places.filter((each) => each.place === place || each.place === "all" || place === "all");
    const same = here.some((each) => each.kind === kind || (one.classList.contains("token") && each.place === place));
    const near = here.some(
      (each) => each.place === place && SAME_TOKEN.includes(each.kind) && SAME_TOKEN.includes(kind)
    );
    one.classList.toggle("marked", same);
    one.classList.toggle("near", near && !same);
  }
  picture?.light?.(places);
}

// Make an element one that lights up, and that lights the others up when it is pointed at.
export function linkTo(element, context, kind, place) {
  element.dataset.kind = kind;
  element.dataset.place = place;
  element.addEventListener("pointerenter", () => context.mark({ kind, place: String(place) }));
  element.addEventListener("pointerleave", () => context.mark(null));
}
