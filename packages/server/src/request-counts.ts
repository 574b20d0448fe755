import { Counter, type Registry } from 'prom-client';

/** REST and server-sent events, the native protocol, or etcd's JSON gateway. */
export type Api = 'rest' | 'session' | 'gateway';

/**
 * Answered requests by API, method and error code (`OK` for none). Counted in plain maps and handed to Prometheus when it asks:
 * a labelled counter costs too much for every item of a frame.
 */
export class RequestCounts {
  readonly #counts = new Map<Api, Map<string, Map<string, number>>>();

  constructor(registry: Registry) {
    const counts = this.#counts;
    const counter: Counter<'api' | 'method' | 'code'> = new Counter({
      name: 'kv_client_requests_total',
      help: 'Client requests answered, by API, method and error code (OK for none).',
      labelNames: ['api', 'method', 'code'],
      registers: [registry],
      collect() {
        counter.reset();
        for (const [api, methods] of counts) {
          for (const [method, codes] of methods) {
            for (const [code, count] of codes) counter.inc({ api, method, code }, count);
          }
        }
      },
    });
  }

  /** `method` and `code` come from the code, never from a client: they are few. */
  count(api: Api, method: string, code: string): void {
    let methods = this.#counts.get(api);
    if (methods === undefined) {
      methods = new Map();
      this.#counts.set(api, methods);
    }
    let codes = methods.get(method);
    if (codes === undefined) {
      codes = new Map();
      methods.set(method, codes);
    }
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
}
