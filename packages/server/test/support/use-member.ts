import { afterAll, beforeAll } from 'vitest';
import { type OneMember, startOneMember, temporaryDirectory } from './one-member.ts';

/**
 * A real member alone for all tests of a file or a `describe`; there from the first test or later hook on, gone with its data
 * after the last. `values` are configuration paths.
 */
export function useOneMember(
  values: Readonly<Record<string, unknown>> = {},
): Omit<OneMember, 'stop'> & { readonly directory: string } {
  const directory = temporaryDirectory();
  let started: OneMember | undefined;
  beforeAll(async () => {
    started = await startOneMember(directory.path, values);
  });
  afterAll(async () => {
    await started?.stop();
    directory.remove();
  });
  const one = (): OneMember => {
    if (started === undefined) throw new TypeError('not started');
    return started;
  };
  return {
    directory: directory.path,
    get member() {
      return one().member;
    },
    get url() {
      return one().url;
    },
    get log() {
      return one().log;
    },
  };
}
