import {
  constants,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import type { AuthState, User } from '@kvorum/auth';
import { isCount, isPlain, KvError, type Plain } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { Identity } from './identity.ts';
import { RecentMap, TOKEN_LENGTH_MAX, type Tokens } from './tokens.ts';

const KNOWN_MAX = 10_000;

/** Curves and key types that go with a method. Source: RFC 7518 §3.4, RFC 8037. */
const CURVES: Readonly<Record<string, string>> = {
  ES256: 'prime256v1',
  ES384: 'secp384r1',
  ES512: 'secp521r1',
};
/** A shorter secret could be guessed from one token. */
const SECRET_BYTES_MIN = 32;

export interface JwtParts {
  readonly clock: Clock;
  readonly method: string;
  /** PEM of the private key, or of the public one; of HS… the secret itself. */
  readonly key: Uint8Array;
  readonly ttlMs: number;
}

interface Known {
  readonly identity: Identity;
  readonly expiresMs: number;
}

/**
 * JSON web tokens with the claims username, revision and exp, signed by one method and no other: what a token says of its method is
 * only compared. They name the revision of the state they were issued at, so that every change of users or roles ends them.
 */
export class JwtTokens implements Tokens {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #signer: Signer;
  readonly #header: string;
  readonly #known = new RecentMap<Known>(KNOWN_MAX);

  /** Errors: KV_CONFIG for a key that does not fit the method. */
  constructor({ clock, method, key, ttlMs }: JwtParts) {
    this.#clock = clock;
    this.#ttlMs = ttlMs;
    this.#signer = signerOf(method, key);
    this.#header = encode({ alg: method, typ: 'JWT' });
  }

  issue(user: User, state: AuthState): string {
    const exp = Math.floor((this.#clock.wallMs() + this.#ttlMs) / 1000);
    const claims = { username: user.name, revision: state.revision, exp };
    const text = `${this.#header}.${encode(claims)}`;
    return `${text}.${this.#signer.sign(Buffer.from(text)).toString('base64url')}`;
  }

  read(token: string): Identity | undefined {
    if (token.length > TOKEN_LENGTH_MAX) return undefined;
    const known = this.#known.get(token) ?? this.#verified(token);
    if (known === undefined || known.expiresMs <= this.#clock.wallMs()) return undefined;
    this.#known.set(token, known);
    return known.identity;
  }

  #verified(token: string): Known | undefined {
    const [header = '', payload = '', signature = '', ...rest] = token.split('.');
    if (rest.length > 0 || decode(header)?.['alg'] !== this.#signer.method) return undefined;
    const text = Buffer.from(`${header}.${payload}`);
    if (!this.#signer.isBy(text, Buffer.from(signature, 'base64url'))) return undefined;
    const { username, revision, exp } = (decode(payload) ?? {}) as Readonly<
      Record<'username' | 'revision' | 'exp', unknown>
    >;
    if (typeof username !== 'string' || !isCount(revision) || !isCount(exp)) return undefined;
    return { identity: { user: username, revision }, expiresMs: exp * 1000 };
  }
}

interface Signer {
  readonly method: string;
  /** Errors: KV_CONFIG without a private key. */
  sign(text: Uint8Array): Buffer;
  isBy(text: Uint8Array, signature: Uint8Array): boolean;
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function decode(part: string): Plain | undefined {
  try {
    const plain: unknown = JSON.parse(Buffer.from(part, 'base64url').toString());
    return isPlain(plain) ? plain : undefined;
  } catch {
    return undefined; // JSON.parse reports damage only by throwing
  }
}

const unfit = (why: string, cause?: unknown): KvError =>
  new KvError('KV_CONFIG', `auth.jwt.keyFile ${why}`, { cause });

function signerOf(method: string, key: Uint8Array): Signer {
  if (method.startsWith('HS')) return secretSigner(method, key);
  const { privateKey, publicKey } = keysOf(key);
  checkFits(method, publicKey);
  const hash = method === 'EdDSA' ? null : `sha${method.slice(2)}`;
  const options = {
    ...(method.startsWith('ES') ? { dsaEncoding: 'ieee-p1363' as const } : {}),
    ...(method.startsWith('PS')
      ? {
          padding: constants.RSA_PKCS1_PSS_PADDING,
          saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
        }
      : {}),
  };
  return {
    method,
    sign(text) {
      if (privateKey === undefined) throw unfit('holds no private key: no member can log in here');
      return sign(hash, text, { key: privateKey, ...options });
    },
    isBy: (text, signature) => verify(hash, text, { key: publicKey, ...options }, signature),
  };
}

function secretSigner(method: string, secret: Uint8Array): Signer {
  if (secret.length < SECRET_BYTES_MIN) {
    throw unfit(`is shorter than ${SECRET_BYTES_MIN} bytes`);
  }
  const mac = (text: Uint8Array): Buffer =>
    createHmac(`sha${method.slice(2)}`, secret)
      .update(text)
      .digest();
  return {
    method,
    sign: mac,
    isBy(text, signature) {
      const expected = mac(text);
      return signature.length === expected.length && timingSafeEqual(signature, expected);
    },
  };
}

function keysOf(pem: Uint8Array): {
  readonly privateKey: KeyObject | undefined;
  readonly publicKey: KeyObject;
} {
  const key = Buffer.from(pem);
  try {
    if (!key.includes('PRIVATE KEY')) {
      return { privateKey: undefined, publicKey: createPublicKey(key) };
    }
    const privateKey = createPrivateKey(key);
    return { privateKey, publicKey: createPublicKey(privateKey) };
  } catch (error) {
    throw unfit('holds no key in PEM form', error);
  }
}

function checkFits(method: string, key: KeyObject): void {
  const type = key.asymmetricKeyType;
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  const fits =
    method === 'EdDSA'
      ? type === 'ed25519'
      : method.startsWith('ES')
        ? type === 'ec' && curve === CURVES[method]
        : type === 'rsa' && bits >= 2048;
  if (!fits) throw unfit(`holds a key that does not go with ${method}`);
}
