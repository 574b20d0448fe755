import { KvError } from '@kvorum/base';

/** The innermost code that the level family attached to an error; it wraps the cause of a failed open. */
function levelCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const inner = levelCode(error.cause);
  if (inner !== undefined) return inner;
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function innermostMessage(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? innermostMessage(error.cause) : error.message;
}

/** KV_DATA_DIR with what is wrong with the directory and what to do about it. */
export function openError(directory: string, error: unknown): KvError {
  const reason = innermostMessage(error);
  const refuse = (what: string, hint: string): KvError =>
    new KvError('KV_DATA_DIR', `${directory}: ${what} (${reason}). ${hint}`, {
      cause: error,
      details: { hint },
    });
  switch (levelCode(error)) {
    case 'LEVEL_LOCKED':
      return refuse(
        'another process uses it',
        'Stop that process, or give each kvd its own data directory.',
      );
    case 'LEVEL_CORRUPTION':
      return refuse(
        'it is damaged',
        'Move it away and restart: the replica restores itself from a peer’s snapshot and the log.',
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return refuse('it cannot be written', 'Check its owner and permissions.');
    case 'ENOSPC':
      return refuse('the disk is full', 'Free space and restart.');
    default:
      return refuse('it cannot be opened', 'Check that the path is a writable directory.');
  }
}

/** An error of a read or write on an open store. A failed write may still be found after a restart. */
export function operationError(error: unknown, what: 'read' | 'write'): KvError {
  const reason = innermostMessage(error);
  const outcome = what === 'write' ? 'unknown' : 'not-applied';
  switch (levelCode(error)) {
    case 'LEVEL_DATABASE_NOT_OPEN':
    case 'LEVEL_ITERATOR_NOT_OPEN':
    case 'LEVEL_BATCH_NOT_OPEN':
    case 'LEVEL_SNAPSHOT_NOT_OPEN':
      return new KvError('KV_STOPPED', 'the state store is closed', { cause: error });
    case 'LEVEL_CORRUPTION':
      return new KvError('KV_CORRUPT', `${what} failed: ${reason}`, { cause: error, outcome });
    default:
      return new KvError('KV_DATA_DIR', `${what} failed: ${reason}`, { cause: error, outcome });
  }
}
