import { isKvError } from '@kvorum/base';
import type { Dispatcher } from './dispatcher.ts';
import type { CallOptions } from './options.ts';

/** Before a request is placed anew after its slots moved. */
const PAUSE_MS = 50;

/** Slots moved between the parts of a request: all of them are asked again, by the newer map. */
export async function whileMoving<T>(
  dispatcher: Dispatcher,
  options: CallOptions,
  ask: () => Promise<T>,
): Promise<T> {
  const untilMs = dispatcher.deadlineOf(options);
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const moved = isKvError(error) && error.code === 'KV_WRONG_SHARD';
      if (!moved || dispatcher.now + PAUSE_MS >= untilMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
