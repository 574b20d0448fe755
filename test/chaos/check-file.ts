import { writeFileSync } from 'node:fs';
import { checkHistory, readHistory, renderTimeline } from '@kvorum/simulator';

export interface Checked {
  readonly violations: readonly string[];
  /** Files for whoever looks into it. */
  readonly kept: readonly string[];
}

/** Time for the search over orders. */
const CHECK_MS = 180_000;

/**
 * Reads a history back and runs every checker on it. What could not be verified counts as a violation: it is no pass. A timeline is
 * drawn of what fails, and of what is to be `kept` for another reason.
 */
export async function checkFile(
  path: string,
  say: (line: string) => void,
  kept = false,
): Promise<Checked> {
  const history = await readHistory(path);
  if (!history.ok) return { violations: [`${path}: ${history.error.message}`], kept: [path] };
  const report = checkHistory(history.value, { timeoutMs: CHECK_MS });
  say(`checked: ${JSON.stringify(report.counts)}: ${report.verdict}`);
  const violations = [
    ...report.findings.map(
      ({ checker, rule, shard, text }) => `${checker}, ${rule}, shard ${shard}: ${text}`,
    ),
    ...report.unverified.map((what) => `not verified: ${what}`),
  ];
  if (violations.length === 0 && !kept) return { violations, kept: [] };
  if (report.moreFindings > 0) violations.push(`and ${report.moreFindings} findings more`);
  const timeline = path.replace(/jsonl$/, 'html');
  writeFileSync(timeline, renderTimeline(history.value, report));
  return { violations, kept: [path, timeline] };
}
