export {
  CLIENT_PROTOCOL_VERSION,
  type ClientFrame,
  FRAME,
  OP,
  packFrame,
  parseClientFrame,
  parseServerFrame,
  type RequestItem,
  type RequestsFrame,
  type ResponseItem,
  type ServerFrame,
  unpackFrame,
  type Welcome,
} from './client-frames.ts';
export {
  errorFromPlain,
  hasLease,
  type PlainError,
  parseKvRequest,
  plainError,
} from './kv-plain.ts';
