import { deepEqual, ok } from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

/** One command of a script: `name flag key=value key="with blanks"`, then input lines up to `----`. */
export interface DataDrivenCommand {
  readonly name: string;
  /** A bare word is a flag with the value ''. */
  readonly args: Record<string, string>;
  /** The lines between the command line and `----`, without the last line break. */
  readonly input: string;
}

/**
 * Runs a text script: command, optional input, `----`, expected output up to a blank line; `#` starts a comment outside
 * of these. Every command runs in order against the state that `handler` closes over; a difference is reported as one
 * diff of the whole script. `KV_REWRITE=1` writes the actual outputs into the file instead.
 *
 * Source: cockroachdb/datadriven, as used by etcd-io/raft.
 */
export function runDataDriven(
  path: string | URL,
  handler: (command: DataDrivenCommand) => string,
): void {
  const script = readFileSync(path, 'utf8');
  const actual = replay(script.split('\n'), handler);
  if (process.env['KV_REWRITE'] === '1') {
    if (actual !== script) writeFileSync(path, actual);
    return;
  }
  deepEqual(
    actual.split('\n'),
    script.split('\n'),
    `${String(path)} differs from what the code does`,
  );
}

function replay(lines: readonly string[], handler: (command: DataDrivenCommand) => string): string {
  const out: string[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? '';
    at += 1;
    out.push(line);
    if (line.trim() === '' || line.startsWith('#')) continue;
    const input: string[] = [];
    while (at < lines.length && lines[at] !== '----') {
      ok(lines[at] !== '', `line ${at + 1}: a blank line before ----`);
      input.push(lines[at] ?? '');
      at += 1;
    }
    ok(at < lines.length, `the last command has no ----: ${line}`);
    at += 1;
    while (at < lines.length && lines[at] !== '') at += 1;
    const output = handler({ ...parseCommand(line), input: input.join('\n') }).replace(/\n+$/, '');
    ok(!output.includes('\n\n'), `output of "${line}" holds a blank line, which would end it`);
    out.push(...input, '----', ...(output === '' ? [] : output.split('\n')));
  }
  return out.join('\n');
}

function parseCommand(line: string): { name: string; args: Record<string, string> } {
  const words = line.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
  const args: Record<string, string> = {};
  for (const word of words.slice(1)) {
    const equals = word.indexOf('=');
    if (equals < 0) args[word] = '';
    else args[word.slice(0, equals)] = word.slice(equals + 1).replace(/^"|"$/g, '');
  }
  return { name: words[0] ?? '', args };
}
