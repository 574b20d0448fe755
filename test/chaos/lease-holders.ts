import { setTimeout as pause } from 'node:timers/promises';
import { isKvError, type KvRequest, leaseId, utf8 } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import { viaMember } from './at-member.ts';
import { callGateway, GatewayError } from './gateway.ts';
import { pick } from './links.ts';
import { nowMs } from './recorder.ts';
import { read } from './requests.ts';
import type { Place, SideLoadParts } from './side-load-parts.ts';

const HOLDERS = 4;
/** Short ones end in a fault, as they should; long ones have to live through it. */
const TTL_SECONDS = [3, 5, 20] as const;
/** What nobody keeps alive must not take long. */
const ABANDONED_SECONDS_MAX = 5;
const KEYS_MAX = 4;
const ROUNDS_MAX = 6;
const ATTEMPT_MS = 3000;
const PAUSE_MS = 200;
/** A new leader gives a lease its whole time again: so long after the last fault, and the lease's own time, its keys are gone. */
const GONE_MS = 20_000;
const ROUNDING_MS = 2;

interface Held {
  readonly id: bigint;
  readonly ttlSeconds: number;
  /** Keys whose put was acknowledged. */
  readonly keys: { readonly key: string; readonly place: Place }[];
  /** Before then it must not end unless its holder has asked for that. */
  soundUntilMs: number;
}

/**
 * Clients that take leases, put keys of several shards on them, keep them alive for a while, and revoke them or go away: each request at
 * any member. Their puts are part of the history. What they check themselves: no key of a live lease is missing, no lease ends before its
 * time, nothing is left of one that was revoked, and what was left alone goes.
 */
export class LeaseHolders {
  readonly problems: string[] = [];
  readonly counts = { granted: 0, renewed: 0, revoked: 0, abandoned: 0, looks: 0 };
  readonly #parts: SideLoadParts;
  readonly #rng: Rng;
  /** Those that went, or may have been granted without anybody knowing. */
  readonly #left: Held[] = [];
  #running = true;
  #abandoned = false;
  #lastId = 0n;
  #loops: Promise<void>[] = [];

  constructor(parts: SideLoadParts) {
    this.#parts = parts;
    this.#rng = parts.rng;
  }

  start(): void {
    this.#loops = Array.from({ length: HOLDERS }, (_, i) => this.#run(`holder${i}`));
  }

  /** Resolves once every lease is gone. To be called when nothing is broken any more. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
    const untilMs = nowMs() + ABANDONED_SECONDS_MAX * 1000 + GONE_MS;
    for (const { id, keys } of this.#left) {
      for (const { key, place } of keys) {
        while (!this.#abandoned && (await this.#isThere('holders', key, place)) !== false) {
          if (nowMs() > untilMs) {
            this.problems.push(`${key} is still there, and lease ${id} was left alone long ago`);
            break;
          }
          await pause(PAUSE_MS);
        }
      }
    }
  }

  /** Nothing answers any more. */
  abandon(): void {
    this.#running = false;
    this.#abandoned = true;
  }

  async #run(name: string): Promise<void> {
    while (this.#running) {
      await this.#hold(name);
      await pause(this.#rng.integer(0, PAUSE_MS));
    }
  }

  async #hold(name: string): Promise<void> {
    const held = await this.#grant();
    if (held === undefined) return;
    const rounds = this.#rng.integer(1, ROUNDS_MAX + 1);
    for (let i = 0; i < rounds && this.#running; i += 1) {
      if (held.keys.length < KEYS_MAX && !(await this.#put(name, held))) return;
      await pause(this.#rng.integer(0, Math.min(held.ttlSeconds, 4) * 300));
      if (!(await this.#keepAlive(held))) return;
      await this.#look(name, held);
    }
    const leaves = held.ttlSeconds <= ABANDONED_SECONDS_MAX && this.#rng.integer(0, 2) === 0;
    if (!leaves) return this.#revoke(name, held);
    this.counts.abandoned += 1;
    this.#left.push(held);
  }

  async #grant(): Promise<Held | undefined> {
    this.#lastId += 1n;
    const id = this.#lastId;
    const held = { id, ttlSeconds: pick(this.#rng, TTL_SECONDS), keys: [], soundUntilMs: 0 };
    const startMs = nowMs();
    const answer = await this.#ask('lease/grant', { ID: `${id}`, TTL: `${held.ttlSeconds}` });
    // Whatever became of it, there are no keys on it.
    if (answer === undefined || answer.error !== undefined) {
      await pause(PAUSE_MS);
      return undefined;
    }
    this.counts.granted += 1;
    renewed(held, startMs);
    return held;
  }

  /** False: the lease is gone. */
  async #put(name: string, held: Held): Promise<boolean> {
    const place = pick(this.#rng, this.#parts.places);
    const key = `${place.directory}${held.id}-${held.keys.length}`;
    const lease = leaseId(held.id);
    const value = utf8(`lease${held.id}-${held.keys.length}`);
    const code = await this.#send(name, place, { op: 'put', key: utf8(key), value, lease });
    if (code === 'KV_LEASE_NOT_FOUND') return this.#ended(held, 'a put');
    // It may have been made, or be made yet: then it goes with its lease.
    held.keys.push({ key, place });
    if (code === undefined) return true;
    this.#left.push({ ...held, keys: [{ key, place }] });
    held.keys.pop();
    await this.#revoke(name, held);
    return false;
  }

  /** False: the lease is gone. */
  async #keepAlive(held: Held): Promise<boolean> {
    const startMs = nowMs();
    const answer = await this.#ask('lease/keepalive', { ID: `${held.id}` });
    if (answer === undefined || answer.error !== undefined) return true;
    if ((answer.result?.['TTL'] ?? '0') === '0') return this.#ended(held, 'a keep-alive');
    this.counts.renewed += 1;
    renewed(held, startMs);
    return true;
  }

  async #revoke(name: string, held: Held): Promise<void> {
    while (!this.#abandoned) {
      const answer = await this.#ask('lease/revoke', { ID: `${held.id}` });
      const isGone = answer?.error?.message.includes('lease not found') === true;
      if (answer !== undefined && (answer.error === undefined || isGone)) break;
      await pause(PAUSE_MS);
    }
    this.counts.revoked += 1;
    for (const { key, place } of held.keys) {
      if ((await this.#isThere(name, key, place)) !== true) continue;
      this.problems.push(`${key} is there, and its lease ${held.id} was revoked before`);
    }
  }

  /** A key of a live lease is there. */
  async #look(name: string, held: Held): Promise<void> {
    if (held.keys.length === 0) return;
    const { key, place } = pick(this.#rng, held.keys);
    const isThere = await this.#isThere(name, key, place);
    this.counts.looks += 1;
    const early = isThere === false ? endedEarly(held, nowMs()) : undefined;
    if (early !== undefined) this.problems.push(`${key} is missing: ${early}`);
  }

  #ended(held: Held, by: string): false {
    const early = endedEarly(held, nowMs());
    if (early !== undefined) this.problems.push(`${by}: ${early}`);
    this.#left.push(held);
    return false;
  }

  /** Undefined: nobody answered. */
  async #isThere(name: string, key: string, place: Place): Promise<boolean | undefined> {
    let found: boolean | undefined;
    await this.#send(name, place, read(key), (response) => {
      found = response.op === 'range' && response.kvs.length > 0;
    });
    return found;
  }

  /** A request at any member, recorded; the code of its error. */
  async #send(
    name: string,
    place: Place,
    request: KvRequest,
    told: (response: Awaited<ReturnType<typeof viaMember>>['response']) => void = () => undefined,
  ): Promise<string | undefined> {
    const { recorder, timelineOf } = this.#parts;
    const { door, member } = this.#parts.anyDoor(this.#rng);
    let code: string | undefined;
    const called = {
      ...{ client: name, process: this.#parts.newProcess(name), member, request },
      ...{ timeline: timelineOf(place), shard: place.shard },
    };
    const answer = await recorder.run(called, ATTEMPT_MS, () =>
      viaMember(door, request, ATTEMPT_MS).catch((error: unknown) => {
        code = isKvError(error) ? error.code : String(error);
        throw error;
      }),
    );
    if (answer !== undefined) told(answer.response);
    return code;
  }

  /** Undefined: nobody knows what became of it. */
  async #ask(
    path: string,
    body: Readonly<Record<string, unknown>>,
  ): Promise<
    | { readonly result?: Readonly<Record<string, unknown>>; readonly error?: GatewayError }
    | undefined
  > {
    const { door } = this.#parts.anyDoor(this.#rng);
    try {
      return { result: await callGateway(door, path, body, ATTEMPT_MS) };
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return error.surelyNot ? { error } : undefined;
    }
  }
}

function renewed(held: Held, sinceMs: number): void {
  const untilMs = sinceMs + held.ttlSeconds * 1000 - ROUNDING_MS;
  held.soundUntilMs = Math.max(held.soundUntilMs, untilMs);
}

/** What is wrong with a lease that somebody found gone at this time; its holder has not asked for that. */
export function endedEarly(
  { id, soundUntilMs }: Pick<Held, 'id' | 'soundUntilMs'>,
  atMs: number,
): string | undefined {
  if (atMs >= soundUntilMs) return undefined;
  const until = Math.round(soundUntilMs);
  return `lease ${id} is gone at ${Math.round(atMs)} ms, and was to live until ${until} ms`;
}
