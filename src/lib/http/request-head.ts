import type { FastifyRequest } from 'fastify'
import { copyHeaders, forgedHeaders, never, type Reserved, unlistedOr } from './copied-headers.ts'
import { headerOf, type RequestHead, setHeader } from './flat-head.ts'
import { addForwarded } from './forwarded-fields.ts'
import type { HeaderChange } from './header-changes.ts'
import { cleanHeader, isAmbiguousName } from './headers.ts'

/** A header that the gateway writes for each request. */
export interface WrittenHeader {
  readonly name: string
  /** Returns undefined where there is no such header. */
  readonly value: { render(request: FastifyRequest): string | undefined }
  /** Whether the value is a token of the caller, which must not become part of a key. */
  readonly isToken?: boolean
}

/** How a route writes the head of its requests. */
export interface RequestHeadOptions extends Reserved {
  /** Whether the client's Host is forwarded instead of the upstream's. */
  readonly preserveHost: boolean
  /** The header with the request id; undefined for none. */
  readonly requestId: string | undefined
  /** Whether headers with underscores are forwarded; gRPC metadata always is. */
  readonly keepsUnderscores: boolean
  /** The headers of a client that are forwarded, in lower case; undefined for all. */
  readonly only?: readonly string[] | undefined
}

/** Writes the head of a forwarded request; `prefix` is the part of the path that a rewrite removed. */
export type WriteRequestHead = (request: FastifyRequest, trusted: boolean, prefix: string) => RequestHead

/** Compiles the function that writes the heads of forwarded requests. */
export function forwardedHead(options: RequestHeadOptions): WriteRequestHead {
  const { preserveHost, requestId, keepsUnderscores } = options
  const isRefused = unlistedOr(options, forgedHeaders(options))
  const copy = copyHeaders(
    // CGI, WSGI, Rack and PHP take X_A for X-A, which the gateway has judged (CWE-444).
    { ...options, onlyInGrpc: keepsUnderscores ? never : isAmbiguousName },
    (name, plain, trusted) =>
      plain === requestId || plain === 'x-request-id' || isRefused(name, plain, trusted)
  )
  return (request, trusted, prefix) => {
    const { raw } = request
    // An empty Host is filled in once the target is known.
    const head: RequestHead = ['host', preserveHost ? (raw.headers.host ?? '') : '']
    copy(head, request, trusted, request.privateHeaders)
    addForwarded(head, request, trusted, prefix)
    if (requestId !== undefined) head.push(requestId, request.id)
    if (request.identity)
      for (const { name, value } of request.identity) setHeader(head, name, value.render(request))
    if (request.headerChanges) for (const change of request.headerChanges) changeHeader(head, change, request)
    return head
  }
}

function changeHeader(
  head: RequestHead,
  { name, action, value }: HeaderChange,
  request: FastifyRequest
): void {
  const before = action === 'set' || action === 'remove' ? undefined : headerOf(head, name)
  if (action === 'default' && before !== undefined) return
  const rendered = cleanHeader(value?.renderWhole(request) ?? '')
  // A missing value removes the header instead of leaving it empty.
  if (rendered === '' && action !== 'add') setHeader(head, name, undefined)
  else if (rendered === '') return
  // A request has one Cookie field (RFC 6265 section 5.4).
  else if (name === 'cookie' && before !== undefined) setHeader(head, name, `${before}; ${rendered}`)
  else if (action === 'add') head.push(name, rendered)
  else setHeader(head, name, rendered)
}
