import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { REPO_ROOT } from './repo-root.ts';

/** What a result must be read with. */
export interface Setting {
  /** When the run began: the lines of one run have it in common. */
  readonly run: string;
  readonly commit: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryGib: number;
    readonly kernel: string;
  };
  readonly quick: boolean;
  readonly keys: number;
}

/** To be taken when the run begins: the code that is measured was built then. */
export function settingOf(quick: boolean, keys: number): Setting {
  const processors = cpus();
  return {
    run: new Date().toISOString(),
    commit: commitOf(),
    machine: {
      cpu: processors[0]?.model ?? 'unknown',
      cores: processors.length,
      memoryGib: Math.round(totalmem() / 2 ** 30),
      kernel: release(),
    },
    quick,
    keys,
  };
}

function commitOf(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, {
        cwd: REPO_ROOT,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    const changed =
      git('status', '--porcelain', '--untracked-files=no', '--', 'packages', 'bench').trim() !== '';
    return `${git('rev-parse', '--short=12', 'HEAD').trim()}${changed ? '+changes' : ''}`;
  } catch {
    return 'unknown'; // not a git checkout
  }
}
