/** Turns asked of the event loop at a time: between two of its immediates Node runs every continuation, as between two turns. */
const TURNS = 64;

const waiting: (() => void)[] = [];
/** Immediates that are still to come. */
let turns = 0;

function turn(): void {
  turns -= 1;
  waiting.shift()?.();
}

/**
 * Lets every promise continuation that can run now run to its end, and what was rejected unheard be told. All ports of a simulation
 * settle in microtasks, so what is done by then depends on nothing but the seed. The immediates are set in advance, many at a time:
 * a whole turn of the event loop for each costs three times as much.
 */
export function drain(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (turns >= waiting.length) return;
    turns += TURNS;
    for (let i = 0; i < TURNS; i += 1) setImmediate(turn);
  });
}
