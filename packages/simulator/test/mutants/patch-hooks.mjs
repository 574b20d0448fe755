// Loader hooks of a process that runs one mutant: the patched copy of a source file is loaded in the place of the original, and what
// the copy imports is resolved as if the original did.

/** Original URL by copy URL, and the other way round. */
let originals = new Map();
let copies = new Map();

export function initialize(patched) {
  originals = new Map(patched.map(({ original, copy }) => [copy, original]));
  copies = new Map(patched.map(({ original, copy }) => [original, copy]));
}

export async function resolve(specifier, context, nextResolve) {
  const parentURL = originals.get(context.parentURL) ?? context.parentURL;
  const found = await nextResolve(specifier, { ...context, parentURL });
  const copy = copies.get(found.url.split('?')[0]);
  return copy === undefined ? found : { ...found, url: copy };
}
