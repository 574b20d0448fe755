export { type Alarm, SimMember, sha256, shardUidOf } from './member.ts';
export { type Stream, World, type WorldOptions } from './world.ts';
