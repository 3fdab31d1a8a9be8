import type { FastifyRequest } from 'fastify'
import type { Escape } from './escape.ts'
import { addressOf } from './http/addresses.ts'
import { requestHeader } from './http/headers.ts'
import type { OptionFault } from './schema.ts'
import { nearest } from './schema.ts'

/** What a place in the config may refer to, by the first word inside the braces. */
export type ValueKind = 'client' | 'host' | 'path' | 'params' | 'query' | 'headers' | 'caller' | 'requestId'

/** Reads one value out of a request; undefined where it has none. */
export type Reader = (request: FastifyRequest) => string | undefined

/** A text with values of the request in it, compiled once at boot. */
export interface Template {
  readonly text: string
  /** The names of the path parameters it reads. */
  readonly params: readonly string[]
  /** Whether it reads nothing of the request. */
  readonly constant: boolean
  /** What stands before each of its values, the text since the last one. */
  readonly before: readonly string[]
  /** Fills in the values; `safe` makes each one safe for where it stands. */
  render(request: FastifyRequest, safe?: Escape): string
  /** Fills in the values as they are; undefined where the request has none of one of them. */
  renderWhole(request: FastifyRequest): string | undefined
}

/** What can be wrong with a template; its message says what would do. */
export class TemplateError extends Error {}

const all: readonly ValueKind[] = [
  'client',
  'host',
  'path',
  'params',
  'query',
  'headers',
  'caller',
  'requestId'
]

const asItIs = (value: string): string => value

/** Compiles a text with `{client.ip}`, `{params.x}` and so on in it; `{{` is a literal brace; throws a TemplateError for a value that the place does not know. */
export function template(
  text: string,
  known: readonly ValueKind[] = all,
  own: Partial<Record<ValueKind, (rest: string) => Reader>> = {}
): Template {
  const parts: (string | Reader)[] = []
  const params: string[] = []
  const before: string[] = []
  let literal = ''
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if ((char === '{' || char === '}') && text[i + 1] === char) {
      literal += char
      i++
    } else if (char === '{') {
      const end = text.indexOf('}', i)
      if (end === -1)
        throw new TemplateError(`"${text}" has a "{" that is never closed; "{{" stands for the brace itself`)
      const name = text.slice(i + 1, end)
      if (literal !== '') parts.push(literal)
      before.push(literal)
      literal = ''
      parts.push(reader(name, known, own))
      if (name.startsWith('params.')) params.push(name.slice(7))
      i = end
    } else literal += char
  }
  if (literal !== '') parts.push(literal)
  const only = parts[0]
  if (parts.length === 0 || (parts.length === 1 && typeof only === 'string')) {
    const render = (): string => (only as string) ?? ''
    return { text, params, before, constant: true, render, renderWhole: render }
  }
  return {
    text,
    params,
    before,
    constant: false,
    render(request, safe = asItIs) {
      let made = ''
      let index = 0
      for (const part of parts) made += typeof part === 'string' ? part : safe(part(request) ?? '', index++)
      return made
    },
    renderWhole(request) {
      let made = ''
      for (const part of parts) {
        const value = typeof part === 'string' ? part : part(request)
        if (value === undefined) return undefined
        made += value
      }
      return made
    }
  }
}

function reader(
  name: string,
  known: readonly ValueKind[],
  own: Partial<Record<ValueKind, (rest: string) => Reader>>
): Reader {
  const dot = name.indexOf('.')
  const kind = (dot === -1 ? name : name.slice(0, dot)) as ValueKind
  const rest = dot === -1 ? '' : name.slice(dot + 1)
  if (!known.includes(kind)) {
    const near = nearest(kind, known)
    const hint =
      near === undefined
        ? `known here: ${known.map(shown).join(', ')}`
        : `did you mean ${shown(near as ValueKind)}?`
    throw new TemplateError(`No value "{${name}}" here; ${hint}`)
  }
  const mine = own[kind]
  if (mine !== undefined) return mine(rest)
  if (kind === 'client' && rest === 'ip') return addressOf
  if (kind === 'host' && rest === '') return (request) => request.host
  if (kind === 'path' && rest === '') return (request) => pathOf(request)
  if (kind === 'requestId' && rest === '') return (request) => request.id
  if (kind === 'params' && rest !== '')
    return (request) => (request.params as Record<string, string | undefined>)[rest]
  if (kind === 'headers' && rest !== '') return headerReader(rest.toLowerCase())
  if (kind === 'query' && rest !== '') return (request) => queryValue(request.raw.url ?? '', rest)
  if (kind === 'caller') return callerReader(name, rest)
  throw new TemplateError(`No value "{${name}}"; ${shown(kind)} would do`)
}

const shown = (kind: ValueKind): string =>
  ({
    client: '{client.ip}',
    host: '{host}',
    path: '{path}',
    params: '{params.name}',
    query: '{query.name}',
    headers: '{headers.name}',
    caller: '{caller.id}',
    requestId: '{requestId}'
  })[kind]

const headerReader =
  (name: string): Reader =>
  (request) =>
    requestHeader(request, name)

function callerReader(name: string, rest: string): Reader {
  if (rest === 'id' || rest === 'name' || rest === 'email') return (request) => request.caller?.[rest]
  if (rest === 'roles' || rest === 'scopes') return (request) => request.caller?.[rest].join(',')
  if (rest.startsWith('claims.')) {
    const claim = rest.slice(7)
    return (request) => textOf(claimOf(request.caller?.claims, claim))
  }
  throw new TemplateError(`No value "{${name}}"; a caller has id, name, email, roles, scopes and claims.x`)
}

/** Tells what is wrong with a template at a path of the options, as a list of one fault or none. */
export function templateFaults(
  text: unknown,
  path: readonly (string | number)[],
  known: readonly ValueKind[] = all
): OptionFault[] {
  try {
    if (typeof text === 'string') template(text, known)
    return []
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return [{ path, message: error.message }]
  }
}

/** Reads a claim, its name tried literally, then by its dots: any of them may belong to a name, as in "resource_access.my.app.roles". */
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

/** Reads the path of a request, without its query. */
export function pathOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '/'
  const end = url.indexOf('?')
  return end === -1 ? url : url.slice(0, end)
}

/** Reads the query of a raw URL with its question mark, byte for byte, or an empty text. */
export function queryOf(url: string): string {
  const start = url.indexOf('?')
  return start === -1 ? '' : url.slice(start)
}

/** Reads the first value of a query parameter, decoded; undefined where the query has none. */
export function queryValue(url: string, name: string): string | undefined {
  return new URLSearchParams(queryOf(url)).get(name) ?? undefined
}
