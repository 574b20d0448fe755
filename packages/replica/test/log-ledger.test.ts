import { logOffset } from '@kvorum/base';
import { describe, expect, it } from 'vitest';
import { LogLedger } from '../src/log-ledger.ts';

const SLACK = { records: 10, bytes: 1000, ms: 5000 };

/** One record of `bytes` every `everyMs`, from offset 0 and time 0 on. */
function filled(count: number, { bytes = 100, everyMs = 100, slack = SLACK } = {}): LogLedger {
  const ledger = new LogLedger(slack, logOffset(-1), 0);
  for (let i = 0; i < count; i += 1) ledger.note(logOffset(i), bytes, (i + 1) * everyMs);
  return ledger;
}

describe('LogLedger', () => {
  it('keeps what any of the three wants kept', () => {
    // 100 records, the last at 10 s: by records 90, by bytes 90, by time those up to 5 s.
    expect(filled(100).keepFrom(10_000)).toBe(50);
    const quick = { ...SLACK, ms: 60 };
    expect(filled(100, { everyMs: 1, slack: quick }).keepFrom(6000)).toBe(90);
    expect(filled(100, { bytes: 20, everyMs: 1, slack: quick }).keepFrom(6000)).toBe(50);
    const many = { ...quick, records: 70 };
    expect(filled(100, { everyMs: 1, slack: many }).keepFrom(6000)).toBe(30);
  });

  it('wants everything kept while nothing is old enough', () => {
    expect(filled(5).keepFrom(10_000)).toBeUndefined();
    expect(filled(100, { everyMs: 1 }).keepFrom(200)).toBeUndefined();
  });

  it('counts what was there before it began as old as its beginning', () => {
    const ledger = new LogLedger(SLACK, logOffset(500), 0);
    expect(ledger.keepFrom(60_000)).toBeUndefined();
    for (let i = 501; i <= 530; i += 1) ledger.note(logOffset(i), 100, 100 * (i - 500));
    expect(ledger.keepFrom(4000)).toBeUndefined();
    expect(ledger.keepFrom(5000)).toBe(501);
    expect(ledger.keepFrom(6000)).toBe(511);
  });

  it('ignores records seen before, and stays small', () => {
    const ledger = filled(100_000, { bytes: 1, everyMs: 1 });
    ledger.note(logOffset(3), 1_000_000, 100_001);
    const from = ledger.keepFrom(100_000);
    expect(from).toBeGreaterThan(90_000);
    expect(from).toBeLessThanOrEqual(95_000);
  });

  it('keeps nothing when the slack is nothing', () => {
    const none = { records: 0, bytes: 0, ms: 0 };
    expect(filled(7, { slack: none }).keepFrom(700)).toBe(7);
  });
});
