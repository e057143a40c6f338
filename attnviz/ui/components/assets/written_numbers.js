// Numbers as a reader sees them. `attnviz/written_numbers.py` writes the same texts in Python, and
// `docs/written-numbers.md` says where each form stands. A minus is U+2212.

const MINUS = "−";

// A number with so many decimals: "0.40", "−1.25", "1,234.5".
export function decimals(value, digits = 2) {
  if (!Number.isFinite(value)) return notFinite(value);
  const text = value.toFixed(digits).replace(/\d+/, (whole) => Number(whole).toLocaleString("en"));
  return text.replace("-", /^-[0.]+$/.test(text) ? "" : MINUS);
}

// A difference: "+0.12", "−0.40"; what is rounded to zero has no sign.
export const signed = (value, digits = 2) => withPlus(decimals(value, digits));

// A share in percent: "67%", "5.7%". Only 0 is "0%", and only 1 "100%": what is nearer to them than
// the decimals show is "<0.1%" or ">99.9%".
export function percent(share, digits) {
  if (!Number.isFinite(share)) return notFinite(share);
  const size = Math.abs(share);
  if (size === 0 || size === 1) return `${decimals(100 * share, 0)}%`;
  digits ??= size < 0.0995 || Math.abs(size - 1) < 0.005 ? 1 : 0;
  const step = 10 ** -digits;
  const [under, over, minus] = share > 0 ? ["<", ">", ""] : [">", "<", MINUS];
  if (100 * size < step / 2) return `${under}${minus}${decimals(step, digits)}%`;
  if (100 - step / 2 <= 100 * size && size < 1) return `${over}${minus}${decimals(100 - step, digits)}%`;
  return `${decimals(100 * share, digits)}%`;
}

// A number of things, with commas from 1,000 on.
export const count = (number) => (Number(number.toFixed(0)) + 0).toLocaleString("en").replace("-", MINUS);

// A number with so many significant digits: "0.0123", "4.56", "2.4e−8" below 0.0001.
export function significant(value, digits) {
  if (value === 0 || !Number.isFinite(value)) return decimals(value, 0);
  const power = Number(value.toExponential(digits - 1).split("e")[1]);
  return power < -4 ? scientific(value, digits - 1) : decimals(value, Math.max(0, digits - 1 - power));
}

// A tiny number, such as a rounding error: "1e−7", "2.4e−8".
export function scientific(value, digits = 0) {
  if (value === 0 || !Number.isFinite(value)) return decimals(value, 0);
  return value.toExponential(digits).replaceAll("-", MINUS);
}

// The number of one place, as a pointer over a map shows it: four decimals or more.
export function exact(value) {
  if (value === 0) return "0";
  if (Math.abs(value) >= 0.0001 || !Number.isFinite(value)) return decimals(value, 4);
  return scientific(value, 1);
}

// A text for a number of any size: whole numbers as counts, two decimals, more for small ones.
export function short(value) {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return notFinite(value);
  if (Number.isInteger(value)) return count(value);
  if (size >= 100) return decimals(value, 1);
  if (size >= 0.005) return decimals(value, 2);
  return size >= 0.00005 ? decimals(value, 4) : scientific(value);
}

// A round number, as at an axis, with the decimals that it has: "0.25", "1,000", "−10".
export function round(value) {
  return decimals(value, 6).replace(/\.?0+$/, "");
}

export const withPlus = (text) => (/^[\d∞]/.test(text) && /[1-9∞]/.test(text) ? `+${text}` : text);

function notFinite(value) {
  return Number.isNaN(value) ? "not defined" : value > 0 ? "∞" : `${MINUS}∞`;
}
