import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { commandName, plainSwitches } from '../src/command-words.ts';

const program = new Command('kvctl').option('-w, --write-out <format>').option('--hex');
program.command('get').option('--prefix').option('--sort-by <target>');
program
  .command('user')
  .command('add')
  .option('--no-interactive')
  .option('--both')
  .option('--no-both')
  .option('--word <text>');

describe('the name of the command', () => {
  it.each([
    ['get a', 'get'],
    ['-w json get a', 'get'],
    ['--write-out=json --hex get a', 'get'],
    ['--write-out get user', 'user'],
    ['--hex', undefined],
    ['-- get', undefined],
  ])('%s', (line, name) => {
    expect(commandName(line.split(' '), program)).toBe(name);
  });
});

describe("Go's switches", () => {
  it.each([
    ['get a --prefix=true --hex=false', 'get a --prefix'],
    ['get a --prefix=false', 'get a'],
    ['get a --prefix=perhaps', 'get a --prefix=perhaps'],
    ['get a --sort-by=true', 'get a --sort-by=true'],
    ['user add x --interactive=false', 'user add x --no-interactive'],
    ['user add x --interactive=true', 'user add x'],
    ['user add x --both=false', 'user add x --no-both'],
    ['user add x --word=true', 'user add x --word=true'],
    ['get -- --prefix=true', 'get -- --prefix=true'],
  ])('%s', (line, plain) => {
    expect(plainSwitches(line.split(' '), program).join(' ')).toBe(plain);
  });
});
