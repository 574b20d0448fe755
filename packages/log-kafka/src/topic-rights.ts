import { KvError } from '@kvorum/base';
import Decoder from 'kafkajs/src/protocol/decoder.js';
import Encoder from 'kafkajs/src/protocol/encoder.js';

/**
 * Kafka's numbers of operations on a topic (AclOperation), as bits of an answer. Delete is Kafka's name for the right to delete old
 * records. Read, Write and Delete include Describe, so who may not Describe has none of these.
 */
const OPERATIONS = {
  Read: 3,
  Write: 4,
  Create: 5,
  Delete: 6,
  Describe: 8,
  DescribeConfigs: 10,
} as const;

export type Operation = keyof typeof OPERATIONS;

/** Operations of `needed` that a member may not do; none when the broker did not say what it may do. */
export function missingRights(
  allowed: number | undefined,
  needed: readonly Operation[],
): readonly Operation[] {
  if (allowed === undefined) return [];
  return needed.filter((name) => ((allowed >> OPERATIONS[name]) & 1) === 0);
}

export interface AclSubject {
  readonly bootstrap: string;
  /** Kafka's name of the user; undefined when this package does not know. */
  readonly user: string | undefined;
  readonly topicPrefix: string;
}

/** `…; fix: kafka-acls.sh …`, for all topics of the cluster at once. */
export function lacksRights(operations: readonly Operation[], subject: AclSubject): string {
  const { bootstrap, user, topicPrefix } = subject;
  const options = operations.map((name) => `--operation ${name}`).join(' ');
  return (
    `the Kafka user ${user ?? 'of this member'} lacks the permission ${operations.join(', ')}; fix: ` +
    `kafka-acls.sh --bootstrap-server ${bootstrap} --add --allow-principal User:${user ?? '<name>'} ` +
    `${options} --resource-pattern-type prefixed --topic ${topicPrefix}`
  );
}

const METADATA_API_KEY = 3;
/** The first version that tells what the asking user may do; Kafka 2.3. */
export const RIGHTS_VERSION = 8;
const NOT_SAID = -(2 ** 31);

/**
 * A Metadata request, version 8, for what the user may do with one topic; kafkajs knows versions up to 6. Decodes to a set of bits, or to
 * undefined when the broker does not say.
 *
 * Source: Kafka protocol guide, Metadata request and response v8.
 */
export function rightsRequest(topic: string): KafkajsCustomRequest<number | undefined> {
  return {
    request: {
      apiKey: METADATA_API_KEY,
      apiName: 'Metadata',
      apiVersion: RIGHTS_VERSION,
      encode: async () =>
        new Encoder()
          .writeArray([topic])
          .writeBoolean(false) // creates no topic
          .writeBoolean(false) // nothing about the cluster
          .writeBoolean(true),
    },
    response: { decode: async (payload) => decodeRights(payload), parse: async (data) => data },
  };
}

/** The answer to {@link rightsRequest}. Throws KV_LOG_UNAVAILABLE for bytes that are none. */
export function decodeRights(payload: Uint8Array): number | undefined {
  try {
    return readRights(new Decoder(payload));
  } catch (cause) {
    throw new KvError('KV_LOG_UNAVAILABLE', 'unreadable answer about rights', { cause });
  }
}

function readRights(answer: Decoder): number | undefined {
  answer.readInt32(); // throttle time
  eachOf(answer, () => {
    answer.readInt32();
    answer.readString(); // host
    answer.readInt32();
    answer.readString(); // rack
  });
  answer.readString(); // cluster id
  answer.readInt32(); // controller
  let allowed = NOT_SAID;
  eachOf(answer, () => {
    answer.readInt16();
    answer.readString();
    answer.readBoolean(); // internal
    eachOf(answer, () => skipPartition(answer));
    allowed = answer.readInt32();
  });
  return allowed === NOT_SAID ? undefined : allowed;
}

function skipPartition(answer: Decoder): void {
  answer.readInt16();
  for (let i = 0; i < 3; i += 1) answer.readInt32(); // index, leader, leader epoch
  for (let i = 0; i < 3; i += 1) eachOf(answer, () => answer.readInt32());
}

/** kafkajs's own makes an array of the promised length first, a gigabyte if the bytes say so; this one ends where they end. */
function eachOf(answer: Decoder, read: () => void): void {
  const count = answer.readInt32();
  for (let i = 0; i < count; i += 1) read();
}
