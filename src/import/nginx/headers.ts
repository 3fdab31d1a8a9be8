import type { Json, JsonObject } from '../json.ts'
import type { Translation } from '../translation.ts'
import type { Scope } from './scope.ts'
import { templateOf } from './variables.ts'

/** What a location says of the headers of requests to its service. */
export interface RequestHeaders {
  /** Whether `Host` is the client's; a text is a name of its own, undefined the name in `proxy_pass`. */
  readonly host: true | string | undefined
  readonly isWebsocket: boolean
  readonly headers: JsonObject
}

// Sallyport sets these from what it knows itself.
const OWN = /^x-forwarded-(?:for|proto|host|port)$/

// These belong to the connection, and are never forwarded.
const FRAMING = /^(?:connection|content-length|transfer-encoding|te|keep-alive)$/

/** Translates `proxy_set_header`; a header whose value can't be told is removed, so that a client can't send it. */
export function requestHeaders(scope: Scope, route: JsonObject, translation: Translation): RequestHeaders {
  const headers: JsonObject = {}
  let host: true | string | undefined
  let isWebsocket = false
  for (const directive of scope.nearest('proxy_set_header')) {
    const [name = '', value = ''] = directive.args
    const key = name.toLowerCase()
    if (FRAMING.test(key)) continue
    if (key === 'upgrade') isWebsocket = value !== ''
    else if (key === 'host') {
      if (/^\$(?:host|http_host)(?::\$(?:server_|proxy_)?port)?$/.test(value)) host = true
      else if (!value.includes('$')) host = value
      else if (value !== '$proxy_host')
        translation.missing(directive, `proxy_set_header Host ${value}`, route)
    } else if (value === '') headers[key] = false
    else if (!OWN.test(key)) {
      const template = templateOf(value, scope)
      headers[key] = template ?? false
      const isCopied = scope.nearest('auth_request_set').some(({ args }) => args[0] === value)
      if (template === undefined && !isCopied)
        translation.missing(directive, `proxy_set_header ${name} ${value}; removed from requests`, route)
    }
  }
  return { host, isWebsocket, headers: withoutCopied(headers, scope) }
}

/** Returns the headers of a location that its `auth_request` service sets, each with the header of its response. */
export function copiedHeaders(scope: Scope): ReadonlyMap<string, string> {
  const copied = new Map<string, string>()
  for (const { args } of scope.nearest('auth_request_set')) {
    const from = /^\$upstream_http_(\w+)$/.exec(args[1] ?? '')?.[1]?.replaceAll('_', '-')
    if (from === undefined) continue
    for (const set of scope.nearest('proxy_set_header'))
      if (set.args[1] === args[0]) copied.set((set.args[0] ?? '').toLowerCase(), from)
  }
  return copied
}

// What auth.forward copies must not be set or removed a second time.
function withoutCopied(headers: JsonObject, scope: Scope): JsonObject {
  const copied = copiedHeaders(scope)
  return Object.fromEntries(Object.entries(headers).filter(([name]) => copied.get(name) !== name))
}

/** Translates `add_header`, `proxy_hide_header` and `expires` of responses. */
export function responseHeaders(scope: Scope, route: JsonObject, translation: Translation): JsonObject {
  const headers: JsonObject = {}
  for (const { args } of scope.nearest('proxy_hide_header')) headers[(args[0] ?? '').toLowerCase()] = false
  const added = new Map<string, Json[]>()
  for (const directive of scope.nearest('add_header')) {
    const [name = '', value = ''] = directive.args
    if (FRAMING.test(name.toLowerCase())) continue
    const template = templateOf(value, scope)
    if (template === undefined) translation.missing(directive, `add_header ${name} ${value}`, route)
    else added.set(name.toLowerCase(), [...(added.get(name.toLowerCase()) ?? []), template])
  }
  for (const [name, values] of added) {
    const [first = ''] = values
    headers[name] = values.length > 1 || name === 'set-cookie' ? values.map((text) => ({ add: text })) : first
  }
  const expires = expiryOf(scope.value('expires'))
  if (expires !== undefined) headers['cache-control'] ??= expires
  return headers
}

/** Returns the Cache-Control of `expires`. */
function expiryOf(value: string | undefined): string | undefined {
  if (value === 'max') return 'max-age=315360000'
  if (value === 'epoch' || value?.startsWith('-') === true) return 'no-cache'
  const match = /^(\d+)([smhdwMy]?)$/.exec(value ?? '')
  if (match === null) return undefined
  const seconds: Readonly<Record<string, number>> = {
    s: 1,
    m: 60,
    h: 3600,
    d: 86400,
    w: 604800,
    M: 2592000,
    y: 31536000
  }
  return `max-age=${Number(match[1]) * (seconds[match[2] ?? ''] ?? 1)}`
}
