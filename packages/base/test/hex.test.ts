import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../src/index.ts';

describe('hex', () => {
  const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);

  it('writes two lower-case digits a byte and reads either case', () => {
    const text = toHex(all);
    expect(text).toBe(Buffer.from(all).toString('hex'));
    expect(fromHex(text)).toEqual(all);
    expect(fromHex(text.toUpperCase())).toEqual(all);
    expect(fromHex('')).toEqual(new Uint8Array(0));
  });

  it('refuses everything else', () => {
    for (const text of [
      '0',
      'abc',
      '0g',
      'g0',
      '/0',
      ':0',
      '@0',
      '`0',
      ' 0',
      '0\n',
      '\u01410',
      '-1',
    ]) {
      expect(fromHex(text), JSON.stringify(text)).toBeUndefined();
    }
  });
});
