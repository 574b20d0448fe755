import { Counter, Gauge, type Registry } from 'prom-client';

/** What was answered on /health, /livez and /readyz; the names are etcd's. */
export interface HealthMetrics {
  /** /health was asked. */
  readonly answered: (healthy: boolean) => void;
  /** One check of `livez` or `readyz` was made. */
  readonly checked: (path: string, check: string, ok: boolean) => void;
}

export function healthMetrics(registry: Registry): HealthMetrics {
  const registers = [registry];
  const successes = new Counter({
    name: 'etcd_server_health_success',
    help: 'Answers of /health that said healthy.',
    registers,
  });
  const failures = new Counter({
    name: 'etcd_server_health_failures',
    help: 'Answers of /health that said unhealthy.',
    registers,
  });
  const check = new Gauge({
    name: 'etcd_server_healthcheck',
    help: 'The last result of each check of /livez and /readyz.',
    labelNames: ['type', 'name'],
    registers,
  });
  const checks = new Counter({
    name: 'etcd_server_healthchecks_total',
    help: 'Checks of /livez and /readyz made.',
    labelNames: ['type', 'name', 'status'],
    registers,
  });
  return {
    answered: (healthy) => (healthy ? successes : failures).inc(),
    checked(type, name, ok) {
      check.set({ type, name }, ok ? 1 : 0);
      checks.inc({ type, name, status: ok ? 'success' : 'error' });
    },
  };
}
