import { FRAME } from '@kvorum/wire';
import { expect, it, vi } from 'vitest';
import { startOneMember, temporaryDirectory } from './support/one-member.ts';
import { RawSession } from './support/raw-session.ts';

it('an unexpected failure of a control method is answered and logged, and the connection goes on', async () => {
  const directory = temporaryDirectory();
  const member = await startOneMember(directory.path);
  const session = await RawSession.open(member.url);
  try {
    const replica = member.member.host.replica('0');
    if (replica === undefined) throw new TypeError('no shard 0');
    vi.spyOn(replica, 'stateHash').mockRejectedValueOnce(new RangeError('the disk is on fire'));
    session.send([FRAME.control, 1, 'hash', { shard: '0' }]);
    const [, , error] = await session.next(FRAME.controlResponse);
    expect(error).toMatchObject([
      'KV_UNAVAILABLE',
      expect.stringContaining('the disk is on fire') as unknown,
      {},
      'not-applied',
    ]);
    expect(member.log.join('')).toContain('a control method failed unexpectedly');
    session.send([FRAME.control, 2, 'hash', { shard: '0' }]);
    expect((await session.next(FRAME.controlResponse))[2]).toBeNull();
  } finally {
    session.close();
    await member.stop();
    directory.remove();
  }
});
