export { DevCluster, type DevOptions } from './cli/dev-cluster.ts';
export { EXIT, errorLine } from './cli/exit.ts';
export { LIMIT_TEXT } from './config/limit-texts.ts';
export { type ConfigInput, type LoadedConfig, loadConfig } from './config/load.ts';
export { printConfig } from './config/print.ts';
export {
  CONFIG_SCHEMA,
  configLeaves,
  environmentName,
  flagName,
  type KvdConfig,
  schemaText,
} from './config/schema.ts';
export type { Host, ReadinessCheck } from './host.ts';
export { createLogger, type Logger } from './logger.ts';
export { openDataDirectory } from './member/data-directory.ts';
export { deriveClusterId, deriveMemberId } from './member/identity.ts';
export { type Member, type MemberOptions, startMember } from './member/member.ts';
export { systemClock, systemRng } from './member/system.ts';
export { mergeRanges } from './router/merge.ts';
export { decodeResumeToken, encodeResumeToken } from './router/resume-token.ts';
