import { KvError, type Limits, type Revision, type WatchEvent, type WatchRequest } from '@kvorum/base';
import { WatchHub } from '@kvorum/mvcc';
import type { WatchHandle, WatchSink } from './api.ts';
