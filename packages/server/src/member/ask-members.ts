import type { MemberId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';

/** A question for several members at once. */
export interface Question {
  readonly members: readonly MemberId[];
  readonly payload: unknown;
  readonly timeoutMs: number;
}

/** What each of them answers. Never rejects: who is not reached, or not in time, is left out. */
export async function askMembers(
  peers: Pick<PeerTransport, 'request'>,
  { members, payload, timeoutMs }: Question,
): Promise<ReadonlyMap<MemberId, unknown>> {
  const signal = AbortSignal.timeout(timeoutMs);
  const answers = new Map<MemberId, unknown>();
  const asked = members.map(async (member) => {
    answers.set(member, await peers.request(member, payload, { signal }));
  });
  await Promise.allSettled(asked);
  return answers;
}
