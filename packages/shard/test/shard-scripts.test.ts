import {
  fromUtf8,
  type KvRequest,
  RANGE_END_OPEN,
  type ShardId,
  shardId,
  type TxnOp,
  toHex,
  utf8,
} from '@kvorum/base';
import {
  abortMove,
  beginMoves,
  finishMove,
  initialShardMap,
  leadershipTransfers,
  leaderTargets,
  type MovePlan,
  parseShardMap,
  planMerge,
  planRebalance,
  planScale,
  planSplit,
  type Route,
  type RoutingRule,
  retireShard,
  retryMove,
  routeRequest,
  routingPart,
  type ShardMap,
  shardOfKey,
  shardsOfRange,
  slotOf,
  switchMove,
} from '@kvorum/shard';
import { type DataDrivenCommand, runDataDriven } from '@kvorum/testkit';
import { expect, it } from 'vitest';

const script = (name: string): URL => new URL(`./testdata/${name}.txt`, import.meta.url);
const hexId = (n: number): string => n.toString(16).padStart(16, '0');

/** Text with \xNN for single bytes; \x00 alone is the open range end. */
function bytesOf(text: string): Uint8Array {
  const out: number[] = [];
  for (let i = 0; i < text.length; i += 1) {
    if (text.startsWith('\\x', i)) {
      out.push(Number.parseInt(text.slice(i + 2, i + 4), 16));
      i += 3;
    } else {
      out.push(...utf8(text.charAt(i)));
    }
  }
  return Uint8Array.from(out);
}

function newMap(members: number, shards: number, replicas = 3, meta = false): ShardMap {
  const member = (n: number): ShardMap['members'][number] => ({
    id: hexId(n),
    name: `m${n}`,
    peer: `127.0.0.1:${n}`,
    client: `127.0.0.1:${n}`,
  });
  return initialShardMap({
    clusterId: hexId(0xc0ffee),
    shardCount: shards,
    members: Array.from({ length: members }, (_, i) => member(i + 1)),
    rules: [],
    replicas,
    uids: Array.from({ length: shards }, (_, i) => `${hexId(1)}${hexId(i)}`),
    ...(meta ? { metaUid: `${hexId(2)}${hexId(0)}` } : {}),
  });
}

it('routing-part.txt', () => {
  let rules: readonly RoutingRule[] = [];
  const wide = newMap(1, 1000);
  const commands: Record<string, (line: string) => string> = {
    part: (line) => `${line} -> ${fromUtf8(routingPart(utf8(line), rules))}`,
    range: (line) => {
      const [key = '', end = ''] = line.split(' ');
      const shards = shardsOfRange({ ...wide, rules }, bytesOf(key), bytesOf(end));
      return `${line} -> ${shards.length === 1 ? 'one' : 'all'}`;
    },
  };
  runDataDriven(script('routing-part'), ({ name, input }) => {
    const lines = input.split('\n');
    if (name === 'rules') {
      rules = lines.map((line) => {
        const [prefix = '', depth] = line.split(' ');
        return { prefix, depth: Number(depth) };
      });
      return 'ok';
    }
    return lines.map((line) => commands[name]?.(line) ?? `unknown command ${name}`).join('\n');
  });
});

function describeMap(map: ShardMap): string {
  const lines = map.slots.map(({ from, to, shard }) => {
    const entry = map.shards.find(({ id }) => id === shard);
    const voters = entry?.voters.map((id) => Number.parseInt(id, 16)).join(' ');
    return `${shard}: slots ${from}-${to}, voters ${voters}`;
  });
  const meta = map.shards.find(({ id }) => id === 'meta');
  if (meta !== undefined) {
    lines.push(`meta: voters ${meta.voters.map((id) => Number.parseInt(id, 16)).join(' ')}`);
  }
  return lines.join('\n');
}

const range = (spans: readonly (readonly [number, number])[]): string =>
  spans.map(([from, to]) => `${from}-${to}`).join(' ');

it('slot-moves.txt', () => {
  let map = newMap(3, 4, 3, true);
  let made = 0;
  const uid = (): string => {
    made += 1;
    return `${hexId(3)}${hexId(made)}`;
  };
  const change = (changed: ShardMap | undefined): string => {
    if (changed === undefined) return 'nothing to change';
    map = { ...changed, version: map.version + 1 };
    const parsed = parseShardMap(map);
    return parsed.ok ? 'ok' : parsed.error;
  };
  const begin = (plan: MovePlan): string => {
    const ids = plan.moves.map((_, i) => hexId(100 + i));
    const done = change(beginMoves(map, plan, ids));
    const shards = plan.shards.map(({ id, voters }) => `new ${id}, first voter ${voters[0]}`);
    const moves = plan.moves.map(({ from, to, slots }) => `${from} -> ${to}: ${range(slots)}`);
    return [...shards, ...moves, done].join('\n');
  };
  const commands: Record<string, (args: readonly string[]) => string> = {
    scale: ([count]) => begin(planScale(map, Number(count), uid)),
    split: ([shard = '']) => begin(planSplit(map, shard, uid)),
    merge: ([from = '', to = '']) => begin(planMerge(map, from, to)),
    rebalance: () => begin(planRebalance(map)),
    switch: ([id, attempt]) => change(switchMove(map, hexId(Number(id)), Number(attempt))),
    retry: ([id, attempt]) => change(retryMove(map, hexId(Number(id)), Number(attempt))),
    abort: ([id]) => change(abortMove(map, hexId(Number(id)))),
    finish: ([id]) => change(finishMove(map, hexId(Number(id)))),
    retire: ([shard = '']) => change(retireShard(map, shard)),
    map: () =>
      [
        ...map.slots.map(({ from, to, shard }) => `${shard}: ${from}-${to}`),
        ...(map.moves ?? []).map(({ id, phase, attempt }) => `move ${id} ${phase} ${attempt}`),
        `shards ${map.shards.map(({ id }) => id).join(' ')}`,
      ].join('\n'),
  };
  runDataDriven(script('slot-moves'), ({ name, input }) => {
    try {
      return commands[name]?.(input.split(' ')) ?? `unknown command ${name}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  });
});

it('shard-map.txt', () => {
  runDataDriven(script('shard-map'), ({ name, args }) => {
    if (name === 'initial') {
      const number = (value: string | undefined): number => Number(value);
      return describeMap(
        newMap(
          number(args['members']),
          number(args['shards']),
          number(args['replicas']),
          args['meta'] !== undefined,
        ),
      );
    }
    const plain: Record<string, unknown> = { ...newMap(3, 2) };
    if (args['set'] !== undefined) {
      const value = args['value'] ?? '';
      plain[args['set']] = /^[[{\d-]/.test(value) ? (JSON.parse(value) as unknown) : value;
    }
    if (args['slots'] !== undefined) {
      plain['slots'] = args['slots'].split(',').map((range) => {
        const [, from, to, shard] = /^(\d+)-(\d+):(.*)$/.exec(range) ?? [];
        return { from: Number(from), to: Number(to), shard };
      });
    }
    const result = parseShardMap(plain);
    return result.ok ? 'ok' : result.error;
  });
});

function parseOp(word: string): TxnOp {
  const [op, keys = ''] = word.split(':');
  const [key = '', end] = keys.split(',');
  const range = { key: utf8(key), ...(end === undefined ? {} : { rangeEnd: utf8(end) }) };
  switch (op) {
    case 'put':
      return { op: 'put', key: utf8(key), value: utf8('v') };
    case 'delete':
      return { op: 'delete-range', ...range };
    case 'owner':
      return { op: 'range', ...range, limit: 1, sortTarget: 'create', sortOrder: 'ascend' };
    default:
      return { op: 'range', ...range };
  }
}

function parseRequest(line: string): KvRequest {
  const [name = '', ...words] = line.split(' ');
  if (name === 'compact') return { op: 'compact', revision: 5 };
  if (name !== 'txn') return parseOp(`${name}:${words.join(',')}`);
  const compare = words
    .filter((word) => word.startsWith('if:'))
    .map((word) => ({
      key: utf8(word.slice(3)),
      target: 'version' as const,
      result: 'equal' as const,
      value: 0,
    }));
  const ops = words.filter((word) => !word.startsWith('if:')).map(parseOp);
  // The last operation goes into the other branch: both count.
  return { op: 'txn', compare, success: ops.slice(0, -1), failure: ops.slice(-1) };
}

function describeRoute(route: Route): string {
  switch (route.kind) {
    case 'shard':
      return route.shard;
    case 'fan-out':
      return route.shards.join(' and ');
    case 'refused':
      // A tag of the first key before both of them.
      expect(route.error.details.hint).toMatch(/for example "\{([^}]+)\}(?:\1|…)/);
      return `${route.error.code} ${route.error.message.split(': ').at(-1)}`;
  }
}

it('route-request.txt', () => {
  runDataDriven(script('route-request'), ({ args, input }: DataDrivenCommand) => {
    const map = newMap(3, Number(args['shards'] ?? 2));
    return input
      .split('\n')
      .map((line) => `${line} -> ${describeRoute(routeRequest(map, parseRequest(line)))}`)
      .join('\n');
  });
});

it('leader-placement.txt', () => {
  runDataDriven(script('leader-placement'), ({ args, input }) => {
    const leaders = new Map<ShardId, string>();
    const shards = input.split('\n').map((line) => {
      const [id = '', voters = '', leader = '-'] = line.split(' ');
      if (leader !== '-') leaders.set(shardId(id), leader);
      return { id: shardId(id), uid: '', generation: 0, voters: voters.split('') };
    });
    const map: ShardMap = { ...newMap(3, 1), shards };
    const healthy = new Set((args['healthy'] ?? '').split(','));
    const transfers = leadershipTransfers({ map, leaders, healthy });
    for (const { shard, to } of transfers) leaders.set(shard, to);
    expect(leadershipTransfers({ map, leaders, healthy }), 'one round is enough').toEqual([]);
    const targets = [...leaderTargets(map, healthy)].map(([shard, to]) => `${shard}:${to}`);
    const moves = transfers.map(({ shard, from, to }) => `${shard}: ${from} -> ${to}`);
    return [`targets ${targets.join(' ')}`, ...moves].join('\n');
  });
});

it('maps published keys to the slots of Redis Cluster', () => {
  const slots = ['foo', 'bar', 'hello', '123456789', '{user1000}.following', ''].map((key) => [
    key,
    slotOf(utf8(key), []),
  ]);
  expect(slots).toEqual([
    ['foo', 12182],
    ['bar', 5061],
    ['hello', 866],
    ['123456789', 12739],
    ['{user1000}.following', 3443],
    ['', 0],
  ]);
});

it('knows the shard of a key from the slot ranges', () => {
  const map = newMap(3, 7);
  for (const key of ['a', 'b/c', '{t}', toHex(RANGE_END_OPEN)]) {
    const slot = slotOf(utf8(key), []);
    const range = map.slots.find(({ from, to }) => from <= slot && slot <= to);
    expect(shardOfKey(map, utf8(key))).toBe(range?.shard);
  }
});
