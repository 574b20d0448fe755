import type { CheckReport } from './check-history.ts';
import type { RecordedHistory } from './recorded-history.ts';
export function renderTimeline(_history: RecordedHistory, _report: CheckReport): string {
  return '';
}
