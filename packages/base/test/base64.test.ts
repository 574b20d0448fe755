import { fromBase64 } from '@kvorum/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('base64', () => {
  it.each([
    ['YWJjZ', 'a length that no bytes have'],
    ['Y', 'a single digit'],
    ['YWJjZB', 'bits behind the last byte'],
    ['YWJjZB==', 'bits behind the last byte, padded'],
    ['YWI=YWI=', 'padding inside'],
    ['YWJj=', 'padding without need'],
    ['YWI==', 'too much padding'],
    ['YQ=', 'too little padding'],
    ['=', 'padding alone'],
    ['+_==', 'two alphabets at once'],
    ['YW Jj', 'a space'],
    ['YWJj\n', 'a line end'],
    ['YWJé', 'a letter of neither alphabet'],
  ])('refuses %j: %s', (text) => {
    expect(fromBase64(text)).toBeUndefined();
  });

  it('takes whatever encoding gives, in both alphabets, with or without padding', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const padded = Buffer.from(bytes).toString('base64');
        const forms = [padded, padded.replace(/=+$/, ''), Buffer.from(bytes).toString('base64url')];
        for (const text of forms) expect(fromBase64(text)).toEqual(bytes);
      }),
    );
  });

  it('takes no text but one that encoding gives', () => {
    const digit = fc.constantFrom(...Array.from('ABYZaz019+/-_='));
    fc.assert(
      fc.property(fc.string({ unit: digit, maxLength: 12 }), (text) => {
        const bytes = fromBase64(text);
        if (bytes === undefined) return;
        const padded = Buffer.from(bytes).toString('base64');
        const url = Buffer.from(bytes).toString('base64url');
        const pad = '='.repeat((4 - (url.length % 4)) % 4);
        expect([padded, padded.replace(/=+$/, ''), url, `${url}${pad}`]).toContain(text);
      }),
    );
  });
});
