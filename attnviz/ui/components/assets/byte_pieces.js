// Tokens that are bytes of a character, such as "<0xF0><0x9F>": which bytes, and of which character.

const PIECE = /^·?((?:<0x[0-9A-F]{2}>)+)$/;

const bytesOf = (label) =>
  (PIECE.exec(label)?.[1].match(/[0-9A-F]{2}(?=>)/g) ?? []).map((hex) => parseInt(hex, 16));

// Number of bytes that the first byte of a UTF-8 character announces; 0 for any other byte.
const announced = (byte) => (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 0);

// Return for each label a note such as "bytes 1–2 of 4 of 😀"; "" for a token that is text.
export function byteNotes(labels) {
  const notes = labels.map(() => "");
  const bytes = labels.flatMap((label, token) => bytesOf(label).map((byte) => ({ byte, token })));
  for (let at = 0; at < bytes.length; ) {
    const count = announced(bytes[at].byte);
    const part = bytes.slice(at, at + count);
    const character = count && decoded(part);
    if (!character) {
      at += 1;
      continue;
    }
    for (const token of new Set(part.map((one) => one.token))) {
      const places = part.flatMap((one, place) => (one.token === token ? [place + 1] : []));
      const which = places.length > 1 ? `bytes ${places[0]}–${places.at(-1)}` : `byte ${places[0]}`;
      notes[token] = [notes[token], `${which} of ${count} of ${character}`].filter(Boolean).join(", ");
    }
    at += count;
  }
  return notes;
}

// Return the character of these bytes; "" where they are none, or where other tokens lie between.
function decoded(part) {
  if (part.some((one, place) => place && one.token - part[place - 1].token > 1)) return "";
  try {
    const bytes = Uint8Array.from(part, (one) => one.byte);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return "";
  }
}
