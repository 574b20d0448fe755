const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const FORM = /^(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}$/;

/** Value of a digit by its character code, in both alphabets. */
const VALUES: Uint8Array = (() => {
  const values = new Uint8Array(128);
  for (const alphabet of [`${DIGITS}+/`, `${DIGITS}-_`]) {
    for (let i = 0; i < alphabet.length; i += 1) values[alphabet.charCodeAt(i)] = i;
  }
  return values;
})();

/**
 * Bytes of base64 or base64url text, with its padding or without any; undefined when it is neither.
 * Every text but the one that encoding would give is refused (a length that no bytes have, bits set behind the
 * last byte): a mistyped key must not become another key. Source: RFC 4648 §3.5, §4, §5.
 */
export function fromBase64(text: string): Uint8Array | undefined {
  if (!FORM.test(text)) return undefined;
  const padAt = text.indexOf('=');
  const digits = padAt === -1 ? text.length : padAt;
  if (digits % 4 === 1 || (padAt !== -1 && text.length % 4 !== 0)) return undefined;
  const out = new Uint8Array(Math.floor((digits * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < digits; i += 1) {
    bits = ((bits << 6) | (VALUES[text.charCodeAt(i)] as number)) & 0xfff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out[at] = bits >> held;
    at += 1;
  }
  const leftOver = bits & ((1 << held) - 1);
  return leftOver === 0 ? out : undefined;
}
