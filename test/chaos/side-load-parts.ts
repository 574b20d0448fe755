import type { Rng } from '@kvorum/ports';
import type { Door } from './at-member.ts';
import type { Recorder } from './recorder.ts';

/** A directory of a shard in which nobody else writes. */
export interface Place {
  readonly shard: string;
  readonly directory: string;
}

/** What those have who do something beside the load. */
export interface SideLoadParts {
  readonly rng: Rng;
  readonly recorder: Recorder;
  readonly places: readonly Place[];
  /** What the revisions of a place count in. */
  readonly timelineOf: (place: Place) => string;
  /** Any member, whether it leads or not. */
  readonly anyDoor: (rng: Rng) => { readonly door: Door; readonly member: string };
  readonly newProcess: (name: string) => string;
}
