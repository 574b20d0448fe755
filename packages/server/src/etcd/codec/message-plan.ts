import {
  create,
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';

/** What stands in a field, as far as the codecs here know it. */
export const KIND = {
  int64: 0,
  uint64: 1,
  /** Enumerations too. */
  int32: 2,
  bool: 3,
  bytes: 4,
  string: 5,
  message: 6,
} as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

export const WIRE = { varint: 0, lengthDelimited: 2 } as const;

/** The fields of a message by their local names. */
export type Fields = Record<string, unknown>;

export interface FieldPlan {
  readonly name: string;
  /** Number and wire type. */
  readonly tag: number;
  readonly kind: Kind;
  readonly isList: boolean;
  /** Local name of the oneof that it belongs to. */
  readonly oneof: string | undefined;
  /** Of a message's own fields. */
  readonly inner: (() => MessagePlan) | undefined;
}

/** How a message is read and written, worked out once from its descriptor. */
export interface MessagePlan {
  readonly descriptor: DescMessage;
  /** All fields at their zero values; to be copied. Lists and oneofs are frozen, for whoever gets them shares them. */
  readonly empty: Message & Readonly<Fields>;
  /** By tag; a field of another kind than those above has none. */
  readonly byTag: readonly (FieldPlan | undefined)[];
  /** In the order in which they are written, last first; undefined when a field is of another kind. */
  readonly backwards: readonly FieldPlan[] | undefined;
}

const SCALAR_KINDS: Readonly<Partial<Record<ScalarType, Kind>>> = {
  [ScalarType.INT64]: KIND.int64,
  [ScalarType.UINT64]: KIND.uint64,
  [ScalarType.INT32]: KIND.int32,
  [ScalarType.BOOL]: KIND.bool,
  [ScalarType.BYTES]: KIND.bytes,
  [ScalarType.STRING]: KIND.string,
};
/** Tags of one or two bytes. */
const NUMBER_MAX = 2047;
const EXPLICIT = 1;

function kindOf(field: DescField): Kind | undefined {
  switch (field.fieldKind) {
    case 'scalar':
      return SCALAR_KINDS[field.scalar];
    case 'enum':
      return KIND.int32;
    case 'message':
      return field.delimitedEncoding ? undefined : KIND.message;
    case 'list':
      return kindOfList(field);
    default:
      return undefined;
  }
}

/** Lists of numbers are packed: the generated code reads them. */
function kindOfList(field: Extract<DescField, { readonly fieldKind: 'list' }>): Kind | undefined {
  if (field.listKind === 'message') return field.delimitedEncoding ? undefined : KIND.message;
  const kind = field.listKind === 'scalar' ? SCALAR_KINDS[field.scalar] : undefined;
  return kind === KIND.bytes || kind === KIND.string ? kind : undefined;
}

function fieldPlan(field: DescField): FieldPlan | undefined {
  const kind = kindOf(field);
  const isOptional =
    field.presence === EXPLICIT && field.oneof === undefined && kind !== KIND.message;
  if (kind === undefined || isOptional || field.number > NUMBER_MAX) return undefined;
  const { message } = field;
  const wireType = kind >= KIND.bytes ? WIRE.lengthDelimited : WIRE.varint;
  return {
    name: field.localName,
    tag: field.number * 8 + wireType,
    kind,
    isList: field.fieldKind === 'list',
    oneof: field.oneof?.localName,
    inner: kind === KIND.message && message !== undefined ? () => planOf(message) : undefined,
  };
}

const plans = new Map<DescMessage, MessagePlan>();

export function planOf(descriptor: DescMessage): MessagePlan {
  const known = plans.get(descriptor);
  if (known !== undefined) return known;
  const sorted = descriptor.fields.toSorted((a, b) => a.number - b.number);
  const fields = sorted.map(fieldPlan);
  const byTag: (FieldPlan | undefined)[] = [];
  for (const field of fields) if (field !== undefined) byTag[field.tag] = field;
  const all = fields.filter((field) => field !== undefined);
  const empty: Message & Fields = { ...create(descriptor) };
  for (const value of Object.values(empty)) {
    if (typeof value === 'object' && !(value instanceof Uint8Array)) Object.freeze(value);
  }
  const plan: MessagePlan = {
    descriptor,
    empty,
    byTag,
    backwards: all.length === fields.length ? all.toReversed() : undefined,
  };
  plans.set(descriptor, plan);
  return plan;
}
