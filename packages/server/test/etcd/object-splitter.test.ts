import { utf8 } from '@kvorum/base';
import { describe, expect, it } from 'vitest';
import { ObjectSplitter } from '../../src/etcd/gateway/object-splitter.ts';

const OBJECTS = ['{}', '{"a":"}{\\"]","b":[{"c":1}]}', '{"d":"\\\\"}', '{"e":"ä"}'];

function split(pieces: readonly Uint8Array[]): string[] {
  const splitter = new ObjectSplitter(1000);
  return pieces.flatMap((piece) =>
    splitter.push(piece).map((object) => Buffer.from(object).toString()),
  );
}

describe('ObjectSplitter', () => {
  it.each(['', '\n', ' \r\n\t'])('finds the objects however they are cut (space %j)', (space) => {
    const stream = utf8(space + OBJECTS.join(space) + space);
    expect(split([stream])).toEqual(OBJECTS);
    expect(split([...stream].map((byte) => Uint8Array.of(byte)))).toEqual(OBJECTS);
    for (let cut = 0; cut < stream.length; cut += 1) {
      expect(split([stream.subarray(0, cut), stream.subarray(cut)])).toEqual(OBJECTS);
    }
  });

  it.each(['[]', '"{}"', 'x', '{},{}', '{}]'])('takes objects only, not %s', (text) => {
    expect(() => split([utf8(text)])).toThrow('expected a JSON object');
  });

  it('holds no more than it may, however small the pieces are', () => {
    const splitter = new ObjectSplitter(1000);
    splitter.push(utf8('{"'));
    for (let i = 0; i < 998; i += 1) splitter.push(utf8('x'));
    expect(splitter.inside).toBe(true);
    expect(() => splitter.push(utf8('x'))).toThrow('larger than max (1001 vs. 1000)');
  });
});
