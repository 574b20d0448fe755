import { existsSync } from 'node:fs';
import { Ajv, type AnySchema } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../packages/server/src/config/load.ts';
import type { KvdConfig } from '../../packages/server/src/config/schema.ts';
import { files, manifest, ROOT, read } from './repository.ts';

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly healthcheck: { readonly test: readonly string[] };
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

/** Of the Compose specification, as the npm package docker-compose ships it (Apache-2.0, its NOTICE says). */
const SCHEMA = 'node_modules/docker-compose/schema/compose-spec.json';

const compose = parse(read('docker-compose.yml'), { merge: true }) as Compose;
const dockerfile = read('Dockerfile');
const services = Object.entries(compose.services);
const brokers = services.filter(([name]) => name.startsWith('kafka'));
const members = services.filter(([name]) => name.startsWith('kvd'));

/** `ENV` of the image, which a service's own environment overrides. */
const imageEnvironment = Object.fromEntries(
  [...dockerfile.matchAll(/\b((?:KVD|NODE)_\w+)=(\S+)/g)].map((match) => [match[1], match[2]]),
) as Readonly<Record<string, string>>;

function configOf(service: Service): KvdConfig {
  const environment = { ...imageEnvironment, ...service.environment };
  return loadConfig({ environment, flags: {} }).config;
}

const portOf = (address: string): string => address.split(':').at(-1) ?? '';

it('is a Compose file', () => {
  const { $schema: _, ...schema } = JSON.parse(read(SCHEMA)) as Record<string, unknown>;
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  const validate = ajv.compile(schema as AnySchema);
  expect(validate(compose) === true ? [] : validate.errors).toEqual([]);
});

it('has three brokers and three members, each with a volume of its own', () => {
  expect(brokers.map(([name]) => name)).toEqual(['kafka1', 'kafka2', 'kafka3']);
  expect(members.map(([name]) => name)).toEqual(['kvd1', 'kvd2', 'kvd3']);
  expect(services.length).toBe(6);
  const used = services.flatMap(([, { volumes }]) => volumes.map((volume) => volume.split(':')[0]));
  expect(used).toEqual(Object.keys(compose.volumes));
});

describe('brokers', () => {
  it('run the version that the tests run', () => {
    const version = /<kafka.version>([^<]+)</.exec(read('scripts/kafka/pom.xml'))?.[1];
    expect(new Set(brokers.map(([, { image }]) => image))).toEqual(
      new Set([`apache/kafka:${version}`]),
    );
    expect(read('scripts/kafka/containers.ts')).toContain(`'apache/kafka:${version}'`);
  });

  it.each(brokers)(
    '%s names itself in the quorum and where members look for it',
    (name, service) => {
      const id = name.replace('kafka', '');
      const settings = service.environment;
      expect(settings['KAFKA_NODE_ID']).toBe(id);
      expect(settings['KAFKA_CONTROLLER_QUORUM_VOTERS']?.split(',')).toContain(
        `${id}@${name}:9093`,
      );
      expect(settings['KAFKA_LISTENERS']).toContain('CONTROLLER://:9093');
      expect(settings['KAFKA_ADVERTISED_LISTENERS']).toBe(`PLAINTEXT://${name}:9092`);
      expect(settings['KAFKA_LISTENERS']).toContain('PLAINTEXT://:9092');
      expect(service.healthcheck.test.join(' ')).toContain('localhost:9092');
      expect(service.volumes[0]?.split(':')[1]).toBe(settings['KAFKA_LOG_DIRS']);
      expect(settings['KAFKA_AUTO_CREATE_TOPICS_ENABLE']).toBe('false');
    },
  );
});

describe.each(members)('%s', (name, service) => {
  const config = configOf(service);

  it('has a configuration that kvd accepts', () => {
    expect(config.name).toBe(name);
    expect(config.log.kind).toBe('kafka');
    expect(config.log.brokers).toEqual(brokers.map(([broker]) => `${broker}:9092`));
    expect(config.dev).toBe(false);
  });

  it('lists all members where they listen', () => {
    expect(config.members.map((member) => member.name)).toEqual(members.map(([one]) => one));
    for (const member of config.members) {
      const other = compose.services[member.name];
      if (other === undefined) throw new Error(`no service ${member.name}`);
      const theirs = configOf(other);
      expect(member.peer).toBe(`${member.name}:${portOf(theirs.listenPeer)}`);
      const published = `127.0.0.1:${portOf(member.client)}:${portOf(theirs.listenClient)}`;
      expect(other.ports).toEqual([published]);
    }
  });

  it('is listened to on all interfaces of its container, and keeps its data in the volume', () => {
    expect(config.listenClient).toMatch(/^0\.0\.0\.0:/);
    expect(config.listenPeer).toMatch(/^0\.0\.0\.0:/);
    expect(service.volumes[0]?.split(':')[1]).toBe(config.dataDir);
    expect(dockerfile).toContain(`VOLUME ${config.dataDir}`);
    const ports = [config.listenClient, config.listenPeer].map(portOf);
    expect(dockerfile).toContain(`EXPOSE ${ports.join(' ')}`);
  });

  it('is healthy when it says that it is ready, and waits for every broker', () => {
    const port = portOf(config.listenClient);
    expect(service.healthcheck.test.join(' ')).toContain(`http://127.0.0.1:${port}/readyz`);
    expect(Object.keys(service.depends_on ?? {})).toEqual(brokers.map(([broker]) => broker));
    const routes = files('packages/server/src', '.ts').map(read).join('\n');
    expect(routes).toContain("'/readyz'");
  });
});

describe('Dockerfile', () => {
  it('copies files that exist, and they are not ignored', () => {
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
      ([, names = '']) => names.split(' '),
    );
    expect(copied.filter((name) => !existsSync(ROOT + name))).toEqual([]);
    const ignore = read('.dockerignore').split('\n');
    expect(copied.filter((name) => !ignore.includes(`!${name}`))).toEqual([]);
  });

  it('starts what the packages call kvd and kvctl, not as root', () => {
    for (const [short, name] of [
      ['server', 'kvd'],
      ['kvctl', 'kvctl'],
    ]) {
      const main = manifest(`packages/${short}/package.json`).bin?.[name ?? '']?.slice(2);
      expect(dockerfile).toContain(
        `ln -s /kvorum/packages/${short}/${main} /usr/local/bin/${name}`,
      );
      expect(
        existsSync(
          `${ROOT}packages/${short}/${main?.replace('dist', 'src').replace('.js', '.ts')}`,
        ),
      ).toBe(true);
    }
    expect(dockerfile).toMatch(/^USER node$/m);
    expect(dockerfile).toContain('npm run build');
    expect(manifest('package.json').scripts).toHaveProperty('build');
  });

  it('uses a Node that the packages accept', () => {
    const versions = [...dockerfile.matchAll(/^FROM node:(\d+)-slim/gm)].map(([, v]) => Number(v));
    expect(versions).toEqual([24, 24]);
  });
});
