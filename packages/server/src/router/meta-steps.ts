import { isCount } from '@kvorum/base';
import type { GenesisEntry } from '@kvorum/shard';
import { parseGenesis } from '../member/meta-generation.ts';

/** A step of a recovery of the meta group, from the member that an operator asked. */
export type MetaStep =
  | { readonly step: 'ask' }
  /** Take no part in earlier generations any more, for good. */
  | { readonly step: 'leave'; readonly generation: number }
  /** Begin the generation with the own state. */
  | { readonly step: 'begin'; readonly generation: number; readonly genesis: GenesisEntry };

/** What a member tells of its replica of the meta group. */
export interface MetaAccount {
  /** Generation of the log that it has gone to; it takes no part in earlier ones. */
  readonly generation: number;
  /** It holds a state of that generation: the generation has begun. */
  readonly begun: boolean;
}

const GENERATION_MAX = 1_000_000;

function isGeneration(value: unknown): value is number {
  return isCount(value) && value <= GENERATION_MAX;
}

/** Undefined for anything but a step. */
export function parseMetaStep(from: Readonly<Record<string, unknown>>): MetaStep | undefined {
  const { step, generation } = from as { readonly step?: unknown; readonly generation?: unknown };
  if (step === 'ask') return { step };
  if (!isGeneration(generation)) return undefined;
  if (step === 'leave') return { step, generation };
  const genesis = parseGenesis(from['genesis']);
  return step === 'begin' && genesis !== undefined ? { step, generation, genesis } : undefined;
}

/** Of an answer; undefined for that of a member of an older version. */
export function parseMetaAccount(answer: unknown): MetaAccount | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined;
  const { generation, begun } = answer as Readonly<Record<string, unknown>>;
  return isGeneration(generation) ? { generation, begun: begun === true } : undefined;
}
