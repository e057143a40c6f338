// Colours of a scale, contrast of colours, and whether the page is dark. A colour is [red, green, blue], each from 0 to 255.

export const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// The colour at a share of the way along evenly spaced colours; parts are not rounded.
export function colorAt(colors, share) {
  const at = Math.min(Math.max(share, 0), 1) * (colors.length - 1);
  const [from, to] = [colors[Math.floor(at)], colors[Math.ceil(at)]];
  return from.map((one, channel) => one + (to[channel] - one) * (at - Math.floor(at)));
}

// Relative luminance of WCAG 2.
function luminance(color) {
  const [red, green, blue] = color.map((one) => {
    const share = one / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// The number, 0 or 1, of the text colour (of two, "#rrggbb") with the higher contrast of WCAG 2.
export function betterTextColor(color, textColors) {
  const light = luminance(color);
  const contrast = textColors.map((textColor) => {
    const other = luminance(channels(textColor));
    return (Math.max(light, other) + 0.05) / (Math.min(light, other) + 0.05);
  });
  return contrast[0] >= contrast[1] ? 0 : 1;
}

// Whether an element that takes the page's background colour is dark.
export function isDark(element) {
  const numbers = getComputedStyle(element).backgroundColor.match(/[\d.]+/g);
  return numbers !== null && luminance(numbers.slice(0, 3).map(Number)) < 0.2;
}
