import { expect, it, vi } from 'vitest';
import { RepairedQueue, type TimedQueue } from '../src/request-queue-timer.ts';

function queueOf(enforceRequestTimeout: boolean): TimedQueue {
  const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const logger = { ...silent, namespace: () => silent };
  return new RepairedQueue({
    maxInFlightRequests: null,
    requestTimeout: 1000,
    enforceRequestTimeout,
    clientId: 'test',
    broker: 'b',
    logger,
    isConnected: () => true,
  });
}

// Regression: kafkajs re-armed a 1 ms timer for ever on every connection (track record, 2026-11-21).
it('arms no timer while nothing is pending', () => {
  const queue = queueOf(false);
  queue.checkPendingRequests();
  expect(queue.throttleCheckTimeoutId).toBeNull();
});

it('looks for overdue requests four times a second and fails them', () => {
  vi.useFakeTimers();
  try {
    const queue = queueOf(true);
    queue.scheduleRequestTimeoutCheck();
    const failed: Error[] = [];
    const entry = { apiKey: 0, apiName: 'Produce', apiVersion: 3, correlationId: 1 };
    queue.push({
      entry: { ...entry, resolve: () => undefined, reject: (error: Error) => failed.push(error) },
      expectResponse: true,
      requestTimeout: 1000,
      sendRequest: () => undefined,
    });
    vi.advanceTimersByTime(1000);
    expect(failed).toEqual([]);
    vi.advanceTimersByTime(250);
    expect(failed.map(({ name }) => name)).toEqual(['KafkaJSRequestTimeoutError']);
    expect(vi.getTimerCount()).toBe(1);
    queue.destroy();
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
