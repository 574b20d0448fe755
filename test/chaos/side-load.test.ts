import { describe, expect, it } from 'vitest';
import { judgeGuest } from './guest.ts';
import { endedEarly } from './lease-holders.ts';
import { judgeFenced, judgeTenures } from './lock-users.ts';

describe('what goes on beside the load finds', () => {
  it('a lease that ends before its time', () => {
    const held = { id: 7n, soundUntilMs: 1000 };
    expect(endedEarly(held, 999)).toMatch('was to live until 1000 ms');
    expect(endedEarly(held, 1000)).toBeUndefined();
  });

  it('a write by a lock that somebody else holds since', () => {
    const write = (revision: number, token: number, user: string) => ({ revision, token, user });
    const right = [write(12, 10, 'a'), write(13, 10, 'a'), write(20, 15, 'b')];
    expect(judgeFenced('lock', right)).toEqual([]);
    expect(judgeFenced('lock', [...right, write(21, 10, 'a')])).toEqual([
      'two held lock at once: a wrote at 21 with token 10, after b at 20 with 15',
    ]);
  });

  it('two who were sure to hold a lock at one time', () => {
    const tenure = (user: string, fromMs: number, untilMs: number) => ({ user, fromMs, untilMs });
    expect(judgeTenures('lock', [tenure('b', 5, 9), tenure('a', 0, 5)])).toEqual([]);
    const long = [tenure('a', 0, 9), tenure('b', 2, 3), tenure('c', 8, 10)];
    expect(judgeTenures('lock', long)).toEqual([
      'two held lock at once: b and a',
      'two held lock at once: c and a',
    ]);
  });

  it('a right that is missing, and one that is too many', () => {
    expect(judgeGuest('none', 'OK')).toMatch('had no right');
    expect(judgeGuest('granted', 'KV_PERMISSION_DENIED')).toMatch('had the right');
    for (const [right, code] of [
      ['none', 'KV_PERMISSION_DENIED'],
      ['none', 'KV_TIMEOUT'],
      ['granted', 'OK'],
      ['granted', 'KV_AUTH_OLD_REVISION'],
      ['changing', 'OK'],
      ['changing', 'KV_PERMISSION_DENIED'],
    ] as const) {
      expect(judgeGuest(right, code)).toBeUndefined();
    }
  });
});
