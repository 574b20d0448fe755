/**
 * What must hold of a run, by name; the numbers are those of `reference/reliability-ux.md` §2.2. Authorization (12) and resharding (13, in
 * part) are not in the simulated part of the product.
 */
export const INVARIANTS = {
  'leader-per-term': '1: at most one leader of a shard in a term',
  'vote-once': '1: a member votes for one candidate in a term, whatever crashes',
  'wiped-vote': '1: nobody votes by a disk that was wiped as the one it was before',
  'vote-durable': '1: a vote that was sent is on the disk',
  'elected-by-majority': '1: a leader of a term has the votes of a majority in it',
  'pre-vote-majority':
    '1: nobody raises the term before a majority agreed to it, but for a transfer',
  membership: '1: one voter changes at a time, learners first; a replica counts whom the log names',
  'learner-lag': '1: who is made a voter had accepted all but the allowed number of records',
  'never-backwards': '2, 6: term, index, applied index and revision of a replica only grow',
  'one-history': '2: every replica accepts the one history that the log decides',
  'old-term-fenced': '4: the last accepted record is of the term and leader that the log says',
  'one-content': '4: a term, leader and sequence number stand for one sequence of bytes',
  'applied-behind-accepted': '3: nothing is applied that was not accepted',
  'state-hash': '3: replicas hold the same content at the same index',
  'batch-atomic': '3: a disk holds the position and what it admits, or neither',
  'log-start': '5: the log starts no later than what some disk still needs',
  'log-truncation': '5: nothing is truncated that a voter which counts does not hold synced',
  'install-idle': 'a replica that installs a snapshot holds no office and gives no vote',
  revisions: '6: the revision at an index is the same everywhere',
  outcomes: '7: what was acknowledged stands, what failed does not, nothing stands twice',
  linearizable: '8: every answer is of one order that agrees with real time',
  'real-time': '8: nothing starts after a revision was seen and answers from before it',
  history: '8: an answer at an older revision is what the history holds there',
  watch: '9: a watcher gets each event once, in order, whole, with the right previous value',
  'cross-check': '7, 8, 9: the checkers of recorded histories find nothing either',
  'lease-outlived': '10: no key outlives its lease once somebody was told that it is gone',
  'lease-cut-short':
    '10: a lease lives for its time to live since its last renewal that was answered began',
  'lease-one-revision': '10: the keys of a lease go in one revision of each shard',
  fencing: '11: a key created later has a higher create revision',
  'shard-ownership': '13: a key stands in the log of its shard only',
  'slot-owned-once':
    '13: at every moment a slot is served by one shard at most, and is where the map says or on its way there',
  'moved-history':
    '13: every version that no compaction took stands once at the owner, with its revisions',
  'moved-writes': '7, 13: as `outcomes`, for keys that move between shards',
  'moved-watch': '9, 13: as `watch`, over the moves of its slots',
  'move-ends': '13: a move ends, or is aborted, once a majority and the log work',
  bounds: '14: queues keep to their limits',
  'answered-once': '14: every call is answered exactly once',
  'failures-heard':
    '14: a failure is heard by whoever began the work: unheard it would end the process',
  'detect-and-halt': 'a replica whose history the log lost halts, and no other one',
  'one-generation': 'nobody leads a shard in a generation that an operator has left',
  recovered:
    'a recovered shard goes on from all that the chosen replica held; every replica holds that, and what came after',
  'no-alarm': 'no replica breaks or halts without a cause',
  liveness: 'once a majority and the log work, everything asked comes to its end',
} as const;

export type InvariantName = keyof typeof INVARIANTS;

/** One violation. */
export interface Problem {
  readonly invariant: InvariantName;
  readonly text: string;
}

/** One bug may show in every later step: so many of a kind tell enough. */
const PER_INVARIANT_MAX = 5;

/** Collects violations; the same one counts once. */
export class Problems {
  readonly found: Problem[] = [];
  readonly #seen = new Set<string>();
  readonly #counts = new Map<InvariantName, number>();

  add(invariant: InvariantName, text: string): void {
    const key = `${invariant} ${text}`;
    if (this.#seen.has(key)) return;
    const count = this.#counts.get(invariant) ?? 0;
    if (count >= PER_INVARIANT_MAX) return;
    this.#counts.set(invariant, count + 1);
    this.#seen.add(key);
    this.found.push({ invariant, text });
  }

  addAll(invariant: InvariantName, texts: readonly string[]): void {
    for (const text of texts) this.add(invariant, text);
  }
}
