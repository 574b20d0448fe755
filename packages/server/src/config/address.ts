import { KvError } from '@kvorum/base';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Splits host:port; an IPv6 host stands in brackets. Errors: KV_CONFIG. */
export function splitAddress(text: string): Address {
  const at = text.lastIndexOf(':');
  const host = text.slice(0, at).replace(/^\[|\]$/g, '');
  const port = Number(text.slice(at + 1));
  if (at <= 0 || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new KvError('KV_CONFIG', `"${text}" is not host:port`);
  }
  return { host, port };
}

/** Whether only this machine can reach the address. */
export function isLoopback(text: string): boolean {
  const { host } = splitAddress(text);
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
