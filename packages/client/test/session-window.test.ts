import { describe, expect, it } from 'vitest';
import { SessionWindow } from '../src/session-window.ts';

describe('the sequence numbers of a session in one shard', () => {
  it('acknowledges nothing to a shard that has recorded nothing', () => {
    const window = new SessionWindow();
    window.settle(window.next());
    window.settle(window.next());
    expect(window.ackedThrough).toBe(0);
    window.recorded();
    expect(window.ackedThrough).toBe(2);
  });

  it('moves its mark over holes once they are settled', () => {
    const window = new SessionWindow();
    window.recorded();
    const [one, two, three] = [window.next(), window.next(), window.next()];
    window.settle(three);
    window.settle(one);
    expect(window.ackedThrough).toBe(1);
    window.settle(two);
    expect(window.ackedThrough).toBe(3);
  });
});
