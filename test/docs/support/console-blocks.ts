/** One `$ command` of a console block with the output that the page promises. */
export interface Step {
  readonly command: string;
  /** All that is typed: the command, with the lines up to its `END` where it has them. */
  readonly typed: string;
  /** Text after a `<<'END'` line of the command, without the END. */
  readonly stdin: string | undefined;
  readonly output: string;
}

/** A fenced ```console block. `background`: runs while the blocks after it run. */
export interface ConsoleBlock {
  readonly background: boolean;
  /** Why the test cannot execute it; from a `<!-- not run: … -->` line above the fence. */
  readonly notRun: string | undefined;
  readonly steps: readonly Step[];
}

const BLOCK = /^(?:<!-- not run: (.+) -->\n)?```console( background)?\n([\s\S]*?)^```$/gm;
const HEREDOC = /^(.*?) <<'?(\w+)'?$/;

/** The console blocks of a Markdown page, in order. */
export function consoleBlocks(markdown: string): ConsoleBlock[] {
  return [...markdown.matchAll(BLOCK)].map(([, notRun, background, body = '']) => ({
    notRun,
    background: background !== undefined,
    steps: body.split(/^\$ /m).filter(Boolean).map(stepOf),
  }));
}

function stepOf(text: string): Step {
  const lines = text.split('\n');
  const first = lines.shift() ?? '';
  const heredoc = HEREDOC.exec(first);
  if (heredoc === null) {
    return { command: first, typed: first, stdin: undefined, output: lines.join('\n') };
  }
  const [, command = '', end = ''] = heredoc;
  const at = lines.indexOf(end);
  const stdin = `${lines.slice(0, at).join('\n')}\n`;
  const typed = [first, ...lines.slice(0, at + 1)].join('\n');
  return { command, typed, stdin, output: lines.slice(at + 1).join('\n') };
}

/** `…` alone on a line stands for any lines, within one for anything. */
export function outputPattern(output: string): RegExp {
  const lines = output.split('\n').map((line) => {
    if (line === '…') return '(?:[^\\n]*\\n)*?';
    const escaped = line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    // Columns are as wide as their widest cell.
    return `${escaped.replace(/ {2,}/g, ' +').replaceAll('…', '[^\\n]*')}\n`;
  });
  return new RegExp(`^${lines.join('').replace(/\n$/, '')}$`);
}
