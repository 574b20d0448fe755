import { InputError } from './exit.ts';

/** The process around kvctl, so that a test can stand in for it. */
export interface Io {
  /** Data: what a pipe wants. */
  readonly out: (text: string) => void;
  /** Everything else: progress, warnings, errors. */
  readonly err: (text: string) => void;
  /** Standard input, whole. */
  readonly stdin: () => Promise<Uint8Array>;
  /** Standard input as it comes: for what is large, or typed by a person. Once. */
  readonly stdinPieces: () => AsyncIterable<Uint8Array>;
  /** Asks the person at the terminal for what nobody else shall see; absent when nobody sits there. */
  readonly askSecret?: ((prompt: string) => Promise<string>) | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** Far above what a member takes in one request, also in base64. */
const LINE_CHARS_MAX = 64 * 1024 * 1024;

/** Its lines, without their ends; the last one may have none. Errors: InputError for one without an end. */
export async function* linesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let begun = '';
  for await (const piece of pieces) {
    const lines = (begun + decoder.decode(piece, { stream: true })).split('\n');
    begun = lines.pop() ?? '';
    yield* lines;
    if (begun.length > LINE_CHARS_MAX) throw new InputError('a line of the input never ends');
  }
  begun += decoder.decode();
  if (begun !== '') yield begun;
}

const RESET = '\u001b[0m';
const COLOURS = {
  green: '\u001b[32m',
  red: '\u001b[31m',
  yellow: '\u001b[33m',
  dim: '\u001b[2m',
  bold: '\u001b[1m',
};
export type Colour = keyof typeof COLOURS;

/** Colours only on a terminal, and not where NO_COLOR is set (https://no-color.org). */
export function painter(io: Io): (colour: Colour, text: string) => string {
  const noColour = io.env['NO_COLOR'];
  const plain = !io.outIsTerminal || (noColour !== undefined && noColour !== '');
  return (colour, text) => (plain ? text : `${COLOURS[colour]}${text}${RESET}`);
}
