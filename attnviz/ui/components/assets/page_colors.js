// Luminance of colours, and whether the page is dark.

export const channelsOf = (text) => text.match(/[\d.]+/g)?.slice(0, 3).map(Number) ?? [255, 255, 255];

// Relative luminance of WCAG 2 of a colour [red, green, blue], each from 0 to 255.
export function luminance(color) {
  const [red, green, blue] = color.map((one) => {
    const share = one / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// The background of an element that takes the page's colour.
export const isDark = (element) => luminance(channelsOf(getComputedStyle(element).backgroundColor)) < 0.2;
