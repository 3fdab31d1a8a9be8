import type { FastifyRequest } from 'fastify'
import { callerIdentity, publicOrigin } from './caller.ts'
import { type CallerToken, isCallerToken } from './caller-tokens.ts'
import type { Escape } from './escape.ts'
import { addressOf } from './http/addresses.ts'
import { cookiesIn, LOGIN_COOKIE } from './http/cookies.ts'
import { requestHeader } from './http/headers.ts'
import { pathOf, queryValue } from './http/url-parts.ts'
import type { OptionFault } from './schema.ts'
import { nearest } from './schema.ts'
import { TemplateError, templateParts } from './template-parts.ts'

export { TemplateError }

/** The kinds of request values that a template may refer to: the first name inside the braces. */
export type ValueKind =
  | 'client'
  | 'host'
  | 'path'
  | 'url'
  | 'method'
  | 'scheme'
  | 'params'
  | 'query'
  | 'headers'
  | 'cookies'
  | 'caller'
  | 'requestId'
  // The tokens of the caller, which are values of the caller where this is known.
  | 'tokens'
  // Of an error, and known only where its body is written.
  | 'status'
  | 'title'
  | 'detail'
  | 'code'

/** Returns one value of a request; undefined where it has none. */
export type Reader = (request: FastifyRequest) => string | undefined

/** A text with values of the request, compiled at boot. */
export interface Template {
  readonly text: string
  /** The path parameters that it uses. */
  readonly params: readonly string[]
  /** Whether it uses no value of the request. */
  readonly constant: boolean
  /** The tokens of the caller that it uses. */
  readonly tokens: readonly CallerToken[]
  /** The literal text before each value, since the previous one. */
  readonly before: readonly string[]
  /** Returns the text with its values; `escapeValue` escapes each of them. */
  render(request: FastifyRequest, escapeValue?: Escape): string
  /** Returns the text with its values; undefined where the request lacks one of them. */
  renderWhole(request: FastifyRequest, escapeValue?: Escape): string | undefined
  /** Returns what stands for the text in a key: like `renderWhole`, with the caller in place of its tokens. */
  renderKey(request: FastifyRequest): string | undefined
}

const ALL_KINDS: readonly ValueKind[] = [
  'client',
  'host',
  'path',
  'url',
  'method',
  'scheme',
  'params',
  'query',
  'headers',
  'cookies',
  'caller',
  'requestId'
]

/** The values of a request that goes to an upstream, the tokens of its caller included. */
export const WITH_TOKENS: readonly ValueKind[] = [...ALL_KINDS, 'tokens']

const OF_ERROR: readonly ValueKind[] = ['status', 'title', 'detail', 'code']

/** The values that the body of an error may refer to: those of the error, and of its request. */
export const ERROR_VALUES: readonly ValueKind[] = [...OF_ERROR, ...ALL_KINDS]

const unescaped = (value: string): string => value

/** Compiles a text with values such as `{client.ip}`; `{{` is a literal brace. Throws a TemplateError for a value that is not in `known`; `overrides` replaces the readers of some kinds. */
export function template(
  text: string,
  known: readonly ValueKind[] = ALL_KINDS,
  overrides: Partial<Record<ValueKind, (rest: string) => Reader>> = {}
): Template {
  const parts: (string | Reader)[] = []
  const params: string[] = []
  const tokens: CallerToken[] = []
  const before: string[] = []
  let literal = ''
  for (const part of templateParts(text)) {
    if (typeof part === 'string') parts.push(part)
    else {
      before.push(literal)
      parts.push(readerFor(part.reference, known, overrides))
      if (part.reference.startsWith('params.')) params.push(part.reference.slice(7))
      const token = tokenIn(part.reference)
      if (token !== undefined) tokens.push(token)
    }
    literal = typeof part === 'string' ? part : ''
  }
  const only = parts[0]
  if (parts.length === 0 || (parts.length === 1 && typeof only === 'string')) {
    const render = (): string => (only as string) ?? ''
    return { text, params, tokens, before, constant: true, render, renderWhole: render, renderKey: render }
  }
  const keyParts =
    tokens.length === 0 ? parts : parts.map((part) => (isTokenReader(part) ? readCaller : part))
  return {
    text,
    params,
    tokens,
    before,
    constant: false,
    render(request, escapeValue = unescaped) {
      let rendered = ''
      let index = 0
      for (const part of parts)
        rendered += typeof part === 'string' ? part : escapeValue(part(request) ?? '', index++)
      return rendered
    },
    renderWhole: (request, escapeValue = unescaped) => joinWhole(parts, request, escapeValue),
    renderKey: (request) => joinWhole(keyParts, request, unescaped)
  }
}

/** Joins texts and the values of a request; undefined where one is missing. */
function joinWhole(
  parts: readonly (string | Reader)[],
  request: FastifyRequest,
  escapeValue: Escape
): string | undefined {
  let joined = ''
  let index = 0
  for (const part of parts) {
    const value = typeof part === 'string' ? part : part(request)
    if (value === undefined) return undefined
    joined += typeof part === 'string' ? part : escapeValue(value, index++)
  }
  return joined
}

function readerFor(
  name: string,
  known: readonly ValueKind[],
  overrides: Partial<Record<ValueKind, (rest: string) => Reader>>
): Reader {
  const dot = name.indexOf('.')
  const kind = (dot === -1 ? name : name.slice(0, dot)) as ValueKind
  const rest = dot === -1 ? '' : name.slice(dot + 1)
  if (!known.includes(kind)) {
    const near = nearest(kind, known)
    throw new TemplateError(
      near === undefined
        ? `expected one of ${known.map(exampleOf).join(', ')}, got "{${name}}"`
        : `expected a value of the request, got "{${name}}"; did you mean ${exampleOf(near as ValueKind)}?`
    )
  }
  const override = overrides[kind]
  if (override !== undefined) return override(rest)
  if (kind === 'client' && rest === 'ip') return addressOf
  if (kind === 'host' && rest === '') return (request) => request.host
  if (kind === 'path' && rest === '') return (request) => pathOf(request)
  if (kind === 'url' && rest === '') return (request) => publicOrigin(request) + (request.raw.url ?? '/')
  if (kind === 'method' && rest === '') return (request) => request.method
  if (kind === 'scheme' && rest === '') return (request) => request.protocol
  if (kind === 'cookies' && rest !== '') return cookieReader(rest)
  if (kind === 'requestId' && rest === '') return (request) => request.id
  if (kind === 'params' && rest !== '')
    return (request) => (request.params as Record<string, string | undefined>)[rest]
  if (kind === 'headers' && rest !== '') return headerReader(rest.toLowerCase())
  if (kind === 'query' && rest !== '') return (request) => queryValue(request.raw.url ?? '', rest)
  if (kind === 'caller' && isCallerToken(rest)) return tokenReader(rest, known)
  if (kind === 'caller') return callerReader(name, rest)
  // What writes the body of an error knows these; a request has none of them.
  if (OF_ERROR.includes(kind) && rest === '') return () => undefined
  throw new TemplateError(`expected ${exampleOf(kind)}, got "{${name}}"`)
}

const exampleOf = (kind: ValueKind): string =>
  ({
    client: '{client.ip}',
    host: '{host}',
    path: '{path}',
    url: '{url}',
    method: '{method}',
    scheme: '{scheme}',
    params: '{params.name}',
    query: '{query.name}',
    headers: '{headers.name}',
    cookies: '{cookies.name}',
    caller: '{caller.id}',
    requestId: '{requestId}',
    tokens: '{caller.accessToken}',
    status: '{status}',
    title: '{title}',
    detail: '{detail}',
    code: '{code}'
  })[kind]

const headerReader =
  (name: string): Reader =>
  (request) =>
    requestHeader(request, name)

// The cookies of the gateway's own sessions and log-ins are credentials, which nothing but the gateway gets.
const cookieReader =
  (name: string): Reader =>
  ({ raw, server }) =>
    name === server.sessionCookie || name.startsWith(LOGIN_COOKIE)
      ? undefined
      : cookiesIn(raw.headers.cookie, name)[0]

function tokenIn(reference: string): CallerToken | undefined {
  const name = reference.startsWith('caller.') ? reference.slice(7) : ''
  return isCallerToken(name) ? name : undefined
}

// The tokens of a session are those of its caller only.
const TOKEN_READERS: Readonly<Record<CallerToken, Reader>> = {
  accessToken: ({ caller, accessToken }) => (caller?.by === 'session' && accessToken) || undefined,
  idToken: ({ caller, idToken }) => (caller?.by === 'session' && idToken) || undefined
}

const isTokenReader = (part: string | Reader): boolean =>
  part === TOKEN_READERS.accessToken || part === TOKEN_READERS.idToken

const readCaller: Reader = ({ caller }) => (caller === null ? undefined : callerIdentity(caller))

function tokenReader(token: CallerToken, known: readonly ValueKind[]): Reader {
  if (known.includes('tokens')) return TOKEN_READERS[token]
  throw new TemplateError(
    `expected a value that is no credential, got "{caller.${token}}"; only "headers.request" and "identity" of "auth" may have it`
  )
}

function callerReader(name: string, rest: string): Reader {
  if (rest === 'id' || rest === 'name' || rest === 'email') return (request) => request.caller?.[rest]
  if (rest === 'roles' || rest === 'scopes') return (request) => request.caller?.[rest].join(',')
  if (rest.startsWith('claims.')) {
    const claim = rest.slice(7)
    return (request) => textOf(claimOf(request.caller?.claims, claim))
  }
  throw new TemplateError(
    `expected id, name, email, roles, scopes or claims.x of the caller, got "{${name}}"`
  )
}

/** Returns the error of a template at a path of the options, as a list of one fault or none. */
export function templateFaults(
  text: unknown,
  path: readonly (string | number)[],
  known: readonly ValueKind[] = ALL_KINDS
): OptionFault[] {
  try {
    if (typeof text === 'string') template(text, known)
    return []
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return [{ path, message: error.message }]
  }
}

/** Returns a claim by its name or by its path. Any dot may belong to a name, as in "resource_access.my.app.roles". */
export function claimOf(claims: unknown, name: string): unknown {
  if (typeof claims !== 'object' || claims === null) return undefined
  const own = claims as Record<string, unknown>
  if (Object.hasOwn(own, name)) return own[name]
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const outer = name.slice(0, dot)
    const found = Object.hasOwn(own, outer) ? claimOf(own[outer], name.slice(dot + 1)) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  if (Array.isArray(value)) return value.map(String).join(',')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
