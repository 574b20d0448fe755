import { parseOptions, simulate } from '@kvorum/simulator';
import { describe, expect, it, vi } from 'vitest';

describe('options of the command', () => {
  it('reads each form', () => {
    const read = (line: string): unknown => parseOptions(line.split(' '));
    const campaign = { kind: 'campaign', minutes: undefined, workers: 2, from: 7, seeds: 50 };
    expect(read('--seeds 50 --from 7 --workers 2')).toEqual({ ok: true, value: campaign });
    expect(read('--minutes 1.5 --workers 2 --from 7')).toEqual({
      ok: true,
      value: { ...campaign, minutes: 1.5, seeds: undefined },
    });
    expect(read('--seed 5 --trace')).toEqual({
      ok: true,
      value: { kind: 'one', seed: 5, trace: true, history: undefined },
    });
    expect(read('--mutants --fast --only vote --seeds 9')).toEqual({
      ok: true,
      value: { kind: 'mutants', from: 1, seeds: 9, fast: true, only: 'vote' },
    });
    expect(read('--ci --workers 1')).toEqual({ ok: true, value: { kind: 'ci', workers: 1 } });
    expect(read('--help')).toEqual({ ok: true, value: { kind: 'help' } });
  });

  it.each([
    ['--seeds ten', '--seeds takes a whole number from 1 on, not "ten"'],
    ['--seeds 0', '--seeds takes a whole number from 1 on, not "0"'],
    ['--seed -1', ''],
    ['--minutes 0', '--minutes takes a number above 0, not "0"'],
    ['--workers 1.5', '--workers takes a whole number from 1 on, not "1.5"'],
    ['--trace', '--trace has no meaning alone; see --help'],
    ['--seed 1 --seeds 2', '--seeds has no meaning together with --seed; see --help'],
    ['--ci --fast', '--fast has no meaning together with --ci; see --help'],
    ['--nonsense', ''],
    ['stray', ''],
  ])('refuses %s with exit code 2', async (line, text) => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    expect(await simulate(line.split(' '))).toBe(2);
    expect(String(error.mock.calls[0]?.[0])).toContain(text);
    error.mockRestore();
  });
});
