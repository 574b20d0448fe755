import { type ChildProcess, spawn } from 'node:child_process';

/** Kills the pids of the last line it read once its input ends. */
const SCRIPT = 'last=; while read -r line; do last=$line; done; [ -z "$last" ] || kill -9 $last';

/**
 * Ends processes that this process started when it is gone, however it went: a killed test run leaves nothing behind. A small
 * shell beside it holds the other end of a pipe.
 */
class ChildGuard {
  readonly #pids = new Set<number>();
  #shell: ChildProcess | undefined;

  watch(child: ChildProcess): void {
    const { pid } = child;
    if (pid === undefined) return;
    this.#pids.add(pid);
    this.#tell();
    child.once('exit', () => {
      this.#pids.delete(pid);
      this.#tell();
    });
  }

  #tell(): void {
    this.#shell ??= this.#start();
    this.#shell.stdin?.write(`${[...this.#pids].join(' ')}\n`);
  }

  #start(): ChildProcess {
    const stdio: ['pipe', 'ignore', 'ignore'] = ['pipe', 'ignore', 'ignore'];
    const shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio });
    shell.on('error', () => undefined);
    shell.stdin?.on('error', () => undefined);
    shell.unref();
    const pipe = shell.stdin as { unref?: () => void } | null;
    pipe?.unref?.();
    return shell;
  }
}

const guard = new ChildGuard();

/** The child is killed when this process ends, also when it is killed itself. */
export function endWithUs(child: ChildProcess): void {
  guard.watch(child);
}
