import type { Rng } from '@kvorum/ports';
import { type Delay, type Direction, TcpProxy } from './tcp-proxy.ts';

/** One way that bytes go between two processes, through a proxy of ours. */
export interface Link {
  /** Index of the member that dials. */
  readonly from: number;
  /** A member's index, or a broker's number less one. */
  readonly to: number;
  readonly kind: 'peer' | 'broker';
  readonly proxy: TcpProxy;
}

/** Every connection that one process of the cluster dials to another: member to member, and member to broker. */
export class Links {
  readonly all: readonly Link[];

  private constructor(all: readonly Link[]) {
    this.all = all;
  }

  /** `ports`: members × (members − 1 + brokers) of them. */
  static async listen(members: number, brokers: number, ports: readonly number[]): Promise<Links> {
    const wanted: Omit<Link, 'proxy'>[] = [];
    for (let from = 0; from < members; from += 1) {
      for (let to = 0; to < members; to += 1) {
        if (to !== from) wanted.push({ from, to, kind: 'peer' });
      }
      for (let to = 0; to < brokers; to += 1) wanted.push({ from, to, kind: 'broker' });
    }
    const all = await Promise.all(
      wanted.map(async (link, i) => ({ ...link, proxy: await TcpProxy.listen(ports[i] ?? 0) })),
    );
    return new Links(all);
  }

  static count(members: number, brokers: number): number {
    return members * (members - 1 + brokers);
  }

  of(kind: Link['kind'], from: number, to: number): Link {
    const found = this.all.find((l) => l.kind === kind && l.from === from && l.to === to);
    if (found === undefined) throw new TypeError(`no ${kind} link ${from} → ${to}`);
    return found;
  }

  /** The connections that touch a member, and which of their directions lead `out` of it or `in`to it. */
  around(member: number, kinds: readonly Link['kind'][]): readonly Touching[] {
    return this.all
      .filter(({ kind }) => kinds.includes(kind))
      .flatMap((link): Touching[] => {
        if (link.from === member) return [{ link, out: 'forth', in: 'back' }];
        return link.kind === 'peer' && link.to === member
          ? [{ link, out: 'back', in: 'forth' }]
          : [];
      });
  }

  heal(): void {
    for (const { proxy } of this.all) proxy.heal();
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(({ proxy }) => proxy.close()));
  }
}

export interface Touching {
  readonly link: Link;
  readonly out: Direction;
  readonly in: Direction;
}

export type Way = 'in' | 'out' | 'both';

export function cut(touching: readonly Touching[], way: Way): void {
  for (const each of touching) {
    each.link.proxy.cut(way === 'both' ? ['forth', 'back'] : [each[way]]);
  }
}

export function delay(touching: readonly Touching[], by: Delay): void {
  for (const { link } of touching) link.proxy.delay(by);
}

export function reset(touching: readonly Touching[]): void {
  for (const { link } of touching) link.proxy.reset();
}

export function heal(touching: readonly Touching[]): void {
  for (const { link } of touching) link.proxy.heal();
}

/** One of several; there is at least one. */
export function pick<T>(rng: Rng, of: readonly T[]): T {
  const picked = of[rng.integer(0, of.length)];
  if (picked === undefined) throw new TypeError('nothing to pick from');
  return picked;
}
