import { LEASES } from './leases.ts';
import { MEMBERS } from './member-catalogue.ts';
import type { Mutant } from './mutant.ts';
import {
  forgetsSessions,
  forgetsVote,
  ignoresWriteErrors,
  positionApartFromData,
  timeOutMeansWritten,
} from './ports.ts';
import { RECOVERIES } from './recoveries.ts';
import {
  brokenLog,
  deposedWriters,
  doubtfulAppends,
  dyingMachines,
  fairWeather,
  hangingLeaders,
  lateFollowers,
  lonelyLeaders,
  lostDisks,
  manyElections,
  restlessLeaders,
  retries,
  sleepingLeaders,
} from './sets.ts';
import { SLOT_MOVES } from './slot-moves.ts';
import { SNAPSHOTS } from './snapshots.ts';
import { WATCHES } from './watches.ts';

/** Bugs of the log's filter and of who may append. */
const LOG: readonly Mutant[] = [
  {
    name: 'acknowledge on produce success without the filter',
    edits: [
      {
        file: 'raft/src/append.ts',
        find: 'if (offset === next && !open.unknownSeen && !core.verifyingLast) {',
        replace: 'if (!core.verifyingLast) {',
      },
    ],
    adjust: deposedWriters,
  },
  {
    name: 'filter by term only',
    edits: [
      {
        file: 'raft/src/filter.ts',
        find: "  if (record.leaderId !== state.leaderId) return ignore(state, record, 'other-leader');\n  if (record.seq <= state.seq) return ignore(state, record, 'duplicate');\n  if (record.seq !== state.seq + 1) {",
        replace: '  if (record.seq > state.seq + 1) {',
      },
      {
        file: 'raft/src/filter.ts',
        find: 'if (!equalBytes(record.prevHash, state.chainHash)) {',
        replace: 'if (record.prevHash.length === 0) {',
      },
    ],
    adjust: doubtfulAppends,
  },
  {
    name: 'equal-term second barrier accepted',
    edits: [
      {
        file: 'raft/src/filter.ts',
        find: 'if (record.term > state.term) return accept(state, record, context);',
        replace: 'if (record.term >= state.term) return accept(state, record, context);',
      },
    ],
    adjust: doubtfulAppends,
  },
  {
    name: 'old-term records accepted after a barrier',
    edits: [
      {
        file: 'raft/src/filter.ts',
        find: "if (record.term < state.term) return ignore(state, record, 'old-term');",
        replace: 'if (record.term < state.term) return accept(state, record, context);',
      },
    ],
    adjust: doubtfulAppends,
  },
  {
    name: 'serve before the own barrier',
    edits: [
      {
        file: 'raft/src/append.ts',
        find: '      open.unknownSeen = true;\n',
        replace:
          '      open.unknownSeen = true;\n      if (open === core.barrier) return becomeLeader(core);\n',
      },
      {
        file: 'raft/src/append.ts',
        find: "import { becomeFollower } from './role.ts';",
        replace: "import { becomeFollower, becomeLeader } from './role.ts';",
      },
    ],
    adjust: doubtfulAppends,
  },
  {
    name: 'new bytes under a used seq',
    edits: [
      {
        file: 'replica/src/effect-runner.ts',
        find: 'const sent = effect.again ? this.#lastAppend : this.#encode(effect.record);',
        replace: 'const sent = this.#encode(effect.record);',
      },
    ],
    adjust: doubtfulAppends,
    seenBy: ['one-content'],
  },
  {
    name: 'ambiguous error treated as absent',
    edits: [
      {
        file: 'raft/src/append.ts',
        find: '      open.unknownSeen = true;\n      sendLater(core, open);\n      ensureFollowing(core);',
        replace: '      onAbsent(core, open, false);',
      },
    ],
    adjust: doubtfulAppends,
  },
  {
    name: 'contiguous acknowledgement with an open unknown outcome',
    plant: () => ({ log: timeOutMeansWritten }),
    adjust: doubtfulAppends,
  },
  {
    name: 'seq not reset by a barrier',
    edits: [
      {
        file: 'raft/src/filter.ts',
        find: "seq: record.kind === 'barrier' || record.kind === 'genesis' ? 0 : record.seq,",
        replace: "seq: record.kind === 'barrier' ? state.seq : record.seq,",
      },
    ],
    adjust: doubtfulAppends,
  },
  {
    name: 'index counted by offset',
    edits: [
      {
        file: 'raft/src/filter.ts',
        find: 'index: logIndex(state.index + 1),',
        replace: 'index: logIndex(record.offset + 1),',
      },
    ],
    adjust: doubtfulAppends,
  },
];

/** Bugs that only a log against its promises brings out. */
const DAMAGE: readonly Mutant[] = [
  {
    name: 'beyond-end treated as truncated',
    edits: [
      {
        file: 'raft/src/follow.ts',
        find: '  if (end < next) {\n',
        replace:
          '  if (end < next) {\n    core.verifyingLast = false;\n    core.accepted = { ...core.accepted, offset: logOffset(end - 1), lastOffset: logOffset(-1) };\n    emit(core, { kind: "follow-log", from: logOffset(end) });\n  } else if (end < next) {\n',
      },
    ],
    adjust: brokenLog('tail-rewritten'),
    seenBy: ['detect-and-halt'],
  },
  {
    name: 'log start above the next offset skipped over',
    edits: [
      {
        file: 'raft/src/snapshot.ts',
        find: '  if (core.awaitingSnapshot !== undefined) return;\n',
        replace:
          '  core.verifyingLast = false;\n  core.accepted = { ...core.accepted, offset: logOffset(start - 1) };\n  emit(core, { kind: "follow-log", from: logOffset(start) });\n  if (start >= 0) return;\n',
      },
    ],
    adjust: brokenLog('start-moved'),
  },
  {
    name: 'last record not compared at a start',
    edits: [
      {
        file: 'raft/src/core.ts',
        find: 'verifyingLast: accepted.lastOffset >= 0,',
        replace: 'verifyingLast: false,',
      },
    ],
    adjust: brokenLog('tail-rewritten'),
    seenBy: ['detect-and-halt'],
  },
];

/** Bugs of elections. */
const VOTES: readonly Mutant[] = [
  {
    name: 'skip fsync of the vote',
    edits: [
      {
        file: 'replica/src/effect-runner.ts',
        find: '            sync: true,',
        replace: '            sync: false,',
      },
    ],
    adjust: dyingMachines,
    seenBy: ['vote-durable', 'vote-once'],
  },
  {
    name: 'vote answered before it is written',
    edits: [
      {
        file: 'replica/src/effect-runner.ts',
        find: "if (effect.after === 'persist' && this.#persisting > 0) {",
        replace: "if (effect.after === 'persist' && this.#persisting > 9) {",
      },
    ],
    adjust: dyingMachines,
    seenBy: ['vote-durable', 'vote-once'],
  },
  {
    name: 'vote forgotten at a start',
    plant: () => ({ store: forgetsVote }),
    adjust: (swarm) => ({ ...manyElections(swarm), faultMsMax: 200 }),
    seenBy: ['vote-once', 'vote-durable', 'leader-per-term'],
  },
  {
    name: 'double-counted vote',
    edits: [
      {
        file: 'raft/src/election.ts',
        find: '  core.votes.set(from, granted);\n',
        replace:
          '  const again = core.votes.has(from) && granted;\n  core.votes.set(again ? (core.voters.find((id) => !core.votes.has(id)) ?? from) : from, granted);\n',
      },
    ],
    adjust: manyElections,
    seenBy: ['elected-by-majority', 'pre-vote-majority'],
  },
  {
    name: 'vote without pre-vote majority',
    edits: [
      {
        file: 'raft/src/election.ts',
        find: "  else if (result === 'won' && core.role === 'pre-candidate') campaign(core, false);",
        replace: "  else if (core.role === 'pre-candidate') campaign(core, false);",
      },
    ],
    adjust: manyElections,
    seenBy: ['pre-vote-majority'],
  },
  {
    name: 'two votes in one term',
    edits: [
      {
        file: 'raft/src/election.ts',
        find: '  return vote === from || (vote === undefined && core.leader === undefined);',
        replace: '  return vote !== core.config.self || vote === from;',
      },
    ],
    adjust: manyElections,
    seenBy: ['vote-once', 'leader-per-term', 'vote-durable'],
  },
  {
    name: 'term starts again below the log on an empty disk',
    edits: [
      {
        file: 'raft/src/accept.ts',
        find: '  } else if (record.term > core.hard.term) {\n    becomeFollower(core, record.term);',
        replace:
          '  } else if (record.term > core.hard.term + 1e9) {\n    becomeFollower(core, record.term);',
      },
    ],
    adjust: lostDisks,
  },
];

/** Bugs of reads. */
const READS: readonly Mutant[] = [
  {
    name: 'reused read-index round',
    slow: true,
    edits: [
      {
        file: 'raft/src/read-index.ts',
        find: '  if (core.readRound !== undefined || core.waitingReads.length === 0) return;',
        replace:
          '  if (core.readRound !== undefined) {\n    core.readRound = { ...core.readRound, reads: [...core.readRound.reads, ...core.waitingReads] };\n    core.waitingReads = [];\n  }\n  if (core.readRound !== undefined || core.waitingReads.length === 0) return;',
      },
    ],
    adjust: hangingLeaders,
    seenBy: ['linearizable', 'real-time'],
  },
  {
    name: 'answer to an older read-index request taken',
    edits: [
      {
        file: 'raft/src/read-index.ts',
        find: 'if (request === undefined || request.requestId !== message.requestId) return;',
        replace: 'if (request === undefined) return;',
      },
    ],
    adjust: (swarm) => ({
      ...restlessLeaders(swarm),
      clients: 5,
      peerFaults: {
        ...swarm.peerFaults,
        delayMsMax: 300,
        lossPerMille: 0,
        duplicationPerMille: 300,
      },
    }),
    seenBy: ['linearizable', 'real-time'],
  },
  {
    name: 'lease kept over a pause',
    edits: [
      {
        file: 'raft/src/read-index.ts',
        find: '(core.peers.get(id)?.round ?? 0) >= round.round,',
        replace: 'core.nowMs - (core.peers.get(id)?.answeredMs ?? 0) < core.config.electionMsMin,',
      },
    ],
    adjust: sleepingLeaders,
    seenBy: ['linearizable', 'real-time'],
  },
  {
    name: 'reads confirmed without an answer from a majority',
    edits: [
      {
        file: 'raft/src/read-index.ts',
        find: '(id) => id === core.config.self || (core.peers.get(id)?.round ?? 0) >= round.round,',
        replace: '(id) => id === core.config.self || core.peers.get(id) !== undefined,',
      },
    ],
    adjust: lonelyLeaders,
    seenBy: ['linearizable', 'real-time'],
  },
  {
    name: 'ReadIndex without own-term barrier',
    slow: true,
    edits: [
      {
        file: 'raft/src/read-index.ts',
        find: "  if (core.role !== 'leader') return;\n  answerWithoutRound(core);",
        replace: '  answerWithoutRound(core);',
      },
    ],
    adjust: (swarm) => ({
      ...restlessLeaders(swarm),
      readMsMax: 200,
      appendMsMax: 200,
      peerFaults: { ...swarm.peerFaults, delayMsMax: 1, lossPerMille: 0, duplicationPerMille: 0 },
    }),
    seenBy: ['linearizable', 'real-time', 'no-alarm'],
  },
  {
    name: 'end of the log as read index',
    edits: [
      {
        file: 'raft/src/read-index.ts',
        find: "  else if (core.leader === undefined) emit(core, { kind: 'read-failed', readId });",
        replace:
          "  else if (core.leader !== undefined) emit(core, { kind: 'read-ready', readId, index: core.accepted.index });\n  else if (core.leader === undefined) emit(core, { kind: 'read-failed', readId });",
      },
    ],
    adjust: lateFollowers,
    seenBy: ['linearizable', 'real-time'],
  },
  {
    name: 'read served before its index is applied',
    edits: [
      {
        file: 'replica/src/read-path.ts',
        find: '    this.#host.whenApplied(index, () => {',
        replace: '    void index;\n    queueMicrotask(() => {',
      },
    ],
    adjust: (swarm) => ({ ...lateFollowers(swarm), storeMsMax: 40 }),
    seenBy: ['linearizable', 'real-time'],
  },
  {
    name: 'follower shows what its leader does not know yet',
    edits: [
      {
        file: 'raft/src/prove.ts',
        find: '  if (provenByItself) prove(core, accept.state.index);',
        replace: '  if (provenByItself || true) prove(core, accept.state.index);',
      },
    ],
    adjust: (swarm) => ({
      ...lateFollowers(swarm),
      watchers: 3,
      readMsMax: 0,
      appendFaults: { ...swarm.appendFaults, slow: 0, lost: 0, refused: 0, 'answer-lost': 150 },
    }),
    seenBy: ['linearizable', 'real-time'],
  },
];

/** Bugs of the state machine, the disk and the sessions. */
const STATE: readonly Mutant[] = [
  {
    name: 'applied position outside the batch',
    plant: () => ({ store: positionApartFromData }),
    adjust: dyingMachines,
  },
  {
    name: 'torn batch replayed in part',
    plant: () => ({ tear: (changes) => changes >> 1 }),
    adjust: dyingMachines,
  },
  {
    name: 'write errors of the disk ignored',
    plant: () => ({ store: ignoresWriteErrors }),
    adjust: (swarm) => ({
      ...fairWeather(swarm),
      meanMs: { ...fairWeather(swarm).meanMs, 'disk-full': 1500, kill: 3000 },
      faultMsMax: 500,
    }),
  },
  {
    name: 'session table lost',
    plant: () => ({ store: forgetsSessions }),
    adjust: retries,
    seenBy: ['outcomes'],
  },
  {
    name: 'sessions expire by the wall clock',
    slow: true,
    edits: [
      {
        file: 'replica/src/shard-time.ts',
        find: '    this.#ledSince = { fromMs: this.#lastMs ?? clock.wallMs(), atMs: clock.nowMs() };',
        replace:
          '    this.#ledSince = { fromMs: Math.max(this.#lastMs ?? 0, clock.wallMs()), atMs: clock.nowMs() };',
      },
    ],
    adjust: retries,
    seenBy: ['outcomes'],
  },
  {
    name: 'open writes of a deposed leader called failed',
    edits: [
      {
        file: 'replica/src/write-path.ts',
        find: '    this.#serving = false;\n    this.#queue.failAll(error);',
        replace:
          '    this.#serving = false;\n    this.#open?.commands.forEach((command, i) => {\n      if (this.#open?.answered.has(i) === true) return;\n      this.#open?.answered.add(i);\n      answerFailed(command, error());\n    });\n    this.#queue.failAll(error);',
      },
    ],
    adjust: (swarm) => ({
      ...deposedWriters(swarm),
      appendFaults: { ...deposedWriters(swarm).appendFaults, 'answer-lost': 300, slow: 100 },
    }),
    seenBy: ['outcomes', 'linearizable'],
  },
  {
    name: 'compaction that drops a needed version',
    edits: [
      {
        file: 'mvcc/src/compaction.ts',
        find: '  const rows = yield* scanChunk(revisionKey(start.atMain, start.atSub), revisionKey(target + 1, 0));',
        replace:
          '  const rows = yield* scanChunk(revisionKey(start.atMain, start.atSub), revisionKey(target + 2, 0));',
      },
    ],
    adjust: fairWeather,
    seenBy: ['history', 'state-hash', 'watch', 'linearizable', 'no-alarm'],
  },
];

/** Every known bug that the simulation must find. Names are those of the plan where it has one. */
export const MUTANTS: readonly Mutant[] = [
  ...LOG,
  ...DAMAGE,
  ...VOTES,
  ...READS,
  ...STATE,
  ...WATCHES,
  ...SNAPSHOTS,
  ...MEMBERS,
  ...SLOT_MOVES,
  ...RECOVERIES,
  ...LEASES,
];
