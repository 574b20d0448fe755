import type {
  DescEnum,
  DescField,
  DescMessage,
  JsonValue,
  Message,
  MessageShape,
} from '@bufbuild/protobuf';
import { create, ScalarType, toJson } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { fromBase64 } from '@kvorum/base';
import { GrpcError } from '../grpc-error.ts';
import { JsonReader } from './json-reader.ts';

const INT32_MIN = -(2n ** 31n);
const INT32_MAX = 2n ** 31n - 1n;
const UINT32_MAX = 2n ** 32n - 1n;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;

/** The smallest and the largest value of each integer type that the messages have. */
const INTEGERS: ReadonlyMap<ScalarType, readonly [min: bigint, max: bigint]> = new Map([
  [ScalarType.INT32, [INT32_MIN, INT32_MAX]],
  [ScalarType.UINT32, [0n, UINT32_MAX]],
  [ScalarType.INT64, [INT64_MIN, INT64_MAX]],
  [ScalarType.UINT64, [0n, UINT64_MAX]],
]);
const WIDE: readonly ScalarType[] = [ScalarType.INT64, ScalarType.UINT64];
/** 1e3 and 5.0 are integers as well; an exponent of a thousand is nobody's. */
const INTEGER = /^(-?\d+)(?:\.0+)?(?:[eE]\+?(\d{1,2}))?$/;
/** Longer ones are out of every range, and slow to read. */
const DIGITS_MAX = 64;

type FieldsByName = ReadonlyMap<string, DescField>;
const fieldsOf = new WeakMap<DescMessage, FieldsByName>();

/** Both names of each field: as in the .proto file and in camel case. */
function fieldsByName(desc: DescMessage): FieldsByName {
  const known = fieldsOf.get(desc);
  if (known !== undefined) return known;
  const made = new Map<string, DescField>();
  for (const field of desc.fields) made.set(field.name, field).set(field.jsonName, field);
  fieldsOf.set(desc, made);
  return made;
}

function wrong(field: DescField, wanted: string): GrpcError {
  return new GrpcError('INVALID_ARGUMENT', `${field.parent.typeName}.${field.name}: ${wanted}`);
}

function readInteger(
  reader: JsonReader,
  field: DescField,
  [min, max]: readonly [bigint, bigint],
): bigint {
  const kind = reader.kind();
  if (kind !== 'number' && kind !== 'string') throw wrong(field, 'expected an integer');
  const text = kind === 'number' ? reader.number() : reader.string();
  const [, digits, exponent = '0'] = (text.length <= DIGITS_MAX && INTEGER.exec(text)) || [];
  if (digits === undefined) throw wrong(field, 'expected an integer');
  const value = BigInt(digits) * 10n ** BigInt(exponent);
  if (value < min || value > max) throw wrong(field, `out of range ${min} to ${max}`);
  return value;
}

function readScalar(reader: JsonReader, field: DescField, type: ScalarType): unknown {
  const range = INTEGERS.get(type);
  if (range !== undefined) {
    const value = readInteger(reader, field, range);
    return WIDE.includes(type) ? value : Number(value);
  }
  const kind = reader.kind();
  if (type === ScalarType.BOOL) {
    if (kind !== 'true' && kind !== 'false') throw wrong(field, 'expected true or false');
    return reader.literal();
  }
  if (kind !== 'string') {
    throw wrong(
      field,
      type === ScalarType.BYTES ? 'expected a string of base64' : 'expected a string',
    );
  }
  const text = reader.string();
  if (type === ScalarType.STRING) return text;
  const bytes = fromBase64(text);
  if (bytes === undefined) throw wrong(field, 'not base64');
  return bytes;
}

/** A number that the enum does not have goes through: the service judges it. */
function readEnum(reader: JsonReader, field: DescField, desc: DescEnum): number {
  if (reader.kind() !== 'string') return Number(readInteger(reader, field, [INT32_MIN, INT32_MAX]));
  const name = reader.string();
  const value = desc.values.find((one) => one.name === name);
  if (value === undefined) {
    const known = desc.values.map((one) => one.name).join(', ');
    throw wrong(field, `not one of ${known}`);
  }
  return value.number;
}

function readSubMessage(reader: JsonReader, field: DescField, desc: DescMessage): ReflectMessage {
  if (reader.kind() !== 'object') throw wrong(field, 'expected an object');
  return readFields(reader, desc);
}

function readList(
  reader: JsonReader,
  into: ReflectMessage,
  field: DescField & { fieldKind: 'list' },
): void {
  if (reader.kind() !== 'array') throw wrong(field, 'expected an array');
  const list = into.get(field);
  reader.array(() => {
    if (field.listKind === 'message') list.add(readSubMessage(reader, field, field.message));
    else if (field.listKind === 'enum') list.add(readEnum(reader, field, field.enum));
    else list.add(readScalar(reader, field, field.scalar));
  });
}

function readField(reader: JsonReader, into: ReflectMessage, field: DescField): void {
  switch (field.fieldKind) {
    case 'list':
      readList(reader, into, field);
      break;
    case 'message':
      into.set(field, readSubMessage(reader, field, field.message));
      break;
    case 'enum':
      into.set(field, readEnum(reader, field, field.enum));
      break;
    case 'scalar':
      into.set(field, readScalar(reader, field, field.scalar));
      break;
    case 'map':
      throw wrong(field, 'maps are in no message of etcd');
  }
}

function readFields(reader: JsonReader, desc: DescMessage): ReflectMessage {
  const into = reflect(desc);
  const fields = fieldsByName(desc);
  const seen = new Set<DescField>();
  reader.object((name) => {
    const field = fields.get(name);
    if (field === undefined) {
      reader.skip();
      return;
    }
    if (seen.has(field)) throw wrong(field, 'given twice');
    seen.add(field);
    if (reader.kind() === 'null') {
      reader.literal();
      return;
    }
    const other = field.oneof && into.oneofCase(field.oneof);
    if (other !== undefined) throw wrong(field, `${other.name} is given as well`);
    readField(reader, into, field);
  });
  return into;
}

/**
 * A message from its JSON form by the rules of grpc-gateway: names in snake or camel case, unknown ones ignored, bytes in base64 or
 * base64url, integers as numbers or strings (64 bits exactly), enums by name or number, null = absent; an empty body is an empty message.
 * Errors: INVALID_ARGUMENT, which says where.
 */
export function messageFromJson<Desc extends DescMessage>(
  desc: Desc,
  body: Uint8Array,
): MessageShape<Desc> {
  const reader = new JsonReader(body);
  if (reader.atEnd) return create(desc);
  if (reader.kind() !== 'object') {
    throw new GrpcError('INVALID_ARGUMENT', `the request is no JSON object but: ${reader.kind()}`);
  }
  const { message } = readFields(reader, desc);
  if (!reader.atEnd) throw new GrpcError('INVALID_ARGUMENT', 'more than one JSON object');
  return message as MessageShape<Desc>;
}

/** The JSON form of an answer: snake case, bytes in base64, 64-bit integers as strings, zero values left out. */
export function messageToJson(desc: DescMessage, message: Message): JsonValue {
  return toJson(desc, message, { useProtoFieldName: true });
}
