import { expect, it } from 'vitest';
import { ClientMemory } from '../src/client-memory.ts';

function memoryOf(bytesMax: number) {
  const cut: string[] = [];
  const memory = new ClientMemory(bytesMax, () => undefined);
  const holder = (address: string, name = address) =>
    memory.holder(address, () => {
      cut.push(name);
    });
  return { memory, holder, cut };
}

it('cuts who holds most once all hold too much, and counts it as free', () => {
  const { memory, holder, cut } = memoryOf(100);
  const [a, b, c] = [holder('a'), holder('b'), holder('c')];
  a.set(30);
  b.set(50);
  c.add(20);
  expect(cut).toEqual([]);
  a.add(1);
  expect(cut).toEqual(['b']);
  expect(memory.bytes).toBe(51);
  b.set(80); // what its connection does until it is closed
  expect([memory.bytes, cut.length]).toEqual([51, 1]);
});

it('thousands of connections of one address do not get others cut', () => {
  const { holder, cut } = memoryOf(1000);
  const honest = holder('honest');
  honest.set(200);
  for (let at = 0; at < 100; at += 1) holder('many', `many ${at}`).set(10);
  expect(cut.length).toBe(20);
  expect(cut.every((name) => name.startsWith('many'))).toBe(true);
  expect(honest.bytes).toBe(200);
});

it('forgets who holds nothing any more', () => {
  const { memory, holder, cut } = memoryOf(100);
  const one = holder('a');
  one.set(90);
  one.set(0);
  holder('b').set(95);
  expect(cut).toEqual([]);
  one.close();
  expect(memory.bytes).toBe(95);
});
