import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { shardId, utf8 } from '@kvorum/base';
import { loadConfig } from '@kvorum/server';
import { afterAll, describe, expect, it } from 'vitest';
import { nearestName } from '../src/config/nearest.ts';
import { encodeForward, parseForwardAnswer, parsePeerRequest } from '../src/router/forward.ts';
import { temporaryDirectory } from './support/one-member.ts';

const directory = temporaryDirectory();
afterAll(() => directory.remove());

const SESSION = { clientId: 'a'.repeat(32), seq: 1, ackedThrough: 0, retry: false };
const FORWARDED = {
  shard: shardId(0),
  request: { op: 'put', key: utf8('k'), value: utf8('v') },
  timeoutMs: 1000,
  session: SESSION,
} as const;

function forwarded(changes: object): unknown {
  return { ...(encodeForward(FORWARDED) as object), ...changes };
}

describe('a forwarded request', () => {
  it('is taken as it was sent', () => {
    expect(parsePeerRequest(forwarded({}))).toMatchObject({ ok: true });
  });

  it.each([
    ['a client id that is none', { session: { ...SESSION, clientId: 'x' } }],
    ['a sequence number below zero', { session: { ...SESSION, seq: -1 } }],
    ['an acknowledgement below zero', { session: { ...SESSION, ackedThrough: -1 } }],
    ['an endless time', { timeoutMs: Number.POSITIVE_INFINITY }],
    ['a time that no timer waits', { timeoutMs: 2 ** 31 }],
  ])('with %s is malformed', (_, changes) => {
    expect(parsePeerRequest(forwarded(changes))).toMatchObject({
      ok: false,
      error: { code: 'KV_MALFORMED' },
    });
  });
});

describe('the answer to a forwarded request', () => {
  it.each([
    ['a lease that is no integer', { op: 'put', prevKv: { lease: 0.5 } }],
    ['a lease that is a text', { op: 'put', revision: 'x', prevKv: { lease: 'x' } }],
    ['answers that are none', { op: 'txn', responses: [null, 5, 'x'] }],
  ])('with %s does not end the member', (_, response) => {
    expect(parseForwardAnswer({ response })).toMatchObject({
      ok: false,
      error: { code: 'KV_MALFORMED', outcome: 'unknown' },
    });
  });
});

describe('a configuration file', () => {
  it.each(['shards: !!float 4', 'name: !secret m1', 'name: *nobody', 'a: &a [*a]'])(
    '%s is refused with what YAML says of it',
    (yaml) => {
      const file = join(directory.path, 'kvd.yaml');
      writeFileSync(file, yaml);
      expect(() => loadConfig({ file, environment: {}, flags: {} })).toThrow(
        expect.objectContaining({ code: 'KV_CONFIG' }),
      );
    },
  );

  it('with a key of a megabyte is refused without being compared to every known one', () => {
    expect(nearestName('x'.repeat(1 << 20), ['shards', 'members'])).toBeUndefined();
    expect(nearestName('shard', ['shards', 'members'])).toBe('shards');
  });
});
