import { fromUtf8, utf8 } from '@kvorum/base';
import type {
  ReadView,
  SideImage,
  StateReader,
  StateStore,
  StateStores,
  StoreImage,
  StoreRange,
} from '@kvorum/ports';
import { expect, it } from 'vitest';

const ALL: StoreRange = { gte: new Uint8Array(0), lt: new Uint8Array(16).fill(0xff) };
const NO_LIMIT = { limit: 1_000_000, bytesMax: 1 << 30 };
const NAME = 'copy';
const NO_NOTE = new Uint8Array(0);

/** What the tests of images are given; `reopen` yields the same data through new stores. */
export interface ImageFixture {
  readonly stores: StateStores;
  reopen(): Promise<StateStores>;
}

type Opened = { readonly fixture: ImageFixture; readonly store: StateStore };

async function rowsOf(store: StateReader): Promise<readonly string[]> {
  const rows = await store.scan(ALL, NO_LIMIT);
  return rows.map(([key, value]) => `${fromUtf8(key)}=${fromUtf8(value)}`);
}

function put(
  store: StateStore,
  sync: boolean,
  ...rows: readonly [string, string][]
): Promise<void> {
  return store.write(
    (batch) => {
      for (const [key, value] of rows) batch.put(utf8(key), utf8(value));
    },
    { sync },
  );
}

/** Of enough rows that a copy takes several pieces. */
async function fill(store: StateStore): Promise<void> {
  for (let i = 0; i < 20; i += 1) {
    await put(store, i % 7 === 0, [`k${i}`, 'v'.repeat(100 + i)]);
  }
  await store.write((batch) => batch.delete(utf8('k3')), { sync: false });
}

/** From where the side store stands to `to`, in pieces of odd lengths. */
async function copy(image: StoreImage, side: SideImage, to: number): Promise<void> {
  for (let length = 97; side.received < to; length *= 2) {
    await side.write(await image.read(side.received, Math.min(length, to - side.received)));
  }
}

async function copied(
  stores: StateStores,
  { image, view }: { readonly image: StoreImage; readonly view: ReadView },
): Promise<{ readonly copy: readonly string[]; readonly original: readonly string[] }> {
  const side = await stores.receiveSide(NAME, image.layout, NO_NOTE);
  await copy(image, side, image.bytes);
  await side.complete(NO_NOTE);
  await side.close();
  const original = await rowsOf(view);
  await image.close();
  await view.close();
  const store = await stores.openSide(NAME);
  const rows = await rowsOf(store);
  await store.close();
  return { copy: rows, original };
}

/** The part of the StateStore contract that is about images. */
export function describeImages(opened: () => Opened): void {
  describeGiving(opened);
  describeReceiving(opened);
  describeRefusals(opened);
  describeEnds(opened);
}

function describeGiving(opened: () => Opened): void {
  it('gives an image with everything written before, synced or not, and nothing after', async () => {
    const { fixture, store } = opened();
    await fill(store);
    const taken = await store.image();
    await put(store, true, ['later', '1']);
    await put(store, false, ['k1', 'changed']);
    const { copy: rows, original } = await copied(fixture.stores, taken);
    expect(rows).toEqual(original);
    expect(rows.length).toBe(19);
    expect(rows).toContain(`k1=${'v'.repeat(101)}`);
  });

  it('gives images of whole batches while others write', async () => {
    const { fixture, store } = opened();
    await fill(store);
    let writing = true;
    const writer = (async (): Promise<void> => {
      for (let i = 0; writing; i += 1) {
        const value = `${i}${'x'.repeat(i % 300)}`;
        await put(store, i % 5 === 0, ['a', value], ['z', value]);
      }
    })();
    for (let i = 0; i < 3; i += 1) {
      const { copy: rows, original } = await copied(fixture.stores, await store.image());
      expect(rows).toEqual(original);
      const [a, z] = ['a=', 'z='].map((key) => rows.find((row) => row.startsWith(key))?.slice(2));
      expect(a).toBe(z);
    }
    writing = false;
    await writer;
  });

  it('reads any part of an image again, and nothing beyond its end', async () => {
    const { store } = opened();
    await fill(store);
    const { image, view } = await store.image();
    const whole = await image.read(0, image.bytes + 10);
    expect(whole.length).toBe(image.bytes);
    for (const from of [0, 1, Math.floor(image.bytes / 2), image.bytes - 1]) {
      expect(await image.read(from, 50)).toEqual(whole.slice(from, from + 50));
    }
    expect((await image.read(image.bytes, 10)).length).toBe(0);
    await view.close();
    await image.close();
    await expect(image.read(0, 1)).rejects.toMatchObject({ code: 'KV_STOPPED' });
  });

  it('closes its images with itself, and gives none after', async () => {
    const { store } = opened();
    await fill(store);
    const { image } = await store.image();
    await store.close();
    await expect(image.read(0, 1)).rejects.toMatchObject({ code: 'KV_STOPPED' });
    await image.close();
    await expect(store.image()).rejects.toMatchObject({ code: 'KV_STOPPED' });
  });
}

function describeReceiving(opened: () => Opened): void {
  it('goes on with an image where it was saved, in another process too', async () => {
    const { fixture, store } = opened();
    await fill(store);
    const { image } = await store.image();
    const whole = await image.read(0, image.bytes);
    const part = Math.floor(image.bytes / 3);
    const first = await fixture.stores.receiveSide(NAME, image.layout, utf8('begun'));
    await first.write(whole.subarray(0, part));
    await first.save(utf8('a third'));
    await first.write(whole.subarray(part, 2 * part));
    await first.close();
    const again = await fixture.stores.resumeSide(NAME);
    expect([again?.received, fromUtf8(again?.note ?? NO_NOTE)]).toEqual([part, 'a third']);
    await again?.close();
    const stores = await fixture.reopen();
    const side = await stores.resumeSide(NAME);
    expect(side?.received).toBe(part);
    await side?.write(whole.subarray(part));
    await side?.complete(utf8('whole'));
    await side?.close();
    const complete = await stores.resumeSide(NAME);
    const note = fromUtf8(complete?.note ?? NO_NOTE);
    expect([complete?.received, note]).toEqual([image.bytes, 'whole']);
    await complete?.close();
    expect((await rowsOf(await stores.openSide(NAME))).length).toBe(19);
  });

  it('keeps what was changed in a complete image, whoever completes it again', async () => {
    const { fixture, store } = opened();
    await fill(store);
    await copied(fixture.stores, await store.image());
    const own = await fixture.stores.openSide(NAME);
    await put(own, true, ['own', '1']);
    await own.close();
    const side = await fixture.stores.resumeSide(NAME);
    await side?.complete(utf8('again'));
    await side?.close();
    const rows = await rowsOf(await fixture.stores.openSide(NAME));
    expect(rows.length).toBe(20);
    expect(rows).toContain('own=1');
  });
}

function describeRefusals(opened: () => Opened): void {
  it('opens no image that is not whole, and takes no byte too few or too many', async () => {
    const { fixture, store } = opened();
    await fill(store);
    const { image } = await store.image();
    const side = await fixture.stores.receiveSide(NAME, image.layout, NO_NOTE);
    await copy(image, side, image.bytes - 1);
    const corrupt = { code: 'KV_CORRUPT' };
    await expect(side.complete(NO_NOTE)).rejects.toMatchObject(corrupt);
    await side.save(NO_NOTE);
    await side.close();
    await expect(fixture.stores.openSide(NAME)).rejects.toThrow('not whole');
    const again = await fixture.stores.resumeSide(NAME);
    await expect(again?.write(new Uint8Array(2))).rejects.toMatchObject(corrupt);
    await again?.close();
  });

  it('refuses the image of other stores', async () => {
    const { fixture } = opened();
    for (const layout of ['', 'rows of stone', '{"form":"leveldb","version":99}', '[]']) {
      const refused = fixture.stores.receiveSide(NAME, utf8(layout), NO_NOTE);
      await expect(refused).rejects.toMatchObject({ code: 'KV_CORRUPT' });
    }
    expect(await fixture.stores.resumeSide(NAME)).toBeUndefined();
  });
}

function describeEnds(opened: () => Opened): void {
  it('begins anew over whatever was there', async () => {
    const { fixture, store } = opened();
    await fill(store);
    await copied(fixture.stores, await store.image());
    await put(store, true, ['new', '1']);
    const { copy: rows, original } = await copied(fixture.stores, await store.image());
    expect(rows).toEqual(original);
    expect(rows).toContain('new=1');
    const rest = await fixture.stores.openSide('other');
    await put(rest, true, ['old', '1']);
    await rest.close();
    const { image } = await store.image();
    const side = await fixture.stores.receiveSide('other', image.layout, NO_NOTE);
    await copy(image, side, image.bytes);
    await side.complete(NO_NOTE);
    await side.close();
    expect(await rowsOf(await fixture.stores.openSide('other'))).toEqual(original);
  });

  it('forgets an image that is adopted or removed', async () => {
    const { fixture, store } = opened();
    const { stores } = fixture;
    await fill(store);
    const { original } = await copied(stores, await store.image());
    await stores.adoptSide(NAME);
    expect(await stores.resumeSide(NAME)).toBeUndefined();
    const adopted = await stores.open(NAME);
    expect(await rowsOf(adopted)).toEqual(original);
    await adopted.close();
    const { image } = await store.image();
    const begin = async (): Promise<void> => {
      await (await stores.receiveSide(NAME, image.layout, NO_NOTE)).close();
    };
    await begin();
    await stores.removeSide(NAME);
    expect(await stores.resumeSide(NAME)).toBeUndefined();
    await begin();
    await stores.remove(NAME);
    expect(await stores.resumeSide(NAME)).toBeUndefined();
    expect(await stores.list()).not.toContain(NAME);
  });
}
