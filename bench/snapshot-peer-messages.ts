/** What one piece of work took. */
export interface Spent {
  readonly seconds: number;
  readonly bytes: number;
  /** User and system time of the process. */
  readonly cpuSeconds: number;
}

export type PeerRequest =
  | { readonly kind: 'open'; readonly member: number; readonly directory: string }
  | { readonly kind: 'fill'; readonly keys: number; readonly valueBytes: number }
  | { readonly kind: 'drain' }
  | { readonly kind: 'install'; readonly from: number; readonly port: number }
  | { readonly kind: 'cpu' }
  | { readonly kind: 'close' };

export type PeerAnswer =
  | { readonly kind: 'opened'; readonly port: number }
  | { readonly kind: 'spent'; readonly spent: Spent }
  | { readonly kind: 'cpu'; readonly seconds: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly message: string };
