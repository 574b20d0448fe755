import type { Message } from '@bufbuild/protobuf';
import type { RangeRequest, RangeResponse } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { afterAll, describe, expect, it } from 'vitest';
import { orSkip } from '../clients/found.ts';
import { type CampaignOptions, findingText, runCampaign } from './campaign.ts';
import { sequence } from './generate.ts';
import { rulesFor, traitsOf } from './intended.ts';
import type { MethodName } from './methods.ts';
import { type Answer, Subject } from './subject.ts';
import { etcd36, etcdOnPath, type OpenPair, openPair, startEtcd, startKvd } from './systems.ts';

const OPERATIONS = 900;

const open: OpenPair[] = [];
afterAll(async () => {
  await Promise.all(open.map(async (one) => one.close()));
});

const references = [
  { name: 'etcd 3.4, of the PATH', found: await etcdOnPath(), isOptional: true },
  { name: 'etcd 3.6', found: await etcd36(), isOptional: false },
];
for (const { name, found, isOptional } of references) {
  orSkip(`comparison with ${name}`, found, isOptional);
}

function options({ pair, reference }: OpenPair): Omit<CampaignOptions, 'seed' | 'operations'> {
  const { version } = reference;
  return { pairs: [pair], traits: traitsOf(version), rules: rulesFor(version) };
}

describe.each(references)('against $name', ({ found }) => {
  it.skipIf(found.kind === 'missing')('one shard answers as etcd does', async () => {
    if (found.kind === 'missing') return;
    const opened = await openPair(startEtcd(found.path), startKvd());
    open.push(opened);
    const finding = await runCampaign({ ...options(opened), seed: 1, operations: OPERATIONS });
    expect(finding === undefined ? 'no difference' : findingText(finding)).toBe('no difference');
  });
});

/** An etcd that takes descending order for ascending: what the comparison is there to find. */
class Altered extends Subject {
  override async call(method: MethodName, request: Message, as?: string): Promise<Answer> {
    const answer = await super.call(method, request, as);
    if (method !== 'range' || !answer.ok || (request as RangeRequest).sortOrder !== 2)
      return answer;
    const message = answer.message as RangeResponse;
    return { ok: true, message: { ...message, kvs: message.kvs.toReversed() } as RangeResponse };
  }
}

const etcd = references.map(({ found }) => found).findLast(({ kind }) => kind === 'found');

describe.skipIf(etcd === undefined)('the comparison itself', () => {
  it('finds an altered answer, and the few operations that show it', async () => {
    if (etcd?.kind !== 'found') return;
    const opened = await openPair(startEtcd(etcd.path), startEtcd(etcd.path));
    open.push(opened);
    const altered = new Altered('altered', opened.candidate.endpoint);
    const pair = { ...opened.pair, candidate: altered };
    const finding = await runCampaign({
      ...options({ ...opened, pair }),
      seed: 1,
      // It ends with the first difference.
      operations: 4 * OPERATIONS,
    });
    altered.close();
    expect(finding?.difference.operation).toMatchObject({ kind: 'call', method: 'range' });
    // Two keys and the range.
    expect(finding?.operations.length).toBeLessThanOrEqual(3);
  });
});

it('a seed is a sequence', () => {
  const traits = { unknownEnums: true, auth: true };
  expect(sequence(7, 50, traits)).toEqual(sequence(7, 50, traits));
  expect(sequence(7, 50, traits)).not.toEqual(sequence(8, 50, traits));
});
