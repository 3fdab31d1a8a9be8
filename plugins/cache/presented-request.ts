import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { callerIdentity } from '../../src/lib/caller.ts'
import { peerOf } from '../../src/lib/http/addresses.ts'
import { headerOf } from '../../src/lib/http/flat-head.ts'
import { isForwardedHeader } from '../../src/lib/http/headers.ts'
import { NOT_SENT } from './fields.ts'

/** A request for which a stored response is chosen (RFC 9111 section 4). */
export interface PresentedRequest {
  /** The client's request that it is, or belongs to. */
  readonly source: FastifyRequest
  readonly isHead: boolean
  /** The headers with the conditions and the range that the stored response is judged by. */
  readonly conditions: IncomingHttpHeaders
  /** What a trusted proxy in front says of the original request, and services may build responses from (CWE-444). */
  readonly forwarded: readonly string[]
  /** The fields of responses that it does not see. */
  readonly hidden: readonly string[]
  /** Returns what decides the value of a header that goes upstream; undefined for none. */
  sent(name: string): string | undefined
}

// Each client has another address, and a response that depends on it says so by Vary.
const ADDRESSES = new Set([
  'client-ip',
  'forwarded-for',
  'true-client-ip',
  'x-client-ip',
  'x-forwarded-for',
  'x-real-ip'
])

const ADDRESS_PARAMETERS = /(?:^|[;,])\s*(?:for|by)=(?:"[^"]*"|[^;,]*)/gi

/** Returns the fields that describe the original request, without addresses: names in lower case and values in turn. */
function forwardedIn(fields: readonly string[]): string[] {
  const found: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    const name = (fields[i] as string).toLowerCase()
    const value = fields[i + 1] as string
    if (!isForwardedHeader(name) || ADDRESSES.has(name)) continue
    found.push(name, name === 'forwarded' ? value.replaceAll(ADDRESS_PARAMETERS, '') : value)
  }
  return found
}

const NOTHING: readonly string[] = []

/** A client's request, which goes on to the upstream. */
export class ClientRequest implements PresentedRequest {
  readonly source: FastifyRequest
  readonly hidden = NOT_SENT

  constructor(source: FastifyRequest) {
    this.source = source
  }

  get isHead(): boolean {
    return this.source.method === 'HEAD'
  }

  get conditions(): IncomingHttpHeaders {
    return this.source.headers
  }

  get forwarded(): readonly string[] {
    const { source } = this
    // Those of others are not passed on.
    return source.server.trusts(peerOf(source)) ? forwardedIn(source.raw.rawHeaders) : NOTHING
  }

  /** Returns all fields of the client's, and what the gateway writes itself. */
  sent(name: string): string | undefined {
    const { source } = this
    const written =
      name === 'x-forwarded-for'
        ? peerOf(source)
        : (tokenKey(source, name) ??
          source.identity?.find((header) => header.name === name)?.value.render(source))
    const sent = fieldsOf(source, name)
    return written === undefined ? sent : JSON.stringify([sent, written])
  }
}

/** Returns what stands in a key for a header with a token of the caller: who the caller is; undefined for other headers. */
function tokenKey({ caller, identity, headerChanges }: FastifyRequest, name: string): string | undefined {
  const hasToken =
    identity?.some((header) => header.name === name && header.isToken === true) === true ||
    headerChanges?.some((change) => change.name === name && (change.value?.tokens.length ?? 0) > 0) === true
  return hasToken && caller !== null ? callerIdentity(caller) : undefined
}

/** Returns a header of the client; of one that is sent twice, Node.js may keep only the first, while both go upstream. */
function fieldsOf({ raw: { rawHeaders } }: FastifyRequest, name: string): string | undefined {
  let found: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === name)
      found = found === undefined ? rawHeaders[i + 1] : `${found}, ${rawHeaders[i + 1]}`
  return found
}

const UNCONDITIONAL: IncomingHttpHeaders = {}

/** A GET that a target makes on behalf of a client, with a head of its own. */
export class TargetRequest implements PresentedRequest {
  readonly source: FastifyRequest
  readonly isHead = false
  // The client's are about its own response.
  readonly conditions = UNCONDITIONAL
  // The response of the route has the tags of its parts.
  readonly hidden = NOTHING
  readonly #head: readonly string[]

  constructor(source: FastifyRequest, head: readonly string[]) {
    this.source = source
    this.#head = head
  }

  get forwarded(): readonly string[] {
    return forwardedIn(this.#head)
  }

  sent(name: string): string | undefined {
    return tokenKey(this.source, name) ?? headerOf(this.#head, name)
  }
}
