export { type LocalLogs, type LocalLogsOptions, openLocalLogs } from './local-logs.ts';
