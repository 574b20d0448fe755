import type { Limits, LogIndex, MemberId } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import {
  encodeMembership,
  type MemberCondition,
  type Membership,
  type MembershipStep,
  nextMembershipStep,
  type Raft,
  type RaftStatus,
} from '@kvorum/raft';
import type { ReplicaLogger } from './replica-options.ts';

export interface MembershipHost {
  readonly self: MemberId;
  readonly limits: Limits;
  readonly logger: ReplicaLogger;
  readonly clock: Clock;
  /** This replica leads and everything up to its barrier is applied. */
  readonly serves: () => boolean;
  readonly raft: Pick<Raft, 'status' | 'canChangeMembership'>;
  /** No batch is being executed or logged. */
  readonly isIdle: () => boolean;
  readonly propose: (payload: Uint8Array) => void;
  readonly handOver: (to: MemberId) => Promise<void>;
  /** Batches may be sealed again. */
  readonly resume: () => void;
}

/**
 * Drives the membership that a shard has towards the one that is wanted, one `config` record after the other, while this replica leads.
 * What is wanted comes from outside (the shard map); who votes is decided by the log alone.
 */
export class MembershipDriver {
  readonly #host: MembershipHost;
  #desired: Membership | undefined;
  #open = false;
  /** A step waits for the batch in flight: no other one is sealed before it. */
  #pressing = false;
  #handingOver = false;
  /** The log refused the last record: it is not asked again at once. */
  #notBeforeMs = 0;
  #lastWhy = '';

  constructor(host: MembershipHost) {
    this.#host = host;
  }

  /** Whether new batches have to wait for a `config` record. */
  get holdsWrites(): boolean {
    return this.#pressing;
  }

  want(desired: Membership): void {
    this.#desired = desired;
  }

  /** Takes the next step if there is one; called at every tick and whenever a batch has been settled. */
  pump(): void {
    if (this.#open) return;
    const step = this.#nextStep();
    const isChange = step?.kind === 'change';
    if (isChange && this.#host.isIdle() && this.#host.raft.canChangeMembership()) {
      this.#propose(step);
      return;
    }
    const wasPressing = this.#pressing;
    this.#pressing = isChange && this.#isPresentKnown();
    if (step?.kind === 'hand-over') this.#handOver(step.to);
    if (wasPressing && !this.#pressing) this.#host.resume();
  }

  /** Whether the open proposal is a `config` record; it is settled by that. */
  settle(verdict: 'accepted' | 'absent' | 'oversize'): boolean {
    if (!this.#open) return false;
    this.#open = false;
    this.#host.logger.debug({ verdict }, 'membership change settled');
    if (verdict !== 'accepted') {
      this.#notBeforeMs = this.#host.clock.nowMs() + this.#host.limits.heartbeatMs;
    }
    this.pump();
    if (!this.#pressing) this.#host.resume();
    return true;
  }

  #nextStep(): MembershipStep | undefined {
    const desired = this.#desired;
    if (desired === undefined || !this.#host.serves()) return undefined;
    if (this.#host.clock.nowMs() < this.#notBeforeMs) return undefined;
    const status = this.#host.raft.status();
    if (status.transferTarget !== undefined) return undefined;
    const { voters, learners, accepted } = status;
    const step = nextMembershipStep({
      self: this.#host.self,
      current: { voters, learners },
      desired,
      condition: (member) => this.#condition(status, member),
      index: accepted.index,
      lagMax: this.#host.limits.learnerLagRecordsMax,
    });
    if (step.kind === 'wait') this.#say(step.why);
    return step;
  }

  #condition(status: RaftStatus, member: MemberId): MemberCondition {
    const peer = status.peers.find(({ id }) => id === member);
    if (member === this.#host.self || peer === undefined) {
      return {
        alive: member === this.#host.self,
        silentMs: member === this.#host.self ? 0 : Number.POSITIVE_INFINITY,
        logReachable: status.logReachable,
        index: member === this.#host.self ? status.accepted.index : (0 as LogIndex),
      };
    }
    const { lastHeardMs, logReachable, index } = peer;
    const silentMs =
      lastHeardMs === undefined ? Number.POSITIVE_INFINITY : this.#host.clock.nowMs() - lastHeardMs;
    return { alive: silentMs < this.#host.limits.electionMsMin, silentMs, logReachable, index };
  }

  /** The next record waits for nothing but this member's own batch: writes make room for it. */
  #isPresentKnown(): boolean {
    const { voters, configIndex, peers } = this.#host.raft.status();
    const knowing = voters.filter(
      (id) =>
        id === this.#host.self || (peers.find((peer) => peer.id === id)?.index ?? 0) >= configIndex,
    );
    return 2 * knowing.length > voters.length;
  }

  #propose(step: Extract<MembershipStep, { kind: 'change' }>): void {
    this.#open = true;
    this.#pressing = false;
    this.#lastWhy = '';
    this.#host.logger.info({ why: step.why }, 'membership changes');
    this.#host.propose(encodeMembership(step.to));
  }

  #handOver(to: MemberId): void {
    if (this.#handingOver) return;
    this.#handingOver = true;
    const ended = (): void => {
      this.#handingOver = false;
    };
    this.#host.handOver(to).then(ended, ended); // one that failed is tried again at a later tick
  }

  /** The same reason at every tick is said once. */
  #say(why: string): void {
    if (this.#lastWhy === why) return;
    this.#lastWhy = why;
    this.#host.logger.info({ why }, 'membership change waits');
  }
}
