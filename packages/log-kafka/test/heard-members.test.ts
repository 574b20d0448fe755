import { memberId } from '@kvorum/base';
import { beforeEach, describe, expect, it } from 'vitest';
import { HeardMembers } from '../src/heard-members.ts';

const MEMBER = memberId(7n);
const [OLD, NEW] = ['0'.repeat(16), 'f'.repeat(16)];

describe('HeardMembers', () => {
  let events: boolean[];
  let heard: HeardMembers;
  beforeEach(() => {
    events = [];
    heard = new HeardMembers(5000, (_, reachable) => events.push(reachable));
  });

  it('a first word makes a member reachable, later ones change nothing', () => {
    expect(heard.isReachable(MEMBER)).toBe(false);
    expect(heard.bootOf(MEMBER)).toBeUndefined();
    expect([heard.heard(MEMBER, OLD, 0), heard.heard(MEMBER, OLD, 10)]).toEqual([true, false]);
    expect([heard.isReachable(MEMBER), heard.bootOf(MEMBER), events]).toEqual([true, OLD, [true]]);
  });

  it('silence makes it unreachable, a word reachable again', () => {
    heard.heard(MEMBER, OLD, 0);
    heard.review(4999);
    expect(events).toEqual([true]);
    heard.review(5000);
    heard.heard(MEMBER, OLD, 6000);
    expect(events).toEqual([true, false, true]);
  });

  it('another process of it was away for a while, so that nobody stays loyal to the one before', () => {
    heard.heard(MEMBER, OLD, 0);
    expect(heard.heard(MEMBER, NEW, 100)).toBe(true);
    expect(heard.heard(MEMBER, NEW, 1000)).toBe(false);
    expect([heard.bootOf(MEMBER), events]).toEqual([NEW, [true, false]]);
    heard.heard(MEMBER, NEW, 1100);
    expect(events).toEqual([true, false, true]);
  });

  it('whoever says goodbye is gone at once, whatever of it comes late', () => {
    heard.heard(MEMBER, OLD, 0);
    heard.left(MEMBER, OLD);
    expect(heard.heard(MEMBER, OLD, 2000)).toBe(false);
    expect(events).toEqual([true, false]);
    heard.heard(MEMBER, NEW, 3000);
    heard.heard(MEMBER, NEW, 4000);
    expect(events).toEqual([true, false, true]);
  });

  it('a goodbye of an earlier process does not touch the present one', () => {
    heard.heard(MEMBER, NEW, 0);
    heard.left(MEMBER, OLD);
    expect(events).toEqual([true]);
  });
});
