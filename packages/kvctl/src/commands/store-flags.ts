import type { Command } from 'commander';
import { flag } from '../context.ts';

/** Where backups lie, and how to tell of them. */
export interface StoreFlags {
  readonly storeEndpoint?: string;
  readonly storePathStyle?: boolean;
  readonly scratch?: string;
  readonly json?: boolean;
}

export function addStoreFlags(command: Command, needsScratch: boolean): void {
  flag(command, '--store-endpoint <url>', 'S3 server that is not AWS');
  flag(command, '--json', 'the result as JSON, as -w json');
  flag(command, '--store-path-style', 'the bucket in the path of the URL, not in its host');
  if (needsScratch) {
    flag(command, '--scratch <dir>', 'where to put the content together (default: temporary)');
  }
}
