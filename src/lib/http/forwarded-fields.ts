import type { FastifyRequest } from 'fastify'
import { peerOf } from './addresses.ts'
import { headerOf, type RequestHead, setHeader } from './flat-head.ts'

/** Adds what a proxy says of the client and its request (X-Forwarded-*); only trusted peers have said some of it before. */
export function addForwarded(
  head: RequestHead,
  request: FastifyRequest,
  trusted: boolean,
  prefix: string
): void {
  const { raw } = request
  const peer = peerOf(request)
  const requested = raw.headers.host ?? ''
  if (!trusted) {
    head.push(
      'x-forwarded-for',
      peer,
      'x-forwarded-proto',
      request.protocol,
      'x-forwarded-host',
      requested,
      'x-forwarded-port',
      portOf(requested, request.protocol)
    )
  } else {
    const before = headerOf(head, 'x-forwarded-for') ?? ''
    setHeader(head, 'x-forwarded-for', before === '' ? peer : `${before}, ${peer}`)
    let scheme = headerOf(head, 'x-forwarded-proto')
    if (scheme === undefined) {
      scheme = request.protocol
      head.push('x-forwarded-proto', scheme)
    }
    let host = headerOf(head, 'x-forwarded-host')
    if (host === undefined) {
      host = requested
      head.push('x-forwarded-host', host)
    }
    if (headerOf(head, 'x-forwarded-port') === undefined)
      head.push('x-forwarded-port', portOf(firstOf(host), firstOf(scheme)))
  }
  if (prefix !== '')
    setHeader(
      head,
      'x-forwarded-prefix',
      (trusted ? (headerOf(head, 'x-forwarded-prefix') ?? '') : '') + prefix
    )
}

/** Returns the port that a client connected to: that of its Host, else the default of the scheme. Behind a load balancer the listener's port is another one. */
function portOf(host: string, scheme: string): string {
  const colon = host.lastIndexOf(':')
  if (colon > host.lastIndexOf(']') && colon < host.length - 1) return host.slice(colon + 1)
  return scheme.toLowerCase() === 'https' ? '443' : '80'
}

// A chain of proxies writes a list; the client's value is first.
const firstOf = (list: string): string => {
  const comma = list.indexOf(',')
  return (comma === -1 ? list : list.slice(0, comma)).trim()
}
