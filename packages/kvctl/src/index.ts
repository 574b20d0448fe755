export { EXIT, type ExitCode, reportOf } from './exit.ts';
export type { Io } from './io.ts';
export { run } from './program.ts';
export { parseTxnFile } from './txn-file.ts';
export { parseCompare, parseOperation, parseTxnScript } from './txn-grammar.ts';
