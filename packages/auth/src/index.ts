export { type AuthChange, applyAuthChange, NAME_LENGTH_MAX } from './auth-change.ts';
export { decodeAuthState, encodeAuthState } from './auth-codec.ts';
export {
  AUTH_STATE_KEY,
  type AuthState,
  NO_AUTH,
  type Permission,
  type PermissionKind,
  ROOT,
  type Role,
  type User,
} from './auth-state.ts';
export { type KeySpan, KeySpans, spanOf } from './key-spans.ts';
export { type Needs, needsOf, needsOfWatch, noNeeds } from './needs.ts';
export { allows, type Rights, rightsOf } from './rights.ts';
