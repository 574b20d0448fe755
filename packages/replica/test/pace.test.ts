import { describe, expect, it } from 'vitest';
import { Pace } from '../src/pace.ts';

describe('Pace', () => {
  it('lets the first piece begin at once', () => {
    expect(new Pace().delayMs(1000)).toBe(0);
  });

  it('spreads pieces so that each takes the time it may', () => {
    const pace = new Pace();
    pace.spent(1000, 40); // took 10 ms at a quarter
    expect(pace.delayMs(1010)).toBe(30);
    pace.spent(1040, 40);
    expect(pace.delayMs(1050)).toBe(30);
  });

  it('adds up what several replicas do at the same moment', () => {
    const pace = new Pace();
    pace.spent(1000, 40);
    pace.spent(1000, 40);
    expect(pace.delayMs(1010)).toBe(70);
  });

  it('keeps nothing of a time in which nobody did anything', () => {
    const pace = new Pace();
    pace.spent(1000, 40);
    pace.spent(5000, 40);
    expect(pace.delayMs(5000)).toBe(40);
  });
});
