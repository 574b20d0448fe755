import { HARD_STATE_KEY } from '@kvorum/mvcc';
import type { StateStore } from '@kvorum/ports';
import { GenesisWriter } from './genesis-writer.ts';
import { decodeHardState } from './hard-state-codec.ts';
import type { ReplicaOptions } from './replica-options.ts';
import { ReplicaShell } from './replica-shell.ts';
import type { ShellHost } from './shell-parts.ts';
import { bootstrapOf, readMembership } from './snapshot-view.ts';
import { StateMachine } from './state-machine.ts';

/** Opens the shell of a replica on its store and log; `start` sets it going. */
export async function openShell(
  options: ReplicaOptions,
  store: StateStore,
  host: ShellHost,
): Promise<ReplicaShell> {
  const own = { ...options, store };
  const [hardRow] = await store.getMany([HARD_STATE_KEY]);
  const machine = await StateMachine.open(own);
  const hard = decodeHardState(hardRow);
  const membership = await readMembership(store, bootstrapOf(options));
  const genesis = genesisWriter(own, machine, hard.term);
  return new ReplicaShell({ options: own, hard, membership, machine, host, genesis });
}

/** Undefined: the generation has begun here already, or somebody else begins it. */
function genesisWriter(
  options: ReplicaOptions,
  machine: StateMachine,
  termBefore: number,
): GenesisWriter | undefined {
  const { generation, genesis, self } = options;
  if (machine.restored.generation === generation || genesis?.member !== self) return undefined;
  return new GenesisWriter(options, genesis, machine, termBefore);
}
