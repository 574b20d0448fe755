import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { ERROR_TABLE, errorSpec, isErrorCode } from '@kvorum/base';
import { describe, expect, it } from 'vitest';
import { files, linesMatching, manifest, PACKAGES, ROOT, read } from './repository.ts';

const DOCUMENTS = files('', '.md');

describe('docs/errors.md', () => {
  const sections = [...read('docs/errors.md').matchAll(/^### (\w+)\n\n([^\n]*)\n\n([^\n]+)/gm)];

  it('has one section per code, in the order of the table', () => {
    expect(sections.map(([, code]) => code)).toEqual(Object.keys(ERROR_TABLE));
  });

  it.each(sections.map(([, code, facts]) => [code, facts]))(
    '%s states the facts of the table',
    (code, facts) => {
      expect(isErrorCode(code)).toBe(true);
      if (!isErrorCode(code)) return;
      const { http, grpc, retry, outcome, message } = errorSpec(code);
      expect(facts).toBe(
        `HTTP ${http} · ${grpc} · retry: ${retry} · outcome: ${outcome} · \`${message}\``,
      );
    },
  );
});

describe('docs/adr', () => {
  const decisions = files('docs/adr', '.md').filter((path) => /\/\d{4}-/.test(path));

  it('numbers the decisions without a gap and lists each in its README', () => {
    const numbers = decisions.map((path) => Number(posix.basename(path).slice(0, 4)));
    expect(numbers).toEqual(numbers.map((_, at) => at + 1));
    const index = read('docs/adr/README.md');
    expect(decisions.filter((path) => !index.includes(posix.basename(path)))).toEqual([]);
  });

  it.each(decisions)('%s has the parts of a decision', (path) => {
    const parts = [...read(path).matchAll(/^## (.+)$/gm)].map(([, title]) => title);
    expect(parts).toEqual([
      ...['Status', 'Context', 'Decision', 'Consequences'],
      ...['Alternatives rejected', 'How we will know it was wrong'],
    ]);
  });
});

it('relative links lead to a file, and to a heading in it', () => {
  const dead = DOCUMENTS.flatMap((path) => links(path).filter((target) => !resolves(path, target)));
  expect(dead).toEqual([]);
});

/** Relative link targets of a document, outside code. */
function links(path: string): string[] {
  const prose = read(path).replace(/```[\s\S]*?```|`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)]
    .map(([, target]) => target ?? '')
    .filter((target) => !/^[a-z]+:/i.test(target));
}

function resolves(from: string, target: string): boolean {
  const [file = '', anchor] = target.split('#');
  const path = file === '' ? from : posix.join(posix.dirname(from), file);
  if (!existsSync(ROOT + path)) return false;
  return anchor === undefined || !path.endsWith('.md') || anchors(path).includes(anchor);
}

/** GitHub's anchors of a document's headings. */
function anchors(path: string): string[] {
  return [...read(path).matchAll(/^#{1,6} (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/ /g, '-'),
  );
}

it('every npm script that a document mentions exists', () => {
  const { scripts = {} } = manifest('package.json');
  const unknown = DOCUMENTS.flatMap((path) =>
    [...read(path).matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)]
      .map(([, run, short]) => run ?? short ?? '')
      .filter((script) => !(script in scripts))
      .map((script) => `${path}: npm run ${script}`),
  );
  expect(unknown).toEqual([]);
});

it('every package is in CONTRIBUTING.md’s map', () => {
  const map = read('CONTRIBUTING.md');
  expect(PACKAGES.filter((name) => !map.includes(`\`${name}\``))).toEqual([]);
});

it('CHANGELOG.md has a section for the version of package.json or for what comes', () => {
  const { version } = JSON.parse(read('package.json')) as { readonly version: string };
  const heading = new RegExp(`^## (?:Unreleased|${version.replaceAll('.', '\\.')})`);
  expect(linesMatching('CHANGELOG.md', read('CHANGELOG.md'), heading)).not.toEqual([]);
});
