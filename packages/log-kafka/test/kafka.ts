import { afterAll } from 'vitest';
import { type AvailableKafka, ensureKafka } from '../../../scripts/kafka/index.ts';

/** The real Kafka of a test file; undefined (and a loud warning) when this machine has none. */
export async function kafkaForTests(
  options: { readonly faults?: boolean } = {},
): Promise<AvailableKafka | undefined> {
  const kafka = await ensureKafka(options);
  if (kafka.kind === 'unavailable') {
    console.warn(`\n!!! SKIPPED, no real Kafka: ${kafka.reasons.join('; ')}\n`);
    return undefined;
  }
  afterAll(() => kafka.stop());
  return kafka;
}

let prefixes = 0;

/** A topic prefix that no earlier test used, also on a Kafka that lives on. */
export function freshPrefix(): string {
  prefixes += 1;
  return `test-${process.pid}-${Date.now().toString(36)}-${prefixes}-`;
}
