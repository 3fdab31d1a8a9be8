import type { FastifyRequest } from 'fastify'
import { peerOf } from './addresses.ts'
import { copyHeaders, forgedHeaders, never, type Reserved } from './copied-headers.ts'
import type { RequestHead } from './flat-head.ts'
import { isResourceField } from './headers.ts'

/** Writes the head of a request to an authorization service. */
export type WriteAuthRequestHead = (request: FastifyRequest, trusted: boolean, host: string) => RequestHead

/** Compiles the function that writes the heads of requests to an authorization service, with the header names of Traefik's forwardAuth. */
export function authRequestHead(reserved: Reserved): WriteAuthRequestHead {
  const isForged = forgedHeaders(reserved)
  const copy = copyHeaders(
    { ...reserved, onlyInGrpc: never },
    (name, plain, trusted) =>
      isResourceField(name) || plain.startsWith('x-forwarded-') || isForged(name, plain, trusted)
  )
  return (request, trusted, host) => {
    const { raw } = request
    const head: RequestHead = ['host', host]
    copy(head, request, trusted, null)
    head.push(
      'x-forwarded-method',
      request.method,
      'x-forwarded-proto',
      request.protocol,
      'x-forwarded-host',
      raw.headers.host ?? '',
      'x-forwarded-uri',
      raw.url ?? '/'
    )
    const before = trusted ? [raw.headers['x-forwarded-for'] ?? []].flat() : []
    head.push('x-forwarded-for', [...before, peerOf(request)].filter((each) => each !== '').join(', '))
    return head
  }
}
