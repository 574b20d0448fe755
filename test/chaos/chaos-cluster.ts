import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../scripts/free-ports.ts';
import { type LocalKafka, startKafka } from '../../scripts/kafka/index.ts';
import { ProcessCluster } from '../e2e/process-cluster.ts';
import { FakeClocks, findFakeTime } from './fake-clock.ts';
import { Links } from './links.ts';
import { SmallDisk } from './small-disk.ts';

export const MEMBERS = 3;
export const BROKERS = 3;
/** Client and peer port of every member, one a broker, one a link. */
export const PORTS: number = 2 * MEMBERS + BROKERS + Links.count(MEMBERS, BROKERS);
/** The member whose data lies on the small disk. */
export const SMALL_DISK_MEMBER = 2;
export const SHARDS = 4;

const SIGNS_OF_A_BUG = /InvariantError|invariant|assertion|unhandled|uncaught|"level":60/i;

/** What lives for the whole run: brokers, proxies, the small disk, the clocks. */
export class ChaosGround {
  readonly directory: string;
  readonly kafka: LocalKafka;
  readonly links: Links;
  /** Why a kind of fault cannot be had on this machine. */
  readonly lacking: readonly string[];
  readonly disk: SmallDisk | undefined;
  readonly clocks: FakeClocks | undefined;
  readonly memberPorts: readonly number[];

  private constructor(from: {
    readonly directory: string;
    readonly kafka: LocalKafka;
    readonly links: Links;
    readonly memberPorts: readonly number[];
  }) {
    this.directory = from.directory;
    this.kafka = from.kafka;
    this.links = from.links;
    this.memberPorts = from.memberPorts;
    const lacking: string[] = [];
    const disk = SmallDisk.mount(join(from.directory, 'small-disk'));
    if (typeof disk === 'string') lacking.push(`full disk: ${disk}`);
    else this.disk = disk;
    const library = findFakeTime();
    if (library === undefined) lacking.push('clock jumps: libfaketime is not installed');
    else this.clocks = new FakeClocks(library, from.directory);
    this.lacking = lacking;
  }

  /** Starts three brokers behind proxies. `firstPort`: of a range of {@link PORTS}; free ones when absent. */
  static async start(firstPort: number | undefined): Promise<ChaosGround> {
    const ports =
      firstPort === undefined
        ? await freePorts(PORTS)
        : Array.from({ length: PORTS }, (_, i) => firstPort + i);
    const memberPorts = ports.slice(0, 2 * MEMBERS);
    const brokerPorts = ports.slice(2 * MEMBERS, 2 * MEMBERS + BROKERS);
    const links = await Links.listen(MEMBERS, BROKERS, ports.slice(2 * MEMBERS + BROKERS));
    const forwarded: Record<string, readonly number[]> = {};
    for (let from = 0; from < MEMBERS; from += 1) {
      forwarded[listenerOf(from)] = Array.from(
        { length: BROKERS },
        (_, to) => links.of('broker', from, to).proxy.port,
      );
    }
    const directory = mkdtempSync(join(tmpdir(), 'kvorum-chaos-'));
    const kafka = await startKafka({ brokers: BROKERS, ports: brokerPorts, forwarded }).catch(
      async (error: unknown) => {
        await links.close();
        rmSync(directory, { recursive: true, force: true });
        throw error;
      },
    );
    const ground = new ChaosGround({ directory, kafka, links, memberPorts });
    ground.#aim();
    return ground;
  }

  async stop(): Promise<void> {
    await this.links.close();
    await this.kafka.stop();
    await this.disk?.unmount();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Tells every proxy where it forwards to. */
  #aim(): void {
    for (const { kind, from, to, proxy } of this.links.all) {
      proxy.target =
        kind === 'broker'
          ? (this.kafka.forwarded[listenerOf(from)]?.[to] ?? 0)
          : (this.memberPorts[2 * to + 1] ?? 0);
    }
  }
}

/** The brokers' listener for one member: each has its own way to them. */
function listenerOf(member: number): string {
  return `M${member + 1}`;
}

/** Starts a cluster on the ground. Its topics begin with `topicPrefix`, its data is gone when it stops. */
export async function startMembers(
  ground: ChaosGround,
  topicPrefix: string,
  config: Readonly<Record<string, unknown>> = {},
): Promise<ProcessCluster> {
  const { links, disk, clocks, kafka } = ground;
  return ProcessCluster.start({
    members: MEMBERS,
    shards: SHARDS,
    bootstrap: kafka.bootstrap,
    topicPrefix,
    clusterName: `chaos-${topicPrefix}`,
    ports: ground.memberPorts,
    config,
    memberConfig: (self, members) => {
      const from = members.indexOf(self);
      const brokers = Array.from(
        { length: BROKERS },
        (_, to) => `127.0.0.1:${links.of('broker', from, to).proxy.port}`,
      );
      return {
        // Each member sees the others, and the brokers, through its own proxies.
        members: members.map((member, to) =>
          to === from
            ? member
            : { ...member, peer: `127.0.0.1:${links.of('peer', from, to).proxy.port}` },
        ),
        log: { kind: 'kafka', brokers, topicPrefix },
        ...(disk !== undefined && from === SMALL_DISK_MEMBER
          ? { dataDir: join(disk.directory, topicPrefix) }
          : {}),
      };
    },
    environment: (self) => clocks?.environment(self.name) ?? {},
  });
}

/** Lines of a member's output that only a bug writes. */
export function suspiciousLines(output: string): readonly string[] {
  return output.split('\n').filter((line) => SIGNS_OF_A_BUG.test(line));
}
