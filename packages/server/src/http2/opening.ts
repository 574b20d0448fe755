import type { ConnectionOptions } from './connection-options.ts';
import { DEFAULT_WINDOW, FRAME, SETTING } from './frames.ts';
import type { Output } from './output.ts';

/** Of one stream: as much of a request as may be on its way to a handler that does not take it. */
export const STREAM_WINDOW = 262_144;
/** Of the connection: it is credited as it arrives, so it bounds nothing but what lies in one turn. */
export const CONNECTION_WINDOW = 4_194_304;

/** The first frames of the server. */
export function sendOpening(
  output: Output,
  { streamsMax, headerListBytesMax }: ConnectionOptions,
): void {
  const settings = [
    [SETTING.maxConcurrentStreams, streamsMax],
    [SETTING.initialWindowSize, STREAM_WINDOW],
    [SETTING.maxHeaderListSize, headerListBytesMax],
  ] as const;
  output.head(FRAME.settings, 0, 0, settings.length * 6);
  for (const [id, value] of settings) {
    output.uint16(id);
    output.uint32(value);
  }
  output.head(FRAME.windowUpdate, 0, 0, 4);
  output.uint32(CONNECTION_WINDOW - DEFAULT_WINDOW);
  output.flush();
}
