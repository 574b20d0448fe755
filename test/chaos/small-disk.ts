import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const MIB = 1024 * 1024;
const SIZE_MIB = 192;
/** The last bytes that fit are found with small writes, so that nothing is left for LevelDB's own. */
const STEPS = [4 * MIB, 64 * 1024, 4096];

/** Unmounts when its input ends: also when whoever mounted is killed. */
const GUARD = 'cat >/dev/null; umount -l "$0" 2>/dev/null; rmdir "$0" 2>/dev/null; true';

/** A small file system of its own (tmpfs) that can be filled to the last byte. Needs the right to mount. */
export class SmallDisk {
  readonly directory: string;
  readonly #guard: ChildProcess;

  private constructor(directory: string, guard: ChildProcess) {
    this.directory = directory;
    this.#guard = guard;
  }

  /** The disk, or why there can be none here. */
  static mount(directory: string): SmallDisk | string {
    mkdirSync(directory, { recursive: true });
    const args = ['-t', 'tmpfs', '-o', `size=${SIZE_MIB}m`, 'tmpfs', directory];
    const mounted = spawnSync('mount', args, { encoding: 'utf8' });
    if (mounted.status !== 0) {
      return `cannot mount a tmpfs: ${(mounted.stderr ?? String(mounted.error)).trim()}`;
    }
    const guard = spawn('/bin/sh', ['-c', GUARD, directory], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    guard.unref();
    if (guard.stdin !== null && 'unref' in guard.stdin) (guard.stdin as { unref(): void }).unref();
    return new SmallDisk(directory, guard);
  }

  /** Until not one more block fits. */
  fill(): void {
    const file = openSync(this.#ballast, 'a');
    try {
      for (const step of STEPS) writeUntilFull(file, Buffer.alloc(step));
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(this.#ballast, { force: true });
  }

  async unmount(): Promise<void> {
    const gone = once(this.#guard, 'exit');
    // Nothing else may keep this process running until then.
    this.#guard.ref();
    this.#guard.stdin?.end();
    await gone;
  }

  get #ballast(): string {
    return join(this.directory, 'ballast');
  }
}

function writeUntilFull(file: number, block: Buffer): void {
  for (;;) {
    try {
      if (writeSync(file, block) === 0) return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return;
      throw error;
    }
  }
}
