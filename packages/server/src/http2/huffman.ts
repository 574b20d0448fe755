/** Length of each symbol's code in bits, as a digit of base 36; the last one is the end of a string. Source: RFC 7541, Appendix B. */
const LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq' +
  'u';
const BITS_MAX = 30;
const END = 256;

/** The code is canonical: symbols of one length have consecutive codes, shorter ones stand before longer ones. */
const firstCode: number[] = [];
const firstIndex: number[] = [];
const countOf: number[] = [];
const symbols: number[] = [];
for (let bits = 0, code = 0; bits <= BITS_MAX; bits += 1) {
  firstCode.push(code);
  firstIndex.push(symbols.length);
  for (let symbol = 0; symbol <= END; symbol += 1) {
    if (Number.parseInt(LENGTHS[symbol] ?? '0', 36) === bits) symbols.push(symbol);
  }
  const count = symbols.length - (firstIndex[bits] ?? 0);
  countOf.push(count);
  code = (code + count) * 2;
}

/** The symbol of a code of that many bits; undefined when there is none. */
function symbolOf(code: number, bits: number): number | undefined {
  const at = code - (firstCode[bits] ?? 0);
  return at < (countOf[bits] ?? 0) ? symbols[(firstIndex[bits] ?? 0) + at] : undefined;
}

/** The text of a Huffman-coded string, as Latin-1; undefined when it is not one. */
export function decodeHuffman(bytes: Uint8Array): string | undefined {
  const decoded: number[] = [];
  let code = 0;
  let length = 0;
  for (let at = 0; at < bytes.length * 8; at += 1) {
    code = code * 2 + (((bytes[at >> 3] ?? 0) >> (7 - (at & 7))) & 1);
    length += 1;
    const symbol = symbolOf(code, length);
    if (symbol === undefined && length < BITS_MAX) continue;
    if (symbol === undefined || symbol === END) return undefined;
    decoded.push(symbol);
    code = 0;
    length = 0;
  }
  // Padded with the first bits of the end symbol, less than a byte of them.
  const isPadding = length < 8 && code === 2 ** length - 1;
  return isPadding ? Buffer.from(decoded).toString('latin1') : undefined;
}
