// Reading of what the server sends: the length of a JSON header (4 bytes), the header, and after it
// the float32 numbers of all arrays of all scenes. Each array has its first number and its shape.

export function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const numbers = new Float32Array(bytes.slice(4 + length).buffer);
  for (const scene of Object.values(header.scenes)) {
    for (const [name, { first, shape }] of Object.entries(scene.arrays)) {
      const count = shape.reduce((product, size) => product * size, 1);
      scene.arrays[name] = { shape, numbers: numbers.subarray(first, first + count) };
    }
  }
  return header;
}
