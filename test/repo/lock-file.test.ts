import { expect, it } from 'vitest';
import { read } from './repository.ts';

interface Locked {
  readonly version?: string;
  readonly engines?: { readonly node?: string };
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const { packages } = JSON.parse(read('package-lock.json')) as {
  readonly packages: Readonly<Record<string, Locked>>;
};

it('lists every optional package that a package names', () => {
  // `npm ci` refuses a lock file that leaves one out, and `npm install` leaves out those that its
  // registry does not have (packages for other platforms, as a rule).
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !(`node_modules/${name}` in packages || `${path}/node_modules/${name}` in packages),
    ),
  );
  expect(missing).toEqual([]);
});

it('holds nothing that refuses the oldest Node we promise', () => {
  const refusing = Object.entries(packages).flatMap(([path, { engines, version }]) =>
    admitsFloor(engines?.node ?? '*') ? [] : [`${path} ${version}: ${engines?.node}`],
  );
  expect(refusing).toEqual([]);
});

/** Whether a version range admits Node 20.19, read from the lower bound of each alternative. */
function admitsFloor(range: string): boolean {
  return range.split('||').some((alternative) => {
    const [, operator = '', major, minor = '0'] =
      /(>=|>|\^|~)?\s*v?(\d+)(?:\.(\d+))?/.exec(alternative) ?? [];
    if (major === undefined) return true;
    if (Number(major) === 20) return Number(minor) <= 19;
    return Number(major) < 20 && operator.startsWith('>');
  });
}
