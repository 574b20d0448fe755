import { createHmac, generateKeyPairSync } from 'node:crypto';
import { type AuthState, NO_AUTH, type User } from '@kvorum/auth';
import { utf8 } from '@kvorum/base';
import { VirtualClock } from '@kvorum/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JwtTokens } from '../src/auth/jwt.ts';

const user: User = { name: 'u', roles: [], since: 1 };
const state: AuthState = { ...NO_AUTH, revision: 7 };
const TTL_MS = 60_000;

function pem(type: 'rsa' | 'ec' | 'ed25519', curve = 'P-256'): Uint8Array {
  const { privateKey } =
    type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : type === 'ec'
        ? generateKeyPairSync('ec', { namedCurve: curve })
        : generateKeyPairSync('ed25519');
  return utf8(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
}

const RSA = pem('rsa');
const SECRET = utf8('0123456789abcdef0123456789abcdef');

function tokens(method: string, key: Uint8Array, clock = new VirtualClock()): JwtTokens {
  return new JwtTokens({ clock, method, key, ttlMs: TTL_MS });
}

describe.each<readonly [string, Uint8Array]>([
  ['HS256', SECRET],
  ['RS256', RSA],
  ['RS512', RSA],
  ['PS256', RSA],
  ['ES256', pem('ec')],
  ['ES384', pem('ec', 'P-384')],
  ['EdDSA', pem('ed25519')],
])('%s', (method, key) => {
  it('is read by whoever has the key, with user and revision', () => {
    const issued = tokens(method, key).issue(user, state);
    expect(tokens(method, key).read(issued)).toEqual({ user: 'u', revision: 7 });
    const [header, payload, signature = ''] = issued.split('.');
    const altered = `${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
    expect(tokens(method, key).read(altered)).toBeUndefined();
  });
});

it('ends when its time is over, also where it is known', () => {
  const clock = new VirtualClock();
  const both = tokens('HS256', SECRET, clock);
  const issued = both.issue(user, state);
  expect(both.read(issued)).toBeDefined();
  clock.advance(TTL_MS + 1000);
  expect(both.read(issued)).toBeUndefined();
});

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function signed(header: unknown, claims: unknown, key: Uint8Array): string {
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

it('what a token says of its method is only compared', () => {
  const claims = { username: 'root', revision: 7, exp: 1e12 };
  const hs = tokens('HS256', SECRET);
  expect(hs.read(signed({ alg: 'HS256' }, claims, SECRET))).toEqual({ user: 'root', revision: 7 });
  expect(hs.read(`${part({ alg: 'none' })}.${part(claims)}.`)).toBeUndefined();
  // The public key taken for a secret.
  expect(tokens('RS256', RSA).read(signed({ alg: 'HS256' }, claims, RSA))).toBeUndefined();
});

it.each([
  [{ revision: 7, exp: 1e12 }],
  [{ username: 'u', exp: 1e12 }],
  [{ username: 'u', revision: 7 }],
  [{ username: 1, revision: 'x', exp: {} }],
  [null],
  ['text'],
])('claims %j are none, and no exception', (claims) => {
  expect(tokens('HS256', SECRET).read(signed({ alg: 'HS256' }, claims, SECRET))).toBeUndefined();
});

it('no text is an exception', () => {
  const hs = tokens('HS256', SECRET);
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (a, b, c) => {
      expect(hs.read(`${a}.${b}.${c}`)).toBeUndefined();
    }),
  );
});

it.each<readonly [string, string, Uint8Array]>([
  ['a short secret', 'HS256', utf8('short')],
  ['a key of another kind', 'ES256', RSA],
  ['another curve', 'ES256', pem('ec', 'P-384')],
  ['no key', 'RS256', utf8('nonsense')],
])('%s is refused at the start', (_, method, key) => {
  expect(() => tokens(method, key)).toThrow(/auth\.jwt\.keyFile/);
});

it('a member with the public key alone reads tokens, and makes none', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const whole = utf8(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  const half = utf8(publicKey.export({ type: 'spki', format: 'pem' }).toString());
  const issued = tokens('EdDSA', whole).issue(user, state);
  expect(tokens('EdDSA', half).read(issued)).toEqual({ user: 'u', revision: 7 });
  expect(() => tokens('EdDSA', half).issue(user, state)).toThrow(/private key/);
});
