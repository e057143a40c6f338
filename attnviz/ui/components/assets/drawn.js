// Marks a component's element on the page as drawn: until then the page's style keeps its place free.

export function markDrawn(root) {
  root.getRootNode().host?.setAttribute("data-drawn", "");
}
