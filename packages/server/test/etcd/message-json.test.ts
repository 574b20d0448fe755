import { create, type DescMessage } from '@bufbuild/protobuf';
import { utf8 } from '@kvorum/base';
import {
  AuthUserAddRequestSchema,
  WatchCreateRequest_FilterType as FilterType,
  HashKVResponseSchema,
  LeaseGrantRequestSchema,
  LeaseGrantResponseSchema,
  MemberAddRequestSchema,
  PutRequestSchema,
  type RangeRequest,
  RangeRequestSchema,
  ResponseHeaderSchema,
  RangeRequest_SortOrder as SortOrder,
  TxnRequestSchema,
  WatchRequestSchema,
  WatchResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { EventSchema, Event_EventType as EventType } from '@kvorum/wire/gen/mvccpb/kv_pb';
import { describe, expect, it } from 'vitest';
import { messageFromJson, messageToJson } from '../../src/etcd/gateway/message-json.ts';

const bytes = (text: string): Uint8Array => utf8(text);
const range = (json: string): RangeRequest => messageFromJson(RangeRequestSchema, bytes(json));
const refusal = (desc: DescMessage, json: string | Uint8Array): string => {
  try {
    messageFromJson(desc, typeof json === 'string' ? bytes(json) : json);
  } catch (error) {
    expect(error).toMatchObject({ name: 'GrpcError', status: 'INVALID_ARGUMENT' });
    return (error as Error).message;
  }
  return 'accepted';
};

describe('a request', () => {
  it('may be empty, and what is absent or null is zero', () => {
    const empty = create(RangeRequestSchema);
    for (const json of ['', ' \r\n\t', '{}', '{"key":null,"sort_order":null,"limit":null}']) {
      expect(range(json), json).toEqual(empty);
    }
  });

  it('has names in snake or camel case, and unknown ones', () => {
    const snake = range('{"range_end":"Yg==","keys_only":true,"min_mod_revision":"3"}');
    const camel = range(
      '{"rangeEnd":"Yg==","keysOnly":true,"minModRevision":3,"nothing":{"a":[1,{"b":null},"\\u00e4"]}}',
    );
    expect(snake).toMatchObject({ keysOnly: true, minModRevision: 3n });
    expect(camel).toEqual(snake);
    expect(messageFromJson(LeaseGrantRequestSchema, bytes('{"TTL":"5","ID":6}'))).toMatchObject({
      TTL: 5n,
      ID: 6n,
    });
  });

  it.each([
    ['1', 1n],
    ['"1"', 1n],
    ['-7', -7n],
    ['1e2', 100n],
    ['5.0', 5n],
    ['9223372036854775807', 2n ** 63n - 1n],
    ['"-9223372036854775808"', -(2n ** 63n)],
    ['9007199254740993', 2n ** 53n + 1n],
  ])('has the 64-bit integer %s exactly', (text, value) => {
    expect(range(`{"limit":${text}}`).limit).toBe(value);
  });

  it.each([
    ['9223372036854775808', /out of range/],
    ['-9223372036854775809', /out of range/],
    ['1e99', /out of range/],
    ['1e100', /expected an integer/],
    [`1${'0'.repeat(100_000)}`, /expected an integer/],
    ['1.5', /expected an integer/],
    ['1e-2', /expected an integer/],
    ['NaN', /expected a value/],
    ['"NaN"', /expected an integer/],
    ['Infinity', /expected a value/],
    ['"x"', /expected an integer/],
    ['""', /expected an integer/],
    ['" 1"', /expected an integer/],
    ['"0x10"', /expected an integer/],
    ['01', /expected ','/],
    ['+1', /expected a value/],
    ['true', /expected an integer/],
    ['[1]', /expected an integer/],
    ['{}', /expected an integer/],
  ])('has no integer like %s', (text, expected) => {
    expect(refusal(RangeRequestSchema, `{"limit":${text}}`)).toMatch(expected);
  });

  it('has no negative or huge member ids', () => {
    const id = '{"header":{"cluster_id":';
    expect(refusal(HashKVResponseSchema, `${id}-1}}`)).toMatch(/cluster_id: out of range 0 to/);
    expect(refusal(HashKVResponseSchema, '{"hash":4294967296}')).toMatch(/out of range/);
    const largest = messageFromJson(
      HashKVResponseSchema,
      bytes(`${id}18446744073709551615},"hash":4294967295}`),
    );
    expect(largest).toMatchObject({ hash: 4294967295, header: { clusterId: 2n ** 64n - 1n } });
  });

  it.each(['-_8=', 'YQ', 'YQ==', '-_8', '+/8='])('has bytes as %s', (text) => {
    const { key } = range(`{"key":"${text}"}`);
    expect(Buffer.from(key)).toEqual(Buffer.from(text, 'base64url'));
  });

  it.each([
    ['"Y"', /RangeRequest\.key: not base64/],
    ['"YQ="', /not base64/],
    ['"Y Q="', /not base64/],
    ['"YR=="', /not base64/],
    ['"ä"', /not base64/],
    ['5', /expected a string of base64/],
    ['["YQ=="]', /expected a string of base64/],
    ['{"base64":"YQ=="}', /expected a string of base64/],
  ])('has no bytes like %s', (text, expected) => {
    expect(refusal(RangeRequestSchema, `{"key":${text}}`)).toMatch(expected);
  });

  it('has enums by name or number, numbers unknown to us too', () => {
    expect(range('{"sort_order":"DESCEND"}').sortOrder).toBe(SortOrder.DESCEND);
    expect(range('{"sort_order":2}').sortOrder).toBe(SortOrder.DESCEND);
    expect(range('{"sort_order":9}').sortOrder).toBe(9);
    expect(refusal(RangeRequestSchema, '{"sort_order":"DOWN"}')).toBe(
      'etcdserverpb.RangeRequest.sort_order: not one of NONE, ASCEND, DESCEND',
    );
    expect(refusal(RangeRequestSchema, '{"sort_order":2147483648}')).toMatch(/out of range/);
    expect(refusal(RangeRequestSchema, '{"sort_order":[]}')).toMatch(/expected an integer/);
  });

  it('has lists, messages and one of several', () => {
    const watch = messageFromJson(
      WatchRequestSchema,
      bytes('{"createRequest":{"key":"YQ==","filters":["NODELETE",0]}}'),
    );
    expect(watch.requestUnion).toMatchObject({
      case: 'createRequest',
      value: { filters: [FilterType.NODELETE, FilterType.NOPUT] },
    });
    const txn = messageFromJson(
      TxnRequestSchema,
      bytes(
        '{"compare":[{"target":"VALUE","key":"YQ==","value":""}],"success":[{"request_txn":{"failure":[{"requestPut":{"key":"YQ=="}}]}}]}',
      ),
    );
    expect(txn.compare[0]?.targetUnion).toMatchObject({ case: 'value' });
    expect(txn.success[0]?.request).toMatchObject({
      case: 'requestTxn',
      value: { failure: [{ request: { case: 'requestPut' } }] },
    });
    expect(refusal(TxnRequestSchema, '{"success":{}}')).toMatch(/success: expected an array/);
    expect(refusal(TxnRequestSchema, '{"success":[null]}')).toMatch(/expected an object/);
    expect(refusal(TxnRequestSchema, '{"success":[[]]}')).toMatch(/expected an object/);
    const two = '{"create_request":{},"cancel_request":{}}';
    expect(refusal(WatchRequestSchema, two)).toMatch(/cancel_request: create_request is given/);
  });

  it('has no field twice, under one name or two', () => {
    expect(refusal(RangeRequestSchema, '{"key":"YQ==","key":"Yg=="}')).toMatch(/given twice/);
    expect(refusal(RangeRequestSchema, '{"range_end":"","rangeEnd":""}')).toMatch(/given twice/);
  });

  it('has booleans and strings of their own kind', () => {
    for (const text of ['"true"', '1', 'null1', 'tru']) {
      expect(refusal(PutRequestSchema, `{"prev_kv":${text}}`), text).not.toBe('accepted');
    }
    expect(refusal(AuthUserAddRequestSchema, '{"name":1}')).toMatch(/expected a string/);
    const name = (json: string): string =>
      messageFromJson(AuthUserAddRequestSchema, bytes(`{"name":${json}}`)).name;
    expect(name('"\\u00e4\\ud83d\\ude00\\n\\"\\/"')).toBe('ä😀\n"/');
    expect(refusal(AuthUserAddRequestSchema, '{"name":"\\ud83d"}')).toMatch(/surrogate/);
    expect(refusal(AuthUserAddRequestSchema, '{"name":"\\ude00\\ud83d"}')).toMatch(/surrogate/);
    expect(refusal(MemberAddRequestSchema, '{"peerURLs":["a",1]}')).toMatch(/expected a string/);
  });

  it.each([
    'null',
    '[]',
    '"x"',
    '5',
    'true',
    '{',
    '{"key"}',
    '{"key":}',
    '{"key":"YQ==",}',
    '{,}',
    '{"key":"YQ=="',
    '{"key":"YQ==}',
    '{key:"YQ=="}',
    "{'key':''}",
    '{"key":"\n"}',
    '{"key":"\\x"}',
    '{"key":"\\u12"}',
    '{}{}',
    '{} x',
    '{"unknown":[1,]}',
    '{"unknown":tru}',
    '{"unknown":-}',
    '{"unknown":1.}',
    'nothing',
  ])('is not %s', (json) => {
    expect(refusal(RangeRequestSchema, json)).not.toBe('accepted');
  });

  it('is UTF-8', () => {
    expect(refusal(RangeRequestSchema, Uint8Array.of(0x7b, 0xff, 0x7d))).toMatch(/UTF-8/);
  });

  it('is not nested without end, asked for or not', () => {
    const deep = (depth: number): string => '{"x":'.repeat(depth) + 1 + '}'.repeat(depth);
    expect(refusal(RangeRequestSchema, deep(400))).toBe('accepted');
    expect(refusal(RangeRequestSchema, deep(401))).toMatch(/nested deeper than 400/);
    expect(refusal(RangeRequestSchema, `{"x":${'['.repeat(1_000_000)}`)).toMatch(/nested deeper/);
    const level = '{"success":[{"request_txn":';
    expect(refusal(TxnRequestSchema, level.repeat(100_000))).toMatch(/nested deeper/);
    const full = `${level.repeat(128)}{}${'}]}'.repeat(128)}`;
    expect(refusal(TxnRequestSchema, full)).toBe('accepted');
  });

  it('does not hold more values than any request of etcd', () => {
    expect(refusal(TxnRequestSchema, `{"success":[${'{},'.repeat(300_000)}{}]}`)).toMatch(
      /more than 262144 values/,
    );
  });
});

describe('an answer', () => {
  it('has names of the .proto files, 64-bit integers as strings, and no zeros', () => {
    const header = create(ResponseHeaderSchema, {
      clusterId: 2n ** 64n - 1n,
      memberId: 1n,
      revision: 2n ** 53n + 1n,
    });
    expect(messageToJson(WatchResponseSchema, create(WatchResponseSchema, { header }))).toEqual({
      header: {
        cluster_id: '18446744073709551615',
        member_id: '1',
        revision: '9007199254740993',
      },
    });
    const lease = create(LeaseGrantResponseSchema, { ID: -5n, TTL: 0n, error: '' });
    expect(messageToJson(LeaseGrantResponseSchema, lease)).toEqual({ ID: '-5' });
    const hash = create(HashKVResponseSchema, { hash: 4294967295 });
    expect(messageToJson(HashKVResponseSchema, hash)).toEqual({ hash: 4294967295 });
  });

  it('has bytes in base64 and enums by name', () => {
    const kv = { key: Uint8Array.of(0xfb, 0xff), modRevision: 4n };
    const event = create(EventSchema, { type: EventType.DELETE, kv });
    expect(messageToJson(EventSchema, event)).toEqual({
      type: 'DELETE',
      kv: { key: '+/8=', mod_revision: '4' },
    });
  });
});
