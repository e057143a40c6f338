// Matrix kernel of the lessons: dot, matmul, mask, softmax, distances between distributions.
//
// Vectors are Float32Array or Float64Array; a result has the type of its first argument. Sums are
// made in double precision and rounded once.

export function dot(first, second) {
  let sum = 0;
  for (let at = 0; at < first.length; at++) sum += first[at] * second[at];
  return sum;
}

export const norm = (vector) => Math.sqrt(dot(vector, vector));

// The product of a [rows, inner] and a [inner, columns] matrix, both row by row.
export function matmul(first, second, rows, inner, columns) {
  const product = new first.constructor(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let at = 0; at < inner; at++) {
        sum += first[row * inner + at] * second[at * columns + column];
      }
      product[row * columns + column] = sum;
    }
  }
  return product;
}

// The scores with -Infinity wherever `visible` is false.
export function mask(scores, visible) {
  return scores.map((score, at) => (visible[at] ? score : -Infinity));
}

// The weights of a row of scores. A sink is one more score that takes a share and has no key; with
// a sink the weights sum to less than one. A row without any visible key has no weights: NaN.
export function softmax(scores, { temperature = 1, sink = -Infinity } = {}) {
  let highest = sink;
  for (const score of scores) highest = Math.max(highest, score);
  if (highest === -Infinity) return scores.map(() => NaN);
  const powers = Float64Array.from(scores, (score) => Math.exp((score - highest) / temperature));
  let sum = Math.exp((sink - highest) / temperature);
  for (const power of powers) sum += power;
  return scores.map((_, at) => powers[at] / sum);
}

// The highest score and the sum of exp(score - highest) after each key, read from left to right. A
// higher score multiplies the sum so far by exp(old highest - new highest) (Milakov and Gimelshein
// 2018).
export function runningSums(scores) {
  const highest = new Float64Array(scores.length);
  const sums = new Float64Array(scores.length);
  let most = -Infinity;
  let sum = 0;
  for (let at = 0; at < scores.length; at++) {
    const next = Math.max(most, scores[at]);
    if (next > -Infinity) sum = sum * Math.exp(most - next) + Math.exp(scores[at] - next);
    most = next;
    highest[at] = most;
    sums[at] = sum;
  }
  return { highest, sums };
}

// Total variation: half the sum of the differences, from 0 to 1; the share that lies elsewhere.
export function totalVariation(first, second) {
  let sum = 0;
  for (let at = 0; at < first.length; at++) sum += Math.abs(first[at] - second[at]);
  return sum / 2;
}
