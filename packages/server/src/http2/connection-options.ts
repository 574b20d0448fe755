import type { Clock } from '@kvorum/ports';
import type { MemoryHolder } from '../client-memory.ts';
import type { Http2Connection } from './http2-connection.ts';
import type { Header, Http2Stream } from './http2-stream.ts';

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly streamsMax: number;
  readonly headerListBytesMax: number;
  /** Headers that most answers have. */
  readonly commonHeaders: readonly Header[];
  /** Answers that the peer has not read, bytes: with more of them for longer than `unreadMsMax` it is cut. */
  readonly sendBufferBytesMax: number;
  readonly unreadMsMax: number;
  /** With so many it is cut at once. */
  readonly unreadBytesMax: number;
  /** Counts what the connection makes this process hold; `cut` ends it. */
  readonly hold: (cut: () => void) => Pick<MemoryHolder, 'set' | 'close'>;
  /** Gives the stream its receiver; may answer at once. */
  readonly onStream: (stream: Http2Stream, connection: Http2Connection) => void;
  readonly onClose: (connection: Http2Connection, reason: string) => void;
}
