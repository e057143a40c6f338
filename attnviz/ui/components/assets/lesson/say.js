// Words of the engine, which a translator changes in `engine.toml`: a phrase by its key, with values
// in its placeholders.

export const sayer = (words) => (key, values = {}) =>
  words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
