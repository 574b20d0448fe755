/** A unit of `grpc-timeout` in milliseconds. */
const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** Milliseconds of a `grpc-timeout`; undefined when it is none. Source: grpc/doc/PROTOCOL-HTTP2.md. */
export function parseTimeout(text: string): number | undefined {
  const unit = UNIT_MS[text.slice(-1)];
  const digits = text.slice(0, -1);
  return unit === undefined || !/^\d{1,8}$/.test(digits) ? undefined : Number(digits) * unit;
}

/** Whether a content type says gRPC with protobuf. */
export function isGrpcContent(type: string | undefined): boolean {
  return type === 'application/grpc' || /^application\/grpc(?:\+proto)?(?:;|$)/.test(type ?? '');
}

/** Trailers are one frame, and clients take 8 KiB of headers at least. */
const STATUS_MESSAGE_MAX = 4096;

/**
 * A `grpc-message`: UTF-8 with everything but printable ASCII, and the percent sign, as %XX. Texts that repeat what a client sent can
 * be of any length: they are cut.
 */
export function encodeStatusMessage(whole: string): string {
  const text = whole.slice(0, STATUS_MESSAGE_MAX);
  if (/^[\x20-\x24\x26-\x7e]*$/.test(text)) return text;
  let encoded = '';
  for (const char of text) {
    const one = encodedChar(char);
    if (encoded.length + one.length > STATUS_MESSAGE_MAX) break;
    encoded += one;
  }
  return encoded;
}

function encodedChar(char: string): string {
  if (/^[\x20-\x24\x26-\x7e]$/.test(char)) return char;
  const hex = Buffer.from(char).toString('hex').toUpperCase();
  return hex.replace(/../g, '%$&');
}
