/** One connection, or one request of HTTP/1, with what it makes this member hold. */
export class MemoryHolder {
  readonly address: string;
  readonly #memory: ClientMemory;
  readonly #cut: () => void;
  #bytes = 0;
  #closed = false;

  constructor(memory: ClientMemory, address: string, cut: () => void) {
    this.#memory = memory;
    this.address = address;
    this.#cut = cut;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** So much is held now. */
  set(bytes: number): void {
    if (this.#closed || bytes === this.#bytes) return;
    const change = bytes - this.#bytes;
    this.#bytes = bytes;
    this.#memory.changed(this, change);
  }

  add(bytes: number): void {
    this.set(this.#bytes + bytes);
  }

  /** Nothing is held any more, and nothing will be. */
  close(): void {
    this.set(0);
    this.#closed = true;
  }

  /** Ends the client's connection, whose memory is as good as free. */
  cut(): void {
    this.close();
    this.#cut();
  }
}

/**
 * Memory that clients make a member hold: requests that have not arrived whole or wait, keys of watches, answers that are not read. When
 * it is more than the limit, one who holds most is cut, of the address whose connections hold most together: no client can use
 * up what the others need.
 */
export class ClientMemory {
  readonly #bytesMax: number;
  readonly #onCut: (holder: { readonly address: string; readonly bytes: number }) => void;
  /** Those that hold something. */
  readonly #holders = new Set<MemoryHolder>();
  #bytes = 0;

  constructor(
    bytesMax: number,
    onCut: (holder: { readonly address: string; readonly bytes: number }) => void,
  ) {
    this.#bytesMax = bytesMax;
    this.#onCut = onCut;
  }

  /** Of all clients. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param cut - ends the connection; called once at most. */
  holder(address: string | undefined, cut: () => void): MemoryHolder {
    return new MemoryHolder(this, address ?? '', cut);
  }

  /** Called by the holder. */
  changed(holder: MemoryHolder, change: number): void {
    this.#bytes += change;
    if (holder.bytes === 0) this.#holders.delete(holder);
    else if (holder.bytes === change) this.#holders.add(holder);
    if (change > 0) while (this.#bytes > this.#bytesMax && this.#cutLargest());
  }

  #cutLargest(): boolean {
    const byAddress = new Map<string, { bytes: number; largest: MemoryHolder }>();
    for (const holder of this.#holders) {
      const { address, bytes } = holder;
      const known = byAddress.get(address);
      if (known === undefined) {
        byAddress.set(address, { bytes, largest: holder });
        continue;
      }
      known.bytes += bytes;
      if (bytes > known.largest.bytes) known.largest = holder;
    }
    const [first, ...others] = byAddress.values();
    if (first === undefined) return false;
    const { largest } = others.reduce((most, one) => (one.bytes > most.bytes ? one : most), first);
    this.#onCut({ address: largest.address, bytes: largest.bytes });
    largest.cut();
    return true;
  }
}
