import { Duplex } from 'node:stream';
import { expect, it } from 'vitest';
import { FRAME } from '../../src/http2/frames.ts';
import { Output } from '../../src/http2/output.ts';

it('what is written stays as it is, however often the memory is given back meanwhile', () => {
  const chunks: Buffer[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  const output = new Output(socket);
  const sent: number[] = [];
  for (let i = 1; i <= 200; i += 1) {
    const payload = new Uint8Array((i * 37) % 3000).fill(i % 256);
    output.head(FRAME.data, 0, i, payload.length);
    output.rest();
    output.add(payload);
    sent.push(payload.length);
    if (i % 3 === 0) output.flush();
    if (i % 5 === 0) output.rest();
    if (i % 7 === 0) output.rest();
  }
  output.flush();
  const bytes = Buffer.concat(chunks);
  let at = 0;
  for (const [index, length] of sent.entries()) {
    expect(bytes.readUIntBE(at, 3)).toBe(length);
    expect(bytes.readUInt32BE(at + 5)).toBe(index + 1);
    expect(
      bytes.subarray(at + 9, at + 9 + length).every((byte) => byte === (index + 1) % 256),
    ).toBe(true);
    at += 9 + length;
  }
  expect(at).toBe(bytes.length);
});
