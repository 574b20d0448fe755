import { type MemberId, memberId } from '@kvorum/base';
import { expect, it } from 'vitest';
import { SilentMembers, type SilentMembersParts } from '../src/auth/silent-members.ts';

const SILENCE_MS = 1000;
const [one, two, guest] = [memberId(1n), memberId(2n), memberId(3n)];

type Raft = ReturnType<NonNullable<ReturnType<SilentMembersParts['replica']>>['status']>['raft'];

/** What a leader of the meta group knows, whose peers are `one` and `two`; `guest` has no replica of it. */
function leader() {
  const state = {
    nowMs: 0,
    raft: { role: 'leader', term: 7 } as { role: string; term: number },
    heardMs: new Map<MemberId, number>(),
    confirm: () => {},
  };
  const members = new SilentMembers({
    clock: { nowMs: () => state.nowMs },
    replica: () => ({
      status() {
        const peers = [one, two].map((id) => ({ id, lastHeardMs: state.heardMs.get(id) }));
        const raft: unknown = { ...state.raft, peers };
        return { raft: raft as Raft } as ReturnType<
          NonNullable<ReturnType<SilentMembersParts['replica']>>['status']
        >;
      },
    }),
    confirmed: async () => state.confirm(),
    silenceMs: SILENCE_MS,
  });
  return { state, members };
}

it('a leader names those whom it has not heard for longer than a confirmation counts', async () => {
  const { state, members } = leader();
  members.observe();
  state.nowMs = SILENCE_MS + 1;
  state.heardMs.set(one, SILENCE_MS - 1);
  expect(await members.among([one, two, guest])).toEqual([two, guest]);
  members.heard(guest);
  expect(await members.among([one, two, guest])).toEqual([two]);
});

it('names nobody before it has led for so long, nor in a later term of it', async () => {
  const { state, members } = leader();
  members.observe();
  state.nowMs = SILENCE_MS - 1;
  expect(await members.among([two])).toEqual([]);
  state.nowMs = SILENCE_MS + 1;
  expect(await members.among([two])).toEqual([two]);
  state.raft.term = 9;
  expect(await members.among([two])).toEqual([]);
});

it('names nobody when it does not lead any more, or cannot be sure that it does', async () => {
  const { state, members } = leader();
  members.observe();
  state.nowMs = SILENCE_MS + 1;
  state.confirm = () => {
    throw new Error('no quorum');
  };
  expect(await members.among([two])).toEqual([]);
  state.confirm = () => {
    state.raft.term = 8; // it was deposed, and elected again
  };
  expect(await members.among([two])).toEqual([]);
  state.nowMs = 3 * SILENCE_MS;
  state.confirm = () => {
    state.raft.role = 'follower';
  };
  expect(await members.among([two])).toEqual([]);
});
