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

/** A `grpc-message`: UTF-8 with everything but printable ASCII, and the percent sign, as %XX. */
export function encodeStatusMessage(text: string): string {
  if (/^[\x20-\x24\x26-\x7e]*$/.test(text)) return text;
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
