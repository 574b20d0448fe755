import type { MemberId } from '@kvorum/base';
import type { Clock, PeerTransport } from '@kvorum/ports';
import {
  addFigures,
  NO_FIGURES,
  type ShardMap,
  SLOT_COUNT,
  type SlotFigures,
  SlotLoad,
  slotSpansOf,
} from '@kvorum/shard';
import type { SlotInfo, SlotsParams, SlotsView } from '@kvorum/wire';
import { encodeSlotLoadQuestion } from '../router/forward.ts';
import { askMembers } from './ask-members.ts';
import { otherMembers } from './reshard.ts';

const ADVANCE_MS = 2000;
const ASK_MS = 2000;
const TOP = 16;

export interface SlotLoadsParts {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly map: () => ShardMap;
  readonly leads: (shard: string) => boolean;
  readonly peers: Pick<PeerTransport, 'request'>;
}

/** One slot of a member's account: rates are rounded to thousandths. */
type Account = readonly [
  slot: number,
  reads: number,
  writes: number,
  traffic: number,
  keys: number,
  bytes: number,
];

/** Load and size of slots: counted on this member, and put together from all of them. */
export class SlotLoads {
  /** Where this member's replicas count. */
  readonly counts: SlotLoad = new SlotLoad();
  readonly #parts: SlotLoadsParts;

  constructor(parts: SlotLoadsParts) {
    this.#parts = parts;
  }

  /** Begins to smooth what is counted; returns how to stop. */
  start(): () => void {
    const { clock } = this.#parts;
    let cancel = (): void => undefined;
    const next = (): void => {
      this.counts.advance(clock.nowMs());
      cancel = clock.setTimer(ADVANCE_MS, next);
    };
    next();
    return () => cancel();
  }

  /** What this member alone serves of a shard: all its writes when it leads it, of its reads those that were asked here. */
  ofShard(shard: string): SlotFigures {
    return this.counts.sum(slotSpansOf(this.#parts.map(), shard));
  }

  /** Requests a second of a shard that this member serves. */
  rateOf(shard: string): number {
    const { reads, writes } = this.ofShard(shard);
    return reads + writes;
  }

  /** This member's account for the others; sizes only of slots whose shard it leads. */
  account(): readonly Account[] {
    const { map, leads } = this.#parts;
    const out: Account[] = [];
    for (const { from, to, shard } of map().slots) {
      const isLed = leads(shard);
      for (let slot = from; slot <= to; slot += 1) {
        const { reads, writes, traffic, keys, bytes } = this.counts.of(slot);
        const size = isLed ? ([keys, bytes] as const) : ([0, 0] as const);
        if (reads + writes + size[0] > 0) {
          out.push([slot, rounded(reads), rounded(writes), Math.round(traffic), ...size]);
        }
      }
    }
    return out;
  }

  /** By slot, over all members that answer. */
  async all(): Promise<readonly SlotFigures[]> {
    const { self, map, peers } = this.#parts;
    const members = otherMembers(map(), self);
    const payload = encodeSlotLoadQuestion();
    const answers = await askMembers(peers, { members, payload, timeoutMs: ASK_MS });
    const told = [...answers.values()].map(parseAccount);
    const total: SlotFigures[] = new Array<SlotFigures>(SLOT_COUNT).fill(NO_FIGURES);
    for (const [slot, reads, writes, traffic, keys, bytes] of [this.account(), ...told].flat()) {
      const figures = { reads, writes, traffic, keys, bytes };
      total[slot] = addFigures(total[slot] ?? NO_FIGURES, figures);
    }
    return total;
  }

  /** Ranges of slots with their sums, and the busiest slots; equally busy ones by their size. */
  async view({ shard, top = TOP }: SlotsParams): Promise<SlotsView> {
    const all = await this.all();
    const owned = this.#parts.map().slots.filter((range) => range.shard === (shard ?? range.shard));
    const ranges = owned.map((range): SlotInfo => {
      const slots = all.slice(range.from, range.to + 1);
      return { ...range, ...plainFigures(slots.reduce(addFigures, NO_FIGURES)) };
    });
    const slots: SlotInfo[] = [];
    for (const range of owned) {
      for (let slot = range.from; slot <= range.to; slot += 1) {
        const figures = all[slot] ?? NO_FIGURES;
        if (figures.reads + figures.writes + figures.keys === 0) continue;
        slots.push({ shard: range.shard, from: slot, to: slot, ...plainFigures(figures) });
      }
    }
    slots.sort(
      (a, b) => b.reads + b.writes - (a.reads + a.writes) || b.bytes - a.bytes || a.from - b.from,
    );
    return { ranges, slots: slots.slice(0, top) };
  }
}

const rounded = (rate: number): number => Math.round(rate * 1000) / 1000;

function plainFigures({ reads, writes, traffic, keys, bytes }: SlotFigures): SlotFigures {
  return {
    reads: rounded(reads),
    writes: rounded(writes),
    traffic: Math.round(traffic),
    keys: Math.round(keys),
    bytes: Math.round(bytes),
  };
}

const isAmount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;

/** Checks the account of another member; what is malformed is left out, as is that of a member of an older version. */
export function parseAccount(value: unknown): readonly Account[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((one: unknown): readonly Account[] => {
    if (!Array.isArray(one) || !one.every(isAmount)) return [];
    const [slot, reads, writes, traffic, keys, bytes] = one;
    const isWhole = slot !== undefined && Number.isInteger(slot) && slot < SLOT_COUNT;
    if (!isWhole || reads === undefined || writes === undefined) return [];
    if (traffic === undefined || keys === undefined || bytes === undefined) return [];
    return [[slot, reads, writes, traffic, keys, bytes]];
  });
}
