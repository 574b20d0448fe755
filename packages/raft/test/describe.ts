import { assert, unreachable } from '@kvorum/base';
import { decodeGenesis, decodeMembership, type RaftEffect, type RaftMessage } from '@kvorum/raft';
import { payloadText } from './cluster.ts';

/** One line of a trace. */
export function describeEffect(effect: RaftEffect): string {
  switch (effect.kind) {
    case 'persist-hard-state':
      return `persist term=${effect.term} vote=${effect.vote ?? '-'}`;
    case 'send':
      return `-> ${effect.to} ${describeMessage(effect.message)}`;
    case 'append': {
      const { kind, term, seq, payload } = effect.record;
      const again = effect.again ? ' again' : '';
      return `append ${kind} term=${term} seq=${seq}${describePayload(kind, payload)}${again}`;
    }
    case 'follow-log':
      return `follow-log from=${effect.from}`;
    case 'accept': {
      const { record, state, own } = effect;
      const text = describePayload(record.kind, record.payload);
      const mine = own ? ' own' : '';
      return `accept ${record.kind} index=${state.index} offset=${state.offset}${text}${mine}`;
    }
    case 'fenced':
      return `fenced offset=${effect.offset} ${effect.reason}`;
    case 'proposal':
      return `proposal ${effect.verdict}`;
    case 'read-ready':
      return `read-ready id=${effect.readId} index=${effect.index}`;
    case 'read-failed':
      return `read-failed id=${effect.readId}`;
    case 'role-changed':
      return `role ${effect.role} term=${effect.term} leader=${effect.leader ?? '-'}`;
    case 'leader-ready':
      return `leader-ready index=${effect.index}`;
    case 'transfer-settled':
      return `transfer-settled target=${effect.target} moved=${effect.moved}`;
    case 'halted':
      return `halted ${effect.report.reason}: ${effect.report.detail}`;
    case 'snapshot-needed':
      return `snapshot-needed start=${effect.start}`;
    case 'stop-following':
      return effect.kind;
    default:
      return unreachable(effect);
  }
}

export function describePayload(kind: string, payload: Uint8Array): string {
  if (kind === 'genesis') {
    const genesis = decodeGenesis(payload);
    assert(genesis.ok, 'genesis payload decodes');
    const { index, membership, parentGeneration } = genesis.value;
    return ` on generation=${parentGeneration} index=${index} voters=${membership.voters.join(',')}`;
  }
  if (kind !== 'config') return payload.length === 0 ? '' : ` ${payloadText(payload)}`;
  const membership = decodeMembership(payload);
  assert(membership.ok, 'config payload decodes');
  const { voters, learners } = membership.value;
  return ` voters=${voters.join(',')} learners=${learners.join(',') || '-'}`;
}

function describeMessage(message: RaftMessage): string {
  const { kind, term } = message;
  switch (kind) {
    case 'vote-request': {
      const flags = `${message.pre ? ' pre' : ''}${message.transfer ? ' transfer' : ''}`;
      return `${kind}${flags} term=${term} index=${message.history.index}`;
    }
    case 'vote-response':
      return `${kind}${message.pre ? ' pre' : ''} term=${term} granted=${message.granted}`;
    case 'heartbeat':
      return `${kind} term=${term} round=${message.round} index=${message.history.index}`;
    case 'heartbeat-response': {
      const flags = `${message.logReachable ? '' : ' no-log'}${message.contradicts ? ' contradicts' : ''}${message.eager ? ' eager' : ''}`;
      return `${kind} term=${term} round=${message.round} index=${message.index}${flags}`;
    }
    case 'accepted':
      return `${kind} term=${term} index=${message.index}`;
    case 'timeout-now':
      return `${kind} term=${term}`;
    case 'read-index-request':
      return `${kind} request=${message.requestId}`;
    case 'read-index-response':
      return `${kind} request=${message.requestId} index=${message.index ?? '-'}`;
    default:
      return unreachable(message);
  }
}
