import { Counter, type Registry } from 'prom-client';

/** Names of the codes as grpc-go writes them, which etcd's dashboards expect; the code is the place in the list. */
const CODE_NAMES = [
  ...['OK', 'Canceled', 'Unknown', 'InvalidArgument', 'DeadlineExceeded', 'NotFound'],
  ...['AlreadyExists', 'PermissionDenied', 'ResourceExhausted', 'FailedPrecondition', 'Aborted'],
  ...['OutOfRange', 'Unimplemented', 'Internal', 'Unavailable', 'DataLoss', 'Unauthenticated'],
] as const;

type MethodLabel = 'grpc_type' | 'grpc_service' | 'grpc_method';
type MethodLabels = Readonly<Record<MethodLabel, string>>;
const METHOD_LABELS: readonly MethodLabel[] = ['grpc_type', 'grpc_service', 'grpc_method'];

/** Calls of one method. Plain numbers: a labelled counter costs too much for every call. */
export class MethodCounts {
  readonly labels: MethodLabels;
  started = 0;
  /** By status code. */
  readonly handled: number[] = CODE_NAMES.map(() => 0);

  constructor(labels: MethodLabels) {
    this.labels = labels;
  }

  /** A call ended with that status. */
  ended(code: number): void {
    this.handled[code] = (this.handled[code] ?? 0) + 1;
  }
}

/** Calls and bytes of gRPC, under etcd's names; handed to Prometheus when it asks. */
export class GrpcCounts {
  readonly #methods: MethodCounts[] = [];
  /** Of messages, without what HTTP/2 adds. */
  receivedBytes = 0;
  sentBytes = 0;

  constructor(registry: Registry) {
    const registers = [registry];
    const started: Counter<MethodLabel> = new Counter({
      name: 'grpc_server_started_total',
      help: 'Calls of gRPC that were begun.',
      labelNames: METHOD_LABELS,
      registers,
      collect: () => {
        started.reset();
        for (const method of this.#methods) started.inc(method.labels, method.started);
      },
    });
    const handled: Counter<MethodLabel | 'grpc_code'> = new Counter({
      name: 'grpc_server_handled_total',
      help: 'Calls of gRPC that have ended, by status.',
      labelNames: [...METHOD_LABELS, 'grpc_code'],
      registers,
      collect: () => {
        handled.reset();
        for (const { labels, handled: byCode } of this.#methods) {
          for (const [code, count] of byCode.entries()) {
            const grpc_code = CODE_NAMES[code];
            if (count > 0 && grpc_code !== undefined) handled.inc({ ...labels, grpc_code }, count);
          }
        }
      },
    });
    bytesCounter(registry, 'received', 'from', () => this.receivedBytes);
    bytesCounter(registry, 'sent', 'to', () => this.sentBytes);
  }

  /** @param kind - of the method, as protobuf-es calls it. */
  method(service: string, name: string, kind: string): MethodCounts {
    const counts = new MethodCounts({
      grpc_type: kind.replace('streaming', 'stream'),
      grpc_service: service,
      grpc_method: name,
    });
    this.#methods.push(counts);
    return counts;
  }
}

function bytesCounter(registry: Registry, what: string, way: string, read: () => number): void {
  const counter: Counter = new Counter({
    name: `etcd_network_client_grpc_${what}_bytes_total`,
    help: `Bytes of messages ${what} ${way} clients over gRPC.`,
    registers: [registry],
    collect() {
      counter.reset();
      counter.inc(read());
    },
  });
}
