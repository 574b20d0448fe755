import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { jsonLine } from '../output.ts';
import { kvctlVersion } from '../version.ts';
import { addAuth, addRole, addUser } from './auth.ts';
import { addBackup } from './backup.ts';
import { addBench } from './bench.ts';
import { addCheck } from './check.ts';
import { addCompaction, addEndpoint, addLeader, addShard } from './cluster.ts';
import { addCompletion } from './completion.ts';
import { addDev } from './dev.ts';
import { addDiff } from './diff.ts';
import { addHistory } from './history.ts';
import { addLease } from './lease.ts';
import { addElect, addLock } from './lock.ts';
import { addAudit, addLog, withAuditKey as withKey } from './log.ts';
import { addLogExclude } from './log-exclude.ts';
import {
  addAlarm,
  addDefrag,
  addDowngrade,
  addEndpointHashKv,
  addMoveLeader,
} from './maintenance.ts';
import { addMember, addShardMove } from './member.ts';
import { addMakeMirror } from './mirror.ts';
import { addRecover } from './recover.ts';
import { addReshard } from './reshard.ts';
import { addRestore } from './restore.ts';
import { addSnapshot } from './snapshot.ts';
import { addStatus } from './status.ts';
import { addExport, addImport } from './transfer.ts';
import { addDu, addTree } from './tree.ts';

/** Every command but those that are always there (program.ts). */
export function addMore(program: Command, context: Context): void {
  addTree(program, context);
  addDu(program, context);
  addHistory(program, context);
  addDiff(program, context);
  addExport(program, context);
  addImport(program, context);
  addMakeMirror(program, context);
  addCompaction(program, context);
  addLease(program, context);
  addLock(program, context);
  addElect(program, context);
  addEndpointHashKv(addEndpoint(program, context), context);
  addMember(program, context);
  const shard = addShard(program, context);
  addShardMove(shard, context);
  addReshard(shard, context);
  addRecover(shard, context);
  addLeader(program, context);
  addMoveLeader(program, context);
  addLogExclude(addLog(program, context), context);
  addAudit(program, context);
  addStatus(program, context);
  addAlarm(program, context);
  addDefrag(program, context);
  addDowngrade(program, context);
  addAuth(program, context);
  addUser(program, context);
  addRole(program, context);
  addBackup(program, context);
  addRestore(program, context);
  addSnapshot(program, context);
  addBench(program, context);
  addCheck(program, context);
  addDev(program, context);
  addCompletion(program, context);
  addVersion(program, context);
}

function addVersion(program: Command, context: Context): void {
  program
    .command('version')
    .description('Print the version')
    .action(() => {
      const version = kvctlVersion();
      context.io.out(
        context.globals().format === 'json'
          ? jsonLine({ kvctl: version })
          : `kvctl version: ${version}\n`,
      );
    });
}

/** The words with the key of an audit where it belongs (log.ts). */
export function withAuditKey(words: readonly string[], program: Command): string[] {
  return [
    ...withKey(
      words,
      program.commands.map((command) => command.name()),
    ),
  ];
}
