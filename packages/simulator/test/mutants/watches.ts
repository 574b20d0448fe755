import type { Mutant } from './mutant.ts';
import { fairWeather, retries } from './sets.ts';

/** Bugs of watches. */
export const WATCHES: readonly Mutant[] = [
  {
    name: 'watch restarted one revision late',
    edits: [
      {
        file: 'mvcc/src/watch-hub.ts',
        find: 'const next = asked === 0 ? currentRevision + 1 : start.from;',
        replace: 'const next = asked === 0 ? currentRevision + 1 : start.from + 1;',
      },
    ],
    adjust: (swarm) => ({ ...retries(swarm), watchers: 3 }),
    seenBy: ['watch'],
  },
  {
    name: 'refused watch batch forgotten',
    edits: [
      {
        file: 'mvcc/src/watch-hub.ts',
        find: '      if (!this.sink.deliver(watcher.id, batch)) {',
        replace: '      if (!this.sink.deliver(watcher.id, batch) && watcher.asked < 0) {',
      },
    ],
    adjust: (swarm) => ({ ...fairWeather(swarm), watchers: 3 }),
    seenBy: ['watch'],
  },
];
