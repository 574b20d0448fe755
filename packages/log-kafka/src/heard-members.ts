import type { MemberId } from '@kvorum/base';

/** A member that comes back as another process is reported gone, and back only after so long: its old process led nothing any more. */
const RETURN_MS = 1000;

interface Heard {
  /** The process that was heard last. */
  boot: string;
  /** When that process was heard first. */
  sinceMs: number;
  heardMs: number;
  reachable: boolean;
  /** This process said that it ends: what still comes from it is late. */
  leftBoot: string | undefined;
}

/** Which processes of other members have been heard, and when. */
export class HeardMembers {
  readonly #members = new Map<MemberId, Heard>();
  readonly #silenceMs: number;
  readonly #onReachability: (member: MemberId, reachable: boolean) => void;

  /** `silenceMs`: how long a member may say nothing before it counts as unreachable. */
  constructor(silenceMs: number, onReachability: (member: MemberId, reachable: boolean) => void) {
    this.#silenceMs = silenceMs;
    this.#onReachability = onReachability;
  }

  /** Whether it is a process that was not heard before, or not lately. */
  heard(member: MemberId, boot: string, nowMs: number): boolean {
    const known = this.#members.get(member);
    if (known === undefined) {
      const first = { boot, sinceMs: nowMs, heardMs: nowMs, reachable: true, leftBoot: undefined };
      this.#members.set(member, first);
      this.#onReachability(member, true);
      return true;
    }
    if (known.leftBoot === boot) return false;
    known.heardMs = nowMs;
    if (known.boot !== boot) {
      known.boot = boot;
      known.sinceMs = nowMs;
      this.#set(member, known, false);
      return true;
    }
    if (nowMs - known.sinceMs >= RETURN_MS) this.#set(member, known, true);
    return false;
  }

  left(member: MemberId, boot: string): void {
    const known = this.#members.get(member);
    if (known?.boot !== boot) return;
    known.leftBoot = boot;
    this.#set(member, known, false);
  }

  /** Finds those that fell silent; not to be called while nothing can be heard at all. */
  review(nowMs: number): void {
    for (const [member, known] of this.#members) {
      if (nowMs - known.heardMs >= this.#silenceMs) this.#set(member, known, false);
    }
  }

  bootOf(member: MemberId): string | undefined {
    return this.#members.get(member)?.boot;
  }

  isReachable(member: MemberId): boolean {
    return this.#members.get(member)?.reachable ?? false;
  }

  #set(member: MemberId, known: Heard, reachable: boolean): void {
    if (known.reachable === reachable) return;
    known.reachable = reachable;
    this.#onReachability(member, reachable);
  }
}
