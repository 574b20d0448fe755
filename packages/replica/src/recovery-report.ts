import {
  isCount,
  type LogIndex,
  logIndex,
  type Revision,
  revision,
  type Term,
  term,
} from '@kvorum/base';
import { type HaltReason, isHaltReason } from '@kvorum/raft';

/** What a recovery has to know of one replica: what its disk holds, synced. Plain data, as it travels between members. */
export interface RecoveryReport {
  /** Generation of the log that its state is of. */
  readonly generation: number;
  /** Applied records. */
  readonly index: LogIndex;
  readonly term: Term;
  readonly revision: Revision;
  /** Hex. */
  readonly chainHash: string;
  /** Digest of its content; undefined when the disk does not give it. */
  readonly stateHash: string | undefined;
  /** Chain hashes of earlier states that its process still knows, ascending: index and hex. */
  readonly history: readonly (readonly [index: number, chainHash: string])[];
  readonly halted: { readonly reason: HaltReason; readonly detail: string } | undefined;
  readonly leads: boolean;
}

/** The question that a replica answers with its report. */
export const RECOVERY_QUESTION: { readonly kind: 'recovery-report' } = { kind: 'recovery-report' };

type Fields = Readonly<Record<string, unknown>>;

export function isRecoveryQuestion(payload: unknown): boolean {
  return (payload as Fields | null | undefined)?.['kind'] === RECOVERY_QUESTION.kind;
}

const HASH = /^[0-9a-f]{64}$/;

function isPoint(value: unknown): value is readonly [number, string] {
  return Array.isArray(value) && isCount(value[0]) && HASH.test(String(value[1]));
}

function haltOf(value: unknown): RecoveryReport['halted'] {
  if (typeof value !== 'object' || value === null) return undefined;
  const { reason, detail } = value as Fields;
  if (!isHaltReason(reason)) return undefined;
  return { reason, detail: typeof detail === 'string' ? detail : '' };
}

/** Undefined for anything but a report, also for what a member of the version before answers. */
export function parseRecoveryReport(value: unknown): RecoveryReport | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const from = value as Fields;
  const { generation, index, chainHash, history, stateHash } = from;
  const [termNumber, main] = [from['term'], from['revision']];
  if (!isCount(generation) || !isCount(index) || !isCount(termNumber) || !isCount(main)) {
    return undefined;
  }
  if (typeof chainHash !== 'string' || !HASH.test(chainHash)) return undefined;
  return {
    generation,
    index: logIndex(index),
    term: term(termNumber),
    revision: revision(main),
    chainHash,
    stateHash: typeof stateHash === 'string' ? stateHash : undefined,
    history: Array.isArray(history) ? history.filter(isPoint) : [],
    halted: haltOf(from['halted']),
    leads: from['leads'] === true,
  };
}
