import { DEFAULT_LIMITS, type Limits } from '@kvorum/base';
import type { AutoCompactionConfig } from './auto-compaction.ts';
import { LIMIT_TEXT } from './limit-texts.ts';

/** Bounds of `auth.bcryptCost`. */
export const BCRYPT_COST_MIN = 4;
export const BCRYPT_COST_MAX = 16;

export interface MemberConfig {
  readonly name: string;
  /** host:port where other members reach it. */
  readonly peer: string;
  /** host:port or http(s)://host:port where clients reach it. */
  readonly client: string;
}

export interface SaslConfig {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string;
  /** File that holds the password; read at start, its mode must not let others read it. */
  readonly passwordFile: string;
}

export interface LogConfig {
  readonly kind: 'local' | 'kafka';
  readonly brokers: readonly string[];
  readonly topicPrefix: string;
  readonly ssl: boolean;
  /** Authorities that sign the brokers' certificates, PEM, in place of those that Node brings along. */
  readonly caFile?: string;
  /** Certificate that this member shows to the brokers, PEM; with keyFile or not at all. */
  readonly certFile?: string;
  /** Its private key, PEM; its mode must not let others read it. */
  readonly keyFile?: string;
  readonly sasl?: SaslConfig;
  /** How long to wait at start for a log that does not answer, milliseconds. */
  readonly startupTimeoutMs: number;
}

export interface PeerTlsConfig {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** How users log in; who they are and what they may do lies in the cluster (docs/security.md). */
export interface AuthConfig {
  readonly token: 'simple' | 'jwt';
  readonly tokenTtlMs: number;
  readonly bcryptCost: number;
  readonly jwt?: JwtConfig;
}

export interface JwtConfig {
  readonly signMethod: string;
  /** PEM of the private key, or the secret of HS…; read at start, its mode must not let others read it. */
  readonly keyFile: string;
}

export interface RoutingRule {
  readonly prefix: string;
  readonly depth: number;
}

/** Copies of every shard outside the members. */
export interface SnapshotsConfig {
  /** `dir:///path` or `s3://bucket/prefix`; absent = none are made. */
  readonly store?: string;
  readonly intervalMs: number;
  readonly keep: number;
  /** URL of an S3 server that is not AWS. */
  readonly endpoint?: string;
  readonly pathStyle: boolean;
}

/** The whole configuration of one kvd process, every default filled in. */
export interface KvdConfig {
  readonly name: string;
  readonly clusterName: string;
  readonly clusterToken?: string;
  readonly dataDir: string;
  readonly shards: number;
  readonly replicas: number;
  readonly members: readonly MemberConfig[];
  /** It becomes a member of a cluster that exists. */
  readonly join: boolean;
  readonly zone?: string;
  readonly listenClient: string;
  readonly listenPeer: string;
  readonly log: LogConfig;
  /** How votes and heartbeats travel: over the members' own connections, or over topics of the log's Kafka. */
  readonly election: 'peer' | 'kafka';
  readonly store: { readonly compression: 'none' | 'snappy' };
  readonly autoCompaction: AutoCompactionConfig;
  readonly snapshots: SnapshotsConfig;
  readonly dev: boolean;
  readonly insecure: boolean;
  readonly peerTls?: PeerTlsConfig;
  readonly auth: AuthConfig;
  readonly clientTls?: Omit<PeerTlsConfig, 'caFile'> & { readonly caFile?: string };
  readonly routing: { readonly rules: readonly RoutingRule[] };
  readonly limits: Limits;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly logFormat: 'json' | 'pretty';
}

/** The part of JSON schema that the configuration uses. */
export interface Schema {
  readonly type: 'object' | 'string' | 'integer' | 'boolean' | 'array';
  readonly description: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly minItems?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false;
}

const ADDRESS = '^(\\[[0-9a-fA-F:]+\\]|[^:\\s]+):[0-9]{1,5}$';
const CLIENT_ADDRESS = `^(https?://)?${ADDRESS.slice(1)}`;
const text = (description: string, rest: Partial<Schema> = {}): Schema => ({
  type: 'string',
  description,
  minLength: 1,
  ...rest,
});
const address = (description: string, rest: Partial<Schema> = {}): Schema =>
  text(description, { pattern: ADDRESS, ...rest });
const flag = (description: string): Schema => ({ type: 'boolean', description, default: false });
const section = (
  description: string,
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[] = [],
): Schema => ({ type: 'object', description, additionalProperties: false, properties, required });

function limitsSchema(): Schema {
  const properties: Record<string, Schema> = {};
  for (const [name, value] of Object.entries(DEFAULT_LIMITS) as [keyof Limits, number][]) {
    properties[name] = {
      type: 'integer',
      description: LIMIT_TEXT[name] ?? 'A bound.',
      minimum: 1,
      default: value,
    };
  }
  return section('Bounds; every one is enforced with an error that names it.', properties);
}

/**
 * Defaults of limits with `election: kafka`. A heartbeat costs the brokers a record and its fetches, so there are fewer; and while Kafka
 * elects another partition leader for the topics (a second or three after a broker died) nobody hears anybody, which must not depose
 * anybody: that takes electionMsMin of silence.
 */
export const KAFKA_ELECTION_LIMITS: Readonly<
  Pick<Limits, 'heartbeatMs' | 'electionMsMin' | 'electionMsMax'>
> = { heartbeatMs: 500, electionMsMin: 5000, electionMsMax: 10_000 };

const MEMBER_SCHEMA = section(
  'One member.',
  {
    name: text('Its name; unique, and the same for ever.'),
    peer: address('host:port where the other members reach it.'),
    client: text('host:port or URL where clients reach it.', { pattern: CLIENT_ADDRESS }),
  },
  ['name', 'peer', 'client'],
);

const LOG_SCHEMA = section('The shared log that carries the Raft records.', {
  kind: text('local: one LevelDB, for one process. kafka: one topic per shard.', {
    enum: ['local', 'kafka'],
    default: 'local',
  }),
  brokers: {
    type: 'array',
    description: 'Kafka bootstrap brokers, host:port.',
    items: address('host:port'),
    default: [],
  },
  topicPrefix: {
    type: 'string',
    description: 'Put before every topic name: <prefix>raft-log-<shard>.',
    pattern: '^[a-zA-Z0-9._-]*$',
    default: '',
  },
  ssl: flag('Use TLS to the brokers.'),
  caFile: text(
    'Authorities that sign the brokers, PEM; in place of those that Node brings along. Needs `log.ssl`.',
  ),
  certFile: text(
    'Certificate shown to brokers that ask for one, PEM. Needs `log.ssl` and `log.keyFile`.',
  ),
  keyFile: text('Its private key, PEM, without a passphrase; others must not be able to read it.'),
  sasl: section(
    'SASL log-in to the brokers.',
    {
      mechanism: text('SASL mechanism.', { enum: ['plain', 'scram-sha-256', 'scram-sha-512'] }),
      username: text('User name.'),
      passwordFile: text('File that holds the password.'),
    },
    ['mechanism', 'username', 'passwordFile'],
  ),
  startupTimeoutMs: {
    type: 'integer',
    description: 'How long to wait at start for a log that does not answer, milliseconds.',
    minimum: 0,
    default: 60_000,
  },
});

const AUTH_SCHEMA = section(
  'How users log in, once authorization is enabled (`kvctl auth enable`). The same on every member.',
  {
    token: text(
      'What a user gets for a password. simple: signed by a key of the cluster, ends some time after its last use. jwt: JSON web tokens, which also end with every change of users or roles.',
      { enum: ['simple', 'jwt'], default: 'simple' },
    ),
    tokenTtlMs: {
      type: 'integer',
      description:
        'How long a token lasts, milliseconds: of simple ones after the last use at the member that is asked, of jwt in all.',
      minimum: 1000,
      maximum: 2_147_483_647,
      default: 300_000,
    },
    bcryptCost: {
      type: 'integer',
      description: 'Work that a password costs, as a power of two; each step doubles it.',
      minimum: BCRYPT_COST_MIN,
      maximum: BCRYPT_COST_MAX,
      default: 10,
    },
    jwt: section(
      'How JSON web tokens are signed.',
      {
        signMethod: text('Of RFC 7518 and RFC 8037; tokens that name another one are refused.', {
          enum: [
            ...['HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
            ...['ES256', 'ES384', 'ES512', 'EdDSA'],
          ],
        }),
        keyFile: text(
          'Private key, PEM; of HS… the secret, at least 32 bytes. Others must not be able to read it.',
        ),
      },
      ['signMethod', 'keyFile'],
    ),
  },
);

/** The published JSON schema; `kvd config schema` prints it and docs/kvd-config.schema.json is a copy. */
export const CONFIG_SCHEMA: Schema = section('Configuration of kvd, a Kvorum member.', {
  name: text('This member, as in `members`.', { default: 'm1' }),
  clusterName: text('Members of one cluster share it.', { default: 'kvorum' }),
  clusterToken: text(
    'Overrides clusterName as the source of the cluster id: keeps two clusters of one name apart.',
  ),
  dataDir: text('Directory of this member alone.', { default: './kvorum-data' }),
  shards: {
    type: 'integer',
    description: 'Number of shards. Another one at a restart scales the cluster.',
    minimum: 1,
    maximum: 1024,
    default: 4,
  },
  replicas: {
    type: 'integer',
    description:
      'Copies of every shard, spread over the members and their zones; 0 = one on every member, at most 7. What the leader of the meta shard has counts.',
    minimum: 0,
    maximum: 7,
    default: 0,
  },
  members: {
    type: 'array',
    description:
      'All members, this one among them. Empty = this one alone. They found the cluster; later the shard map says who is a member, and this only where to ask.',
    items: MEMBER_SCHEMA,
    default: [],
  },
  join: flag(
    'This member joins a cluster that exists: with an empty directory it asks the other `members` until `kvctl member add` has named it.',
  ),
  zone: text(
    'Where its machine stands (rack, availability zone): the replicas of a shard are spread over different zones.',
  ),
  listenClient: address(
    'Where clients are served. With `members`: by default at `client` of its own entry.',
    { default: '127.0.0.1:2379' },
  ),
  listenPeer: address(
    'Where the other members are heard. With `members`: by default at `peer` of its own entry.',
    { default: '127.0.0.1:2380' },
  ),
  log: LOG_SCHEMA,
  election: text(
    'How votes and heartbeats travel. peer: straight between the members. kafka: over the topics <prefix>raft-vote and <prefix>raft-leader; needs `log.kind` kafka. The same on every member.',
    { enum: ['peer', 'kafka'], default: 'peer' },
  ),
  store: section('State on disk.', {
    compression: text(
      'none: a linearizable get costs a third less CPU. snappy: compressible values take 2 to 6 times less disk. May be changed at any restart.',
      { enum: ['none', 'snappy'], default: 'none' },
    ),
  }),
  autoCompaction: section('History that every shard forgets by itself, as etcd.', {
    mode: text(
      'periodic: what has been superseded for longer than `retention`. revision: all but the newest `retention` revisions. off: nothing.',
      { enum: ['periodic', 'revision', 'off'], default: 'periodic' },
    ),
    retention: text(
      'periodic: a duration such as 30m or 1h30m; without a unit, hours. revision: how many revisions of each shard. 0 = off.',
      { pattern: '^([0-9]+|([0-9]+(ms|s|m|h))+)$', default: '1h' },
    ),
  }),
  snapshots: section('Copies of every shard outside the members, made by whoever leads it.', {
    store: text(
      'dir:///path (one that all members share) or s3://bucket/prefix; of this cluster alone. Absent = no copies. S3 credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or as AWS’s tools find them.',
    ),
    intervalMs: {
      type: 'integer',
      description: 'Between two copies of a shard that changed, milliseconds.',
      minimum: 1000,
      maximum: 2_147_483_647,
      default: 3_600_000,
    },
    keep: {
      type: 'integer',
      description: 'Copies of each shard that are kept; older ones are removed.',
      minimum: 1,
      maximum: 100_000,
      default: 24,
    },
    endpoint: text('URL of an S3 server that is not AWS.'),
    pathStyle: flag('The bucket in the path of the URL, not in its host.'),
  }),
  dev: flag('Accept an unsafe log (fewer than 3 copies). Never where data matters.'),
  insecure: flag('Do not warn about clients served in plain text beyond this machine.'),
  peerTls: section(
    'Mutual TLS between members.',
    {
      certFile: text('Certificate of this member, PEM.'),
      keyFile: text('Its private key, PEM.'),
      caFile: text('Authority that signs every member, PEM.'),
    },
    ['certFile', 'keyFile', 'caFile'],
  ),
  auth: AUTH_SCHEMA,
  clientTls: section(
    'TLS on the client port: plain text is refused then. Write client addresses of members with https://.',
    {
      certFile: text('Certificate of this member, PEM.'),
      keyFile: text('Its private key, PEM.'),
      caFile: text('Authority that signs clients, PEM: those without a certificate are refused.'),
    },
    ['certFile', 'keyFile'],
  ),
  routing: section('Which keys stay together.', {
    rules: {
      type: 'array',
      description: 'Keys under `prefix` are placed by their first `depth` path segments.',
      items: section(
        'One rule.',
        {
          prefix: text('Keys that start so.'),
          depth: { type: 'integer', description: 'Path segments.', minimum: 1, maximum: 32 },
        },
        ['prefix', 'depth'],
      ),
      default: [],
    },
  }),
  limits: limitsSchema(),
  logLevel: text('Least severe log lines to write.', {
    enum: ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
    default: 'info',
  }),
  logFormat: text('json: one object a line. pretty: for people.', {
    enum: ['json', 'pretty'],
    default: 'json',
  }),
});

/** Paths whose values `config print` and the logs never show. */
export const SECRET_PATHS: readonly string[] = ['clusterToken'];

export interface ConfigLeaf {
  /** Dotted, as in messages: `log.brokers`. */
  readonly path: string;
  readonly schema: Schema;
}

/** Every settable value: what is not itself a section. Arrays are one value. */
export function configLeaves(schema: Schema = CONFIG_SCHEMA, prefix = ''): ConfigLeaf[] {
  const leaves: ConfigLeaf[] = [];
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    const path = prefix === '' ? name : `${prefix}.${name}`;
    if (child.type === 'object') leaves.push(...configLeaves(child, path));
    else leaves.push({ path, schema: child });
  }
  return leaves;
}

const words = (path: string): string[] =>
  path.split('.').flatMap((part) => part.split(/(?=[A-Z])/).map((word) => word.toLowerCase()));

/** `log.startupTimeoutMs` -> `KVD_LOG_STARTUP_TIMEOUT_MS`. */
export function environmentName(path: string): string {
  return `KVD_${words(path).join('_').toUpperCase()}`;
}

/** `log.startupTimeoutMs` -> `--log-startup-timeout-ms`. */
export function flagName(path: string): string {
  return `--${words(path).join('-')}`;
}

/** The schema as the text of docs/kvd-config.schema.json. */
export function schemaText(): string {
  const document = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'kvd configuration',
    ...CONFIG_SCHEMA,
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}
