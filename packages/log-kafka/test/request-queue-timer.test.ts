import { expect, it } from 'vitest';
import { RepairedQueue } from '../src/request-queue-timer.ts';

// Regression: kafkajs re-armed a 1 ms timer for ever on every connection (track record, 2026-11-21).
it('arms no timer while nothing is pending', () => {
  const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const logger = { ...silent, namespace: () => silent };
  const queue = new RepairedQueue({
    maxInFlightRequests: 1,
    requestTimeout: 1000,
    enforceRequestTimeout: false,
    clientId: 'test',
    broker: 'b',
    logger,
    isConnected: () => true,
  });
  queue.checkPendingRequests();
  expect(queue.throttleCheckTimeoutId).toBeNull();
});
