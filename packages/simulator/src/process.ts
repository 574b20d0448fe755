import type { Clock, SharedLog, SideImage, StateStore, StoreBatch } from '@kvorum/ports';
import type { ReplicaPlace } from '@kvorum/replica';

/** Time that a store call takes before and after it touches the data, in whole milliseconds. */
export type StoreDelay = (call: 'read' | 'write') => number;

export interface ProcessHost {
  /** Called before and after each effect on a port: a place where the process may be killed. */
  readonly atEffect: () => void;
  /** Something happened in the process. */
  readonly ran: () => void;
}

/**
 * One life of a member's process: whatever comes back to it (timers, answers, messages) waits while it is paused and is lost
 * once it is killed. What it sent out before stays on its way, as in the real world.
 */
export class SimProcess {
  #alive = true;
  #paused = false;
  #catchingUp = false;
  readonly #world: Clock;
  readonly #host: ProcessHost;
  readonly #backlog: (() => void)[] = [];

  constructor(world: Clock, host: ProcessHost) {
    this.#world = world;
    this.#host = host;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Runs an event of this process now, after the pause, or never. */
  run(event: () => void): void {
    if (!this.#alive) return;
    if (this.#paused || this.#catchingUp || this.#backlog.length > 0) this.#backlog.push(event);
    else this.#take(event);
  }

  #take(event: () => void): void {
    this.#host.ran();
    event();
  }

  pause(): void {
    this.#paused = true;
  }

  /** What waited comes one event at a time, with everything that follows from it, as in an event loop. */
  resume(): void {
    this.#paused = false;
    if (this.#backlog.length > 0) this.#catchUp();
  }

  #catchUp(): void {
    this.#catchingUp = true;
    this.#world.setTimer(0, () => {
      this.#catchingUp = false;
      if (this.#paused) return;
      const event = this.#backlog.shift();
      if (event !== undefined) this.#take(event);
      if (this.#backlog.length > 0) this.#catchUp();
    });
  }

  kill(): void {
    this.#alive = false;
    this.#backlog.length = 0;
  }

  /** The same outcome, seen by this process; never settles once it is dead. */
  seen<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.run(() => resolve(value)),
        (error: Error) => this.run(() => reject(error)),
      );
    });
  }

  /** The answer to what another process asks; never given once this one is dead. */
  asked<T>(act: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.run(() => {
        act().then(
          (value) => {
            if (this.#alive) resolve(value);
          },
          (error: Error) => reject(error),
        );
      });
    });
  }

  /** A replica's place among the stores; each that is opened is passed through `wrap`. */
  place(inner: ReplicaPlace, wrap: (store: StateStore) => StateStore): ReplicaPlace {
    const never = new Promise<never>(() => undefined);
    const effect = async (act: () => Promise<void>): Promise<void> => {
      this.#host.atEffect();
      if (!this.#alive) return never;
      await act();
      this.#host.atEffect();
    };
    const saved = (image: SideImage): SideImage => ({
      get received() {
        return image.received;
      },
      get note() {
        return image.note;
      },
      write: (bytes) => this.seen(effect(() => image.write(bytes))),
      save: (note) => this.seen(effect(() => image.save(note))),
      complete: (note) => this.seen(effect(() => image.complete(note))),
      close: () => image.close(),
    });
    return {
      open: () => this.seen(inner.open()).then(wrap),
      openSide: () => this.seen(inner.openSide()).then(wrap),
      receiveSide: (layout, note) => this.seen(inner.receiveSide(layout, note)).then(saved),
      resumeSide: () => this.seen(inner.resumeSide()).then((image) => image && saved(image)),
      adoptSide: () => this.seen(effect(inner.adoptSide)),
      removeSide: () => this.seen(effect(inner.removeSide)),
    };
  }

  /** The machine's clock as this process reads it: its timers wait while the process is paused. */
  clock(machine: Clock): Clock {
    return {
      nowMs: () => machine.nowMs(),
      wallMs: () => machine.wallMs(),
      setTimer: (delayMs, callback) => {
        const dueMs = machine.nowMs() + delayMs;
        let cancelled = false;
        let cancel: () => void = () => undefined;
        const arm = (waitMs: number): void => {
          cancel = machine.setTimer(waitMs, () =>
            this.run(() => {
              if (cancelled) return;
              // After a suspension less time has passed on this clock than in the world.
              const leftMs = dueMs - machine.nowMs();
              if (leftMs > 0) arm(leftMs);
              else callback();
            }),
          );
        };
        arm(delayMs);
        return () => {
          cancelled = true;
          cancel();
        };
      },
    };
  }

  log(inner: SharedLog): SharedLog {
    const never = new Promise<never>(() => undefined);
    return {
      name: inner.name,
      append: (record) => {
        this.#host.atEffect();
        if (!this.#alive) return never;
        const appending = inner.append(record);
        this.#host.atEffect();
        return this.seen(appending);
      },
      read: (from, options) => this.seen(inner.read(from, options)),
      bounds: () => this.seen(inner.bounds()),
      truncate: (before) => this.seen(inner.truncate(before)),
      close: () => inner.close(),
    };
  }

  /** The store as this process sees it: each call takes `delay` before and after it touches the data. */
  store(inner: StateStore, clock: Clock, delay: StoreDelay): StateStore {
    const slow = async <T>(call: 'read' | 'write', act: () => Promise<T>): Promise<T> => {
      await pause(clock, delay(call));
      if (call === 'write') this.#host.atEffect();
      const result = await act();
      if (call === 'write') this.#host.atEffect();
      await pause(clock, delay(call));
      return result;
    };
    return {
      getMany: (keys) => this.seen(slow('read', () => inner.getMany(keys))),
      scan: (range, options) => this.seen(slow('read', () => inner.scan(range, options))),
      write: (fill, options) => {
        // The batch is filled at once, as by the real adapter: its buffers may be reused later.
        const changes = collect(fill);
        return this.seen(
          slow('write', () =>
            inner.write((batch) => {
              for (const change of changes) change(batch);
            }, options),
          ),
        );
      },
      sync: () => this.seen(slow('write', () => inner.sync())),
      readView: () => inner.readView(),
      image: () => this.seen(inner.image()),
      reclaim: (range) => this.seen(inner.reclaim(range)),
      sizeBytes: () => this.seen(inner.sizeBytes()),
      close: () => inner.close(),
    };
  }
}

function collect(fill: (batch: StoreBatch) => void): ((batch: StoreBatch) => void)[] {
  const changes: ((batch: StoreBatch) => void)[] = [];
  fill({
    put: (key, value) => {
      const copy = [key.slice(), value.slice()] as const;
      changes.push((batch) => batch.put(...copy));
    },
    delete: (key) => {
      const copy = key.slice();
      changes.push((batch) => batch.delete(copy));
    },
  });
  return changes;
}

function pause(clock: Clock, delayMs: number): Promise<void> {
  if (delayMs === 0) return Promise.resolve();
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}
