import { isJsonObject, type Json, type JsonObject } from '../json.ts'
import { globsOf } from '../regex.ts'
import { literal } from '../values.ts'
import type { Directive } from './parse.ts'
import type { Scope } from './scope.ts'

/** An `if` that answers some requests with its `return`. */
export interface Branch {
  readonly directive: Directive
  readonly methods: readonly string[] | undefined
  /** Alternatives of which one must hold; none if the method is all. */
  readonly when: JsonObject
  readonly answer: Directive
}

/** Returns the branches of a block and those around it, in the order in which nginx tries them. */
export const branchesOf = (scope: Scope): Branch[] => [
  ...(scope.outer === undefined ? [] : branchesOf(scope.outer)),
  ...scope.own('if').flatMap((directive) => branchOf(directive) ?? [])
]

// Headers of the response that is returned; `Content-Length` and the like are set anyway.
const BESIDE: ReadonlySet<string> = new Set(['add_header', 'access_log', 'default_type', 'log_not_found'])

/** Reads an `if` with nothing but a `return` and its headers; undefined if `when` can't say its condition. */
export function branchOf(directive: Directive): Branch | undefined {
  const { args, block = [] } = directive
  const [answer, ...others] = block.filter(({ name }) => !BESIDE.has(name))
  if (answer?.name !== 'return' || others.length > 0) return undefined
  const text = args.join(' ')
  const [, variable = '', operator = '', written = ''] =
    /^\(\s*\$(\w+)(?:\s+(=|!=|~\*?)\s+(.*?))?\s*\)$/s.exec(text) ?? []
  // nginx compares $host in lower case and without a final dot, `when` the header as it is: a refusal could be avoided.
  if (variable === 'host' && !/^30[1-8]$/.test(answer.args[0] ?? '')) return undefined
  const found = conditionOf(variable, operator, written.replace(/^"(.*)"$/s, '$1'))
  return found === undefined ? undefined : { directive, answer, methods: undefined, when: {}, ...found }
}

function conditionOf(
  variable: string,
  operator: string,
  value: string
): { methods: string[] } | { when: JsonObject } | undefined {
  if (variable === 'request_method') {
    const methods = operator === '=' ? [value] : /^\^?\(?([A-Z|]+)\)?\$?$/.exec(value)?.[1]?.split('|')
    return operator.startsWith('!') || methods === undefined ? undefined : { methods }
  }
  if (/^(?:scheme|https|http_x_forwarded_proto)$/.test(variable)) {
    const isPlain =
      (operator === '=' && /^(?:http|)$/.test(value)) || (operator === '!=' && /^(?:https|on)$/.test(value))
    return isPlain ? { when: { scheme: 'http' } } : undefined
  }
  const key = keyOf(variable)
  const values = key === undefined ? undefined : valuesOf(operator, value)
  if (key === undefined || values === undefined) return undefined
  // Elsewhere, the query could match as well.
  if (variable === 'request_uri' && values.some((glob) => glob.startsWith('*'))) return undefined
  // A port may follow the host.
  const all = key === 'header:host' ? values.flatMap((host) => [host, `${host}:*`]) : values
  return { when: { [key]: all.length === 1 ? (all[0] ?? '') : all } }
}

function keyOf(variable: string): string | undefined {
  if (/^(?:uri|document_uri|request_uri)$/.test(variable)) return 'path'
  if (variable === 'host' || variable === 'http_host') return 'header:host'
  const [, header, cookie, query] = /^(?:http_(\w+)|cookie_(\w+)|arg_(\w+))$/.exec(variable) ?? []
  if (header !== undefined) return `header:${header.replaceAll('_', '-')}`
  if (cookie !== undefined) return `cookie:${cookie}`
  return query === undefined ? undefined : `query:${query}`
}

function valuesOf(operator: string, value: string): string[] | undefined {
  if (value.includes('$') && operator === '=') return undefined
  if (operator === '=') return value === '' || value.includes('*') ? undefined : [literal(value)]
  // A variable alone holds unless it is empty or "0".
  if (!operator.startsWith('~')) return undefined
  const globs = globsOf(value, { ignoresCase: operator === '~*' })
  return globs?.isExact === true ? globs.globs.map(literal) : undefined
}

// True of every request. A route with more conditions wins over one with fewer.
const ANY_HOST: JsonObject = { 'header:host': true }
const ANY_ADDRESS: JsonObject = { 'client.ip': ['0.0.0.0/0', '::/0'] }
const anyScheme = (when: JsonObject): JsonObject[] =>
  when['scheme'] === undefined ? ['http', 'https'].map((scheme) => ({ ...when, scheme })) : [when]

/** Give conditions more and more weight, without any effect on what they hold for. */
export const WEIGHTS: readonly ((when: JsonObject) => JsonObject[])[] = [
  (when) => [when],
  (when) => anyScheme(when),
  (when) => anyScheme({ ...when, ...ANY_ADDRESS }),
  (when) => anyScheme({ ...when, ...ANY_ADDRESS, ...ANY_HOST })
]

/** Returns the conditions of branches with one answer, at a route with conditions of its own; undefined if two are about the same thing. */
export function conditionsOf(
  branches: readonly Branch[],
  own: Json | undefined,
  weigh: (when: JsonObject) => JsonObject[]
): JsonObject[] | undefined {
  const outer: JsonObject[] = own === undefined ? [{}] : [own].flat().filter(isJsonObject)
  const all = branches.flatMap(({ when }) =>
    outer.map((before): JsonObject | undefined =>
      Object.keys(when).some((key) => before[key] !== undefined) ? undefined : { ...before, ...when }
    )
  )
  const known = all.filter((each) => each !== undefined)
  return known.length < all.length ? undefined : known.flatMap((when) => weigh(when))
}
