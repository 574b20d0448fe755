import { describe, expect, it } from 'vitest';
import { compileSooner } from '../src/runtime-flags.ts';

function flagsSet(...execArgv: readonly string[]): readonly string[] {
  const set: string[] = [];
  compileSooner(execArgv, (flag) => set.push(flag));
  return set;
}

describe('compileSooner', () => {
  it('sets its flags', () => {
    const all = ['--no-lazy-feedback-allocation', '--interrupt-budget=20000'];
    expect(flagsSet()).toEqual(all);
    expect(flagsSet('--max-semi-space-size=64', '--inspect')).toEqual(all);
  });

  it('leaves alone what Node was started with', () => {
    const others = ['--no-lazy-feedback-allocation'];
    expect(flagsSet('--interrupt-budget=135168')).toEqual(others);
    expect(flagsSet('--interrupt_budget=1', '--lazy-feedback-allocation')).toEqual([]);
    expect(flagsSet('--nolazy-feedback-allocation')).toEqual(['--interrupt-budget=20000']);
  });
});
