import type { Json, JsonObject } from '../json.ts'
import { pathText } from '../path-text.ts'
import type { Pattern } from '../places.ts'
import { pathOfRegex } from '../segments.ts'
import type { Atom } from './rule.ts'

/** Which requests one alternative of a rule takes. */
export interface Matcher {
  /** Undefined for all hosts. */
  readonly hosts: readonly string[] | undefined
  /** Expressions of hosts without a translation. */
  readonly hostExpressions: readonly string[]
  /** Undefined for all paths. */
  readonly paths: readonly Pattern[] | undefined
  /** Paths that it does not take. */
  readonly notPaths: readonly Pattern[]
  readonly methods: readonly string[] | undefined
  readonly when: JsonObject
  /** Parts without a translation: what is matched is less than the rest says. */
  readonly unknown: readonly string[]
}

/** Translates one alternative of a rule. */
export function matcherOf(atoms: readonly Atom[]): Matcher {
  const unknown: string[] = []
  const hostExpressions: string[] = []
  const when: JsonObject = {}
  let hosts: string[] | undefined
  let paths: Pattern[] | undefined
  let methods: string[] | undefined
  const notPaths: Pattern[] = []
  const condition = (key: string, value: Json): void => {
    if (when[key] === undefined) when[key] = value
    else unknown.push(key)
  }
  for (const { name, args, isNegated } of atoms) {
    const text = `${isNegated ? '!' : ''}${name}(${args.join(', ')})`
    const [first = '', second] = args
    if (isNegated) {
      const isPlain = (name === 'Path' || name === 'PathPrefix') && args.every((arg) => !arg.includes('{'))
      if (isPlain) notPaths.push(...args.flatMap((arg) => patternOf(name, arg) ?? []))
      else unknown.push(text)
      continue
    }
    if (name === 'Host' && hosts === undefined) hosts = args.map(lowerCase)
    else if (name === 'HostRegexp' && hosts === undefined) {
      const known = args.map(hostOfExpression)
      if (known.every((host) => host !== undefined)) hosts = known
      else {
        hostExpressions.push(...args)
        unknown.push(text)
      }
    } else if ((name === 'Path' || name === 'PathPrefix' || name === 'PathRegexp') && paths === undefined) {
      const found = args.map((arg) => patternOf(name, arg))
      paths = found.flatMap((each) => (each === undefined ? [] : [each]))
      if (paths.length < found.length) {
        unknown.push(text)
        paths = undefined
      }
    } else if (name === 'Method' && methods === undefined)
      methods = args.map((method) => method.toUpperCase())
    else if ((name === 'Header' || name === 'Headers') && second !== undefined)
      condition(`header:${first.toLowerCase()}`, second)
    else if (name === 'Query' && args.length > 0) {
      const [key = '', value] = second === undefined ? first.split('=', 2) : [first, second]
      condition(`query:${key}`, value ?? true)
    } else if (name === 'ClientIP') condition('client.ip', [...args])
    else unknown.push(text)
  }
  return { hosts, hostExpressions, paths, notPaths, methods, when, unknown }
}

// Names of variables keep their case.
const lowerCase = (host: string): string =>
  host.replaceAll(/\$\{[^}]*\}|[A-Z]+/g, (part) => (part.startsWith('$') ? part : part.toLowerCase()))

/** Returns a host for an expression of one label and a fixed domain. */
function hostOfExpression(written: string): string | undefined {
  const domain =
    /^(?:\^?(?:\[(?:a-z|A-Z|0-9|a-zA-Z0-9|-|\\.|_|\^\.)+\][+*]|\(\[\^\.\]\+\))\\\.|\{\w+:(?:\[[\w^.-]+\][+*])\}\.)((?:[\w-]+\\?\.)+[\w-]+)\$?$/.exec(
      written
    )?.[1]
  return domain === undefined ? undefined : `*.${domain.replaceAll('\\', '').toLowerCase()}`
}

function patternOf(name: string, written: string): Pattern | undefined {
  if (name === 'PathRegexp') {
    const found = pathOfRegex(written)
    const prefix = /^\^((?:[\w/-]|\\?\.(?![*+?]))*)/.exec(written)?.[1]?.replaceAll('\\', '') ?? ''
    return found === undefined ? undefined : { text: written, path: found.path, prefix }
  }
  if (!written.includes('{')) return { text: name === 'Path' ? written : `${written}*` }
  // Version 2 has parameters such as {id:[0-9]+} in paths.
  const path = written
    .split('/')
    .map((segment) => {
      const [, parameter, expression] = /^\{(\w+)(?::(.+))?\}$/.exec(segment) ?? []
      if (parameter !== undefined) return `:${parameter}${expression === undefined ? '' : `(${expression})`}`
      return segment === '' ? '' : pathText(segment).slice(1)
    })
    .join('/')
  const isKnown = !/\{/.test(path.replaceAll(/\(.*?\)/g, ''))
  return isKnown
    ? {
        text: written,
        path: name === 'Path' ? path : `${path.replace(/\/$/, '')}/*`,
        prefix: written.slice(0, written.indexOf('{'))
      }
    : undefined
}
