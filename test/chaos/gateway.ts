import { type Door, headersOf } from './at-member.ts';

/** What of etcd's errors means that certainly nothing happened, by the number of gRPC's status. */
const NOT_APPLIED: readonly number[] = [
  3, // INVALID_ARGUMENT
  5, // NOT_FOUND
  7, // PERMISSION_DENIED
  8, // RESOURCE_EXHAUSTED
  9, // FAILED_PRECONDITION
  11, // OUT_OF_RANGE
  16, // UNAUTHENTICATED
];

/** A call that did not succeed. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly surelyNot: boolean;

  constructor(text: string, surelyNot: boolean, cause?: unknown) {
    super(text, { cause });
    this.surelyNot = surelyNot;
  }
}

type Json = Readonly<Record<string, unknown>>;

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** One call of etcd's API at a member, by its path below `/v3/`. Errors: GatewayError. */
export async function callGateway(
  door: Door,
  path: string,
  body: Json,
  timeoutMs: number,
): Promise<Json> {
  try {
    const { token } = door;
    const answer = await fetch(`${door.endpoint}/v3/${path}`, {
      method: 'POST',
      headers: { ...headersOf({}), ...(token === undefined ? {} : { authorization: token }) },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    return resultOf(await firstLine(answer));
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError(String(error), false, error);
  }
}

/** A stream goes on after it. */
async function firstLine(answer: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  const reader = answer.body?.getReader();
  for (;;) {
    const part = await reader?.read();
    if (part?.value !== undefined)
      text += decoder.decode(part.value as Uint8Array, { stream: true });
    if (part?.done !== false || text.includes('\n')) break;
  }
  await reader?.cancel();
  return text.split('\n')[0] ?? '';
}

function resultOf(line: string): Json {
  const json = JSON.parse(line) as Json;
  const { error, code, message } = json;
  if (error === undefined) return (json['result'] ?? json) as Json;
  const told = typeof error === 'object' ? (error as Json) : { code, message };
  const number = Number(told['code']);
  throw new GatewayError(String(told['message']), NOT_APPLIED.includes(number));
}
