import { KvError } from '@kvorum/base';
import type { ResponseItem, Welcome } from '@kvorum/wire';
import { Backoff } from './backoff.ts';
import { Connection, type ConnectionHandler, isNotLetIn, NotServingError } from './connection.ts';
import { normalEndpoint, type Settings } from './options.ts';
import { ShardRouter } from './shard-router.ts';

/** One place a member may be reached at. */
interface Endpoint {
  readonly url: string;
  /** Given to `connect`, not found through another member. */
  readonly given: boolean;
  /** Known after the first welcome, or from the member list. */
  memberId: string | undefined;
  connection: Connection | undefined;
  readonly backoff: Backoff;
  notBeforeMs: number;
  lastFailure: KvError | undefined;
  failedMs: number;
}

export interface PoolListener {
  /** A connection opened, a leader or the map changed: whatever waits may go on. */
  readonly onTopology: (movedShards: readonly string[]) => void;
  readonly onResponses: (
    connection: Connection,
    shard: string,
    items: readonly ResponseItem[],
  ) => void;
  readonly onClosed: (connection: Connection, reason: KvError) => void;
}

/** Pause between trying one endpoint and the next while none is open. */
const EXPLORE_MS = 200;
/** Members kept at most, however many a cluster claims to have. */
const ENDPOINTS_MAX = 128;

/**
 * The members as this client sees them: endpoints and their back-off, open connections, shard map,
 * leaders.
 */
export class MemberPool {
  readonly #settings: Settings & { readonly clientId: string };
  readonly #listener: PoolListener;
  readonly #now: () => number;
  readonly #endpoints: Endpoint[] = [];
  readonly #leaders = new Map<string, string>();
  readonly #handler: ConnectionHandler;
  #router: ShardRouter | undefined = undefined;
  #clusterId: string | undefined = undefined;
  #requestBytesMax = Number.POSITIVE_INFINITY;
  #exploredMs = Number.NEGATIVE_INFINITY;
  #next = 0;
  #closed = false;

  constructor(
    settings: Settings & { readonly clientId: string },
    listener: PoolListener,
    now: () => number,
  ) {
    this.#settings = settings;
    this.#listener = listener;
    this.#now = now;
    for (const url of settings.endpoints) this.#add(url, true, undefined);
    this.#handler = {
      onWelcome: (connection, welcome) => this.#onWelcome(connection, welcome),
      onResponses: listener.onResponses,
      onMapChanged: (map, leaders) => this.#onMap(map, leaders),
      onClosed: (connection, reason) => this.#onClosed(connection, reason),
    };
  }

  get router(): ShardRouter | undefined {
    return this.#router;
  }
  get requestBytesMax(): number {
    return this.#requestBytesMax;
  }
  get urls(): readonly string[] {
    return this.#endpoints.map((endpoint) => endpoint.url);
  }

  leaderOf(shard: string): string | undefined {
    return this.#leaders.get(shard);
  }

  *connections(): IterableIterator<Connection> {
    for (const endpoint of this.#endpoints) {
      if (endpoint.connection !== undefined) yield endpoint.connection;
    }
  }

  anyOpen(): Connection | undefined {
    return this.#endpoints.find((endpoint) => endpoint.connection?.open === true)?.connection;
  }

  /** The open connection of one endpoint, opening it when there is none yet. */
  connectionTo(url: string): Connection | undefined {
    const endpoint = this.#endpoints.find((candidate) => candidate.url === url);
    if (endpoint === undefined) return undefined;
    if (endpoint.connection === undefined) this.#open(endpoint);
    return endpoint.connection?.open === true ? endpoint.connection : undefined;
  }

  lastFailureOf(url: string): KvError | undefined {
    return this.#endpoints.find((candidate) => candidate.url === url)?.lastFailure;
  }

  /**
   * Where a shard's commands go now: its leader; while that one cannot be reached any other open
   * member, which knows better or forwards. Undefined = wait, something is being opened.
   */
  connectionFor(shard: string): Connection | undefined {
    const leader = this.#leaders.get(shard);
    if (leader === undefined) return this.#otherThan(leader);
    // It may be known at several addresses: the one that was given, the one it has moved to.
    let dialled = false;
    for (const endpoint of this.#endpoints) {
      if (endpoint.memberId !== leader) continue;
      if (endpoint.connection?.open === true) return endpoint.connection;
      if (endpoint.connection === undefined) this.#open(endpoint);
      dialled ||= endpoint.connection !== undefined;
    }
    return dialled ? undefined : this.#otherThan(leader);
  }

  /** The same, but rather not `avoided`, which has just failed to answer. */
  connectionBesides(shard: string, avoided: string | undefined): Connection | undefined {
    const preferred = this.connectionFor(shard);
    if (avoided === undefined || preferred?.memberId !== avoided) return preferred;
    return this.#otherThan(avoided) ?? preferred;
  }

  /** The members of a shard take turns while nobody knows its leader. */
  #otherThan(memberId: string | undefined): Connection | undefined {
    const count = this.#endpoints.length;
    for (let i = 0; i < count; i += 1) {
      const connection = this.#endpoints[(this.#next + i) % count]?.connection;
      if (connection?.open === true && connection.memberId !== memberId) return connection;
    }
    const now = this.#now();
    if (now - this.#exploredMs >= EXPLORE_MS) this.explore(now);
    return undefined;
  }

  /** A member said it does not lead `shard`; `leader` is its hint. Returns whether that is news. */
  notLeader(shard: string, from: Connection, leader: string | undefined): boolean {
    this.#next = (this.#next + 1) % this.#endpoints.length;
    const known = this.#leaders.get(shard);
    if (leader === undefined || leader === from.memberId) {
      if (known === from.memberId) this.#leaders.delete(shard);
      return false;
    }
    if (known === leader) return false;
    this.#leaders.set(shard, leader);
    return true;
  }

  /** Starts opening the next endpoint whose back-off is over. */
  explore(now: number): void {
    if (this.#closed) return;
    this.#exploredMs = now;
    const count = this.#endpoints.length;
    for (let i = 0; i < count; i += 1) {
      const endpoint = this.#endpoints[(this.#next + i) % count];
      if (endpoint === undefined || endpoint.connection !== undefined) continue;
      if (this.#open(endpoint)) return;
    }
  }

  /** Liveness of every connection; keeps looking for a member while none is open. */
  tick(now: number, stalled: boolean): void {
    let silentMs = Number.POSITIVE_INFINITY;
    let open = 0;
    for (const connection of [...this.connections()]) {
      if (stalled) connection.excuse(now);
      const { pending, watches, controls } = connection;
      const busy = pending.size > 0 || watches.size > 0 || controls.size > 0;
      const interval = busy
        ? Math.min(this.#settings.pingIntervalMs, 400)
        : this.#settings.pingIntervalMs;
      connection.checkAlive(now, interval, this.#settings.pingTimeoutMs);
      if (!connection.open) continue;
      open += 1;
      silentMs = Math.min(silentMs, now - connection.lastHeardMs);
    }
    // With nobody open, or everybody suspiciously quiet, a second opinion is needed.
    const suspicious = open === 0 || (open === 1 && silentMs > this.#settings.pingIntervalMs + 300);
    if (suspicious && now - this.#exploredMs >= EXPLORE_MS) this.explore(now);
  }

  /** Takes in the members that the shard map names. */
  #learn(router: ShardRouter): void {
    if (!this.#settings.discover) return;
    const scheme = this.#settings.endpoints[0]?.split('://')[0] ?? 'http';
    this.#forget(router);
    for (const member of router.members) {
      const isKnown = ({ memberId, connection }: Endpoint): boolean =>
        memberId === member.id && connection !== undefined;
      if (this.#endpoints.some(isKnown)) continue;
      const text = member.client.includes('://') ? member.client : `${scheme}://${member.client}`;
      if (!URL.canParse(text) || this.#endpoints.length >= ENDPOINTS_MAX) continue;
      const url = normalEndpoint(text);
      this.#leave(member.id, url);
      const known = this.#endpoints.find((endpoint) => endpoint.url === url);
      if (known === undefined) this.#add(url, false, member.id);
      else known.memberId = member.id;
    }
  }

  /** Addresses that a member had before this one, but for those that were given: they may be the only way to it from here. */
  #leave(memberId: string, url: string): void {
    for (let i = this.#endpoints.length - 1; i >= 0; i -= 1) {
      const endpoint = this.#endpoints[i];
      if (endpoint === undefined || endpoint.given || endpoint.memberId !== memberId) continue;
      if (endpoint.url !== url && endpoint.connection === undefined) this.#endpoints.splice(i, 1);
    }
  }

  /** Addresses learned earlier of members that are gone, unless somebody still answers there. */
  #forget(router: ShardRouter): void {
    const ids = new Set(router.members.map(({ id }) => id));
    for (let i = this.#endpoints.length - 1; i >= 0; i -= 1) {
      const endpoint = this.#endpoints[i];
      if (endpoint === undefined || endpoint.given || endpoint.connection !== undefined) continue;
      const isGone = endpoint.memberId !== undefined && !ids.has(endpoint.memberId);
      if (isGone) this.#endpoints.splice(i, 1);
    }
  }

  /** Why a member has not let this client in since then, and no other will that knows what it shows; undefined: one may. */
  refusalSince(sinceMs: number): KvError | undefined {
    if (this.anyOpen() !== undefined) return undefined;
    const { auth } = this.#settings;
    // Connections that were made before authorization was enabled end so, too.
    const isFinal = (error: KvError): boolean =>
      isNotLetIn(error) && (error.code !== 'KV_USER_EMPTY' || auth === undefined);
    return this.#endpoints
      .filter(({ failedMs }) => failedMs >= sinceMs)
      .flatMap(({ lastFailure }) => lastFailure ?? [])
      .find(isFinal);
  }

  /** Why nobody serves, for people; a NotServingError when somebody is about to. */
  failures(): KvError {
    const seen = this.#endpoints.flatMap((endpoint) => endpoint.lastFailure ?? []);
    const refused = seen.find(isNotLetIn);
    if (refused !== undefined) return refused;
    const detail = seen
      .map((error) => error.message.replace(/^kv: no member answers: /, ''))
      .join('; ');
    const starting = seen.some(
      (error) => error instanceof NotServingError && error.state === 'starting',
    );
    if (starting) {
      return new NotServingError('starting', detail, {
        cause: seen[0],
        details: { hint: 'a member is starting: wait, then try again' },
      });
    }
    return new KvError('KV_UNAVAILABLE', detail === '' ? undefined : detail, {
      cause: seen[0],
      details: {
        hint: `check that kvd runs and listens at ${this.#settings.endpoints.join(', ')}`,
      },
    });
  }

  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.connections()].map((connection) => connection.end(graceMs)));
  }

  #add(url: string, given: boolean, memberId: string | undefined): void {
    this.#endpoints.push({
      url,
      given,
      memberId,
      connection: undefined,
      backoff: new Backoff(50, 2000),
      notBeforeMs: 0,
      lastFailure: undefined,
      failedMs: Number.NEGATIVE_INFINITY,
    });
  }

  #open(endpoint: Endpoint): boolean {
    if (this.#closed || this.#now() < endpoint.notBeforeMs) return false;
    endpoint.connection = new Connection(endpoint.url, this.#settings, this.#handler, this.#now);
    return true;
  }

  #onWelcome(connection: Connection, welcome: Welcome): void {
    const endpoint = this.#endpoints.find((one) => one.connection === connection);
    if (endpoint === undefined) return;
    if (this.#clusterId !== undefined && welcome.clusterId !== this.#clusterId) {
      connection.abandon(`it belongs to another cluster (${welcome.clusterId})`);
      return;
    }
    this.#clusterId = welcome.clusterId;
    endpoint.memberId = welcome.memberId;
    endpoint.backoff.reset();
    endpoint.lastFailure = undefined;
    this.#dropTwins(endpoint);
    if (Number.isSafeInteger(welcome.requestBytesMax))
      this.#requestBytesMax = welcome.requestBytesMax;
    this.#onMap(welcome.map, welcome.leaders);
  }

  /** One member may be listed twice (localhost and 127.0.0.1): keep the one that is open. */
  #dropTwins(kept: Endpoint): void {
    for (let i = this.#endpoints.length - 1; i >= 0; i -= 1) {
      const other = this.#endpoints[i];
      if (other === undefined || other === kept || other.memberId !== kept.memberId) continue;
      if (other.connection === undefined && !other.given) this.#endpoints.splice(i, 1);
    }
  }

  #onMap(map: unknown, leaders: Readonly<Record<string, string>>): void {
    if (map !== undefined && map !== null) {
      const router = ShardRouter.parse(map);
      if (this.#router === undefined || router.version >= this.#router.version) {
        this.#router = router;
        this.#learn(router);
      }
    }
    const moved: string[] = [];
    for (const [shard, leader] of Object.entries(leaders)) {
      if (this.#leaders.get(shard) === leader) continue;
      this.#leaders.set(shard, leader);
      moved.push(shard);
    }
    this.#listener.onTopology(moved);
  }

  #onClosed(connection: Connection, reason: KvError): void {
    const endpoint = this.#endpoints.find((one) => one.connection === connection);
    if (endpoint !== undefined) {
      endpoint.connection = undefined;
      endpoint.lastFailure = reason;
      endpoint.failedMs = this.#now();
      endpoint.notBeforeMs = this.#now() + endpoint.backoff.next();
    }
    if (this.#closed) return;
    // The map may have told of another address while this one was still open.
    if (this.#router !== undefined) this.#learn(this.#router);
    this.#listener.onClosed(connection, reason);
    this.#next = (this.#next + 1) % this.#endpoints.length;
    if (this.anyOpen() === undefined) this.explore(this.#now());
  }
}
