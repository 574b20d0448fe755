import { setTimeout as pause } from 'node:timers/promises';
import { isKvError, type KvRequest, utf8 } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import { type Door, viaMember } from './at-member.ts';
import { callGateway, GatewayError } from './gateway.ts';
import { pick } from './links.ts';
import { nowMs } from './recorder.ts';
import { read } from './requests.ts';
import { type Access, GUEST, insistOn, logIn, spanOf } from './rights.ts';
import type { Place, SideLoadParts } from './side-load-parts.ts';

const GUESTS = 2;
const DWELL_MS = 2500;
const PAUSE_MS = 100;
const ATTEMPT_MS = 2000;
/** Every member that has not heard of a change by then serves nobody; a change whose answer was lost is relied on only then. */
const SPREAD_MS = 6000;

type RightKind = 'granted' | 'none' | 'changing';

/** What the guest may do right now, and since when; `changing`: one or the other. */
interface Right {
  readonly kind: RightKind;
  readonly sinceMs: number;
}

/**
 * A user whose right to some keys comes and goes, at any member. While the right stands no request is refused for the lack of it; once it has
 * gone, by an acknowledged change, none is served at any member. What was refused must never be seen: its writes are part of the history.
 * A place that was never granted is never open.
 */
export class Guest {
  readonly problems: string[] = [];
  readonly counts = { changes: 0, served: 0, refused: 0 };
  readonly #parts: SideLoadParts;
  readonly #access: Access;
  readonly #rng: Rng;
  readonly #own: Place;
  readonly #foreign: Place;
  #right: Right = { kind: 'none', sinceMs: 0 };
  #token: string | undefined;
  #lastRole = 0;
  #lastValue = 0;
  #running = true;
  #abandoned = false;
  #loops: Promise<void>[] = [];

  /** @param places - the first comes and goes, the second is never open. */
  constructor(parts: SideLoadParts, access: Access, places: readonly [Place, Place]) {
    this.#parts = parts;
    this.#rng = parts.rng;
    this.#access = access;
    [this.#own, this.#foreign] = places;
  }

  start(): void {
    const guests = Array.from({ length: GUESTS }, (_, i) => this.#visit(`${GUEST}${i}`));
    this.#loops = [this.#govern(), ...guests];
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
  }

  /** Nothing answers any more. */
  abandon(): void {
    this.#running = false;
    this.#abandoned = true;
  }

  readonly #anyRoot = (): Door => {
    const { endpoint } = this.#parts.anyDoor(this.#rng).door;
    if (this.#abandoned) throw new Ended();
    return { endpoint, token: this.#access.root };
  };

  /** Each time by a role of its own, so that nothing that comes late can bring the right back. */
  async #govern(): Promise<void> {
    try {
      while (this.#running) await this.#cycle();
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
    }
  }

  async #cycle(): Promise<void> {
    this.#lastRole += 1;
    const role = `guest-${this.#lastRole}`;
    await this.#insist('auth/role/add', { name: role });
    const perm = { permType: 'READWRITE', ...spanOf(this.#own.directory) };
    await this.#insist('auth/role/grant', { name: role, perm });
    this.#right = { kind: 'changing', sinceMs: nowMs() };
    if (await this.#once('auth/user/grant', { user: GUEST, role })) {
      this.#right = { kind: 'granted', sinceMs: nowMs() };
      await this.#dwell();
      this.#right = { kind: 'changing', sinceMs: nowMs() };
      const byUser = this.#rng.integer(0, 2) === 0;
      if (byUser && (await this.#once('auth/user/revoke', { name: GUEST, role }))) {
        this.#right = { kind: 'none', sinceMs: nowMs() };
        await this.#dwell();
      }
    }
    // Whatever is still on its way about this role comes to nothing then.
    const { attempts } = await this.#insist('auth/role/delete', { role }, 'role name not found');
    if (this.#right.kind === 'changing') {
      if (attempts > 1) await pause(SPREAD_MS);
      this.#right = { kind: 'none', sinceMs: nowMs() };
    }
    this.counts.changes += 1;
    await this.#dwell();
  }

  async #dwell(): Promise<void> {
    const untilMs = nowMs() + this.#rng.integer(DWELL_MS / 5, DWELL_MS);
    while (this.#running && nowMs() < untilMs) await pause(PAUSE_MS);
  }

  #insist(
    path: string,
    body: Readonly<Record<string, unknown>>,
    done?: string,
  ): Promise<{ readonly attempts: number }> {
    return insistOn(this.#anyRoot, path, body, done);
  }

  /** Whether it was certainly done. */
  async #once(path: string, body: Readonly<Record<string, unknown>>): Promise<boolean> {
    try {
      await callGateway(this.#anyRoot(), path, body, SPREAD_MS);
      return true;
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return false;
    }
  }

  async #visit(name: string): Promise<void> {
    while (this.#running) {
      await this.#operate(name);
      await pause(this.#rng.integer(0, PAUSE_MS));
    }
  }

  async #operate(name: string): Promise<void> {
    const { anyDoor, newProcess, recorder, timelineOf } = this.#parts;
    const { door, member } = anyDoor(this.#rng);
    const place = this.#rng.integer(0, 4) === 0 ? this.#foreign : this.#own;
    const token = await this.#logIn(door);
    if (token === undefined) return;
    const request = this.#draw(place);
    const before = this.#right;
    let code = 'OK';
    const called = {
      ...{ client: GUEST, process: newProcess(name), member, request },
      ...{ timeline: timelineOf(place), shard: place.shard },
    };
    await recorder.run(called, ATTEMPT_MS, () =>
      viaMember({ endpoint: door.endpoint, token }, request, ATTEMPT_MS).catch((error: unknown) => {
        code = isKvError(error) ? error.code : String(error);
        throw error;
      }),
    );
    // Tokens go with the roles that they were made under.
    if (code === 'KV_UNAUTHENTICATED') this.#token = undefined;
    if (code === 'OK') this.counts.served += 1;
    else if (code === 'KV_PERMISSION_DENIED') this.counts.refused += 1;
    const what = `${request.op} of ${place.directory} at ${member}`;
    const right = place === this.#own ? before.kind : 'none';
    // What changed meanwhile decides nothing.
    if (place === this.#own && before !== this.#right) return;
    const wrong = judgeGuest(right, code);
    if (wrong !== undefined) this.problems.push(`${what}: ${wrong}`);
  }

  async #logIn(door: Door): Promise<string | undefined> {
    try {
      this.#token ??= await logIn(door, GUEST);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
    }
    return this.#token;
  }

  #draw({ directory }: Place): KvRequest {
    const key = `${directory}k${pick(this.#rng, [0, 1, 2])}`;
    if (this.#rng.integer(0, 2) === 0) return read(key, this.#rng.integer(0, 4) === 0);
    this.#lastValue += 1;
    return { op: 'put', key: utf8(key), value: utf8(`guest${this.#lastValue}`) };
  }
}

/** What is wrong with the answer to a request during all of which the right was this; `code`: `OK` or of the error. */
export function judgeGuest(right: RightKind, code: string): string | undefined {
  if (right === 'none' && code === 'OK') return 'was served, and the guest had no right to it';
  if (right === 'granted' && code === 'KV_PERMISSION_DENIED') {
    return 'was refused, and the guest had the right to it';
  }
  return undefined;
}

/** Nothing answers any more. */
class Ended extends Error {}
