import { isDeepStrictEqual } from 'node:util'
import { ROUTABLE } from '../../lib/http/methods.ts'
import { isJsonObject, type Json, type JsonObject } from '../json.ts'
import { globsOf } from '../regex.ts'
import type { Line } from './parse.ts'

/** Which requests a directive is for. Paths are patterns of Caddy, and compared regardless of case. */
export interface Matcher {
  readonly paths: readonly string[] | undefined
  readonly notPaths: readonly string[]
  readonly hosts: readonly string[] | undefined
  readonly methods: readonly string[] | undefined
  readonly when: JsonObject
  /** Addresses for which it does not hold. */
  readonly notAddresses: readonly string[] | undefined
  /** What of it has no translation. */
  readonly unknown: string | undefined
}

export const EVERYTHING: Matcher = {
  paths: undefined,
  notPaths: [],
  hosts: undefined,
  methods: undefined,
  when: {},
  notAddresses: undefined,
  unknown: undefined
}

/** Returns the matcher at the front of the words of a directive, and the words after it. */
export function matcherOf(
  words: readonly string[],
  named: ReadonlyMap<string, Matcher>
): { matcher: Matcher; args: readonly string[] } {
  const [first = '', ...rest] = words
  if (first === '*') return { matcher: EVERYTHING, args: rest }
  if (first.startsWith('/')) return { matcher: { ...EVERYTHING, ...pathsOf([first]) }, args: rest }
  if (!first.startsWith('@')) return { matcher: EVERYTHING, args: words }
  return { matcher: named.get(first) ?? { ...EVERYTHING, unknown: first }, args: rest }
}

/** Reads the named matchers of a block. */
export function namedMatchers(
  lines: readonly Line[],
  outer: ReadonlyMap<string, Matcher>
): Map<string, Matcher> {
  const named = new Map(outer)
  for (const { words, block } of lines) {
    const [name = '', ...rest] = words
    if (!name.startsWith('@')) continue
    const parts = [...(rest.length > 0 ? [rest] : []), ...(block ?? []).map((line) => line.words)]
    const nested = (block ?? []).some((line) => line.block !== undefined)
    named.set(name, nested ? { ...EVERYTHING, unknown: name } : parts.reduce(withPart, EVERYTHING))
  }
  return named
}

function withPart(matcher: Matcher, [kind = '', ...args]: readonly string[]): Matcher {
  const unknown = { ...matcher, unknown: [kind, ...args].join(' ') }
  if (args.some((arg) => /\{/.test(arg))) return unknown
  if (kind === 'path') {
    const found = pathsOf(args)
    if (found.unknown !== undefined || matcher.paths !== undefined || matcher.when['path'] !== undefined)
      return unknown
    return { ...matcher, paths: found.paths, when: { ...matcher.when, ...found.when } }
  }
  if (kind === 'host')
    return { ...matcher, hosts: [...(matcher.hosts ?? []), ...args.map((arg) => arg.toLowerCase())] }
  if (kind === 'method')
    return { ...matcher, methods: [...(matcher.methods ?? []), ...args.map((arg) => arg.toUpperCase())] }
  if (kind === 'path_regexp') {
    const written = args.at(-1) ?? ''
    const found = globsOf(written.replace(/^\(\?i\)/, ''), { ignoresCase: written.startsWith('(?i)') })
    return found?.isExact === true && matcher.paths === undefined
      ? withCondition(matcher, 'path', [...found.globs])
      : unknown
  }
  if (kind === 'header') return withHeader(matcher, args) ?? unknown
  if (kind === 'query') {
    const pairs = args.map((arg) => arg.split('=', 2))
    const [only] = pairs
    return pairs.length === 1 && only?.[0]
      ? withCondition(matcher, `query:${only[0]}`, [only[1] ?? ''])
      : unknown
  }
  if (kind === 'protocol' && /^https?$/.test(args[0] ?? ''))
    return withCondition(matcher, 'scheme', [args[0] ?? ''])
  if (kind === 'remote_ip' || kind === 'client_ip')
    return withCondition(matcher, 'client.ip', addressesOf(args))
  return kind === 'not' ? withoutPart(matcher, args, unknown) : unknown
}

function withoutPart(matcher: Matcher, [kind = '', ...args]: readonly string[], unknown: Matcher): Matcher {
  if (kind === 'path') {
    const found = pathsOf(args)
    return found.unknown === undefined && found.paths !== undefined
      ? { ...matcher, notPaths: [...matcher.notPaths, ...found.paths] }
      : unknown
  }
  if (kind === 'method' && matcher.methods === undefined) {
    const excepted = new Set(args.map((arg) => arg.toUpperCase()))
    return { ...matcher, methods: ROUTABLE.filter((method) => !excepted.has(method)) }
  }
  if ((kind === 'remote_ip' || kind === 'client_ip') && matcher.notAddresses === undefined)
    return { ...matcher, notAddresses: addressesOf(args) }
  if (kind === 'header' && (args[1] === undefined || args[1] === '*'))
    return { ...matcher, when: { ...matcher.when, [`header:${(args[0] ?? '').toLowerCase()}`]: false } }
  return unknown
}

function withHeader(matcher: Matcher, [name = '', value]: readonly string[]): Matcher | undefined {
  if (!/^[\w-]+$/.test(name)) return undefined
  const key = `header:${name.toLowerCase()}`
  if (value === undefined || value === '*') return { ...matcher, when: { ...matcher.when, [key]: true } }
  return withCondition(matcher, key, [value])
}

// Several values of one key are alternatives.
function withCondition(matcher: Matcher, key: string, values: readonly string[]): Matcher {
  const known = matcher.when[key]
  const all = [...(known === undefined ? [] : [known].flat()), ...values] as Json[]
  return { ...matcher, when: { ...matcher.when, [key]: all.length === 1 ? (all[0] ?? '') : all } }
}

const addressesOf = (args: readonly string[]): string[] =>
  args
    .filter((arg) => arg !== 'forwarded')
    .flatMap((arg) => (arg === 'private_ranges' ? ['private', 'loopback'] : [arg]))

/** Reads patterns: those that only a condition can say make all of them one. */
function pathsOf(args: readonly string[]): {
  paths: readonly string[] | undefined
  when: JsonObject
  unknown: string | undefined
} {
  const patterns = args.map((arg) => arg.toLowerCase())
  const isPlace = patterns.every((pattern) => pattern === '*' || /^\/[^*]*(?:\*|\/\*)?$/.test(pattern))
  if (isPlace) return { paths: patterns, when: {}, unknown: undefined }
  const isGlob = patterns.every((pattern) => !/[^*]\*[^*]/.test(pattern))
  const globs = isGlob ? patterns.flatMap(caseVariants) : []
  return !isGlob || globs.length > MAX_VARIANTS
    ? { paths: undefined, when: {}, unknown: `path ${args.join(' ')}` }
    : { paths: undefined, when: { path: globs.length === 1 ? (globs[0] ?? '') : globs }, unknown: undefined }
}

const MAX_VARIANTS = 128

// A condition compares letters as they are.
function caseVariants(pattern: string): string[] {
  let variants = ['']
  for (const char of pattern) {
    const forms = char.toUpperCase() === char ? [char] : [char, char.toUpperCase()]
    if (variants.length > MAX_VARIANTS) return Array<string>(MAX_VARIANTS + 1).fill('')
    variants = variants.flatMap((each) => forms.map((form) => each + form))
  }
  return variants
}

/** Returns whether a matcher depends on more than host and path. */
export const isConditional = ({ methods, when, notAddresses }: Matcher): boolean =>
  methods !== undefined || notAddresses !== undefined || Object.keys(when).length > 0

/** Returns the conditions of several matchers together; undefined if two are about the same thing. */
export function allOf(matchers: readonly Matcher[]): { methods?: string[]; when?: JsonObject } | undefined {
  const when: JsonObject = {}
  let methods: readonly string[] | undefined
  for (const matcher of matchers) {
    if (matcher.notAddresses !== undefined) return undefined
    for (const [key, value] of Object.entries(matcher.when)) {
      if (when[key] !== undefined && !isDeepStrictEqual(when[key], value)) return undefined
      when[key] = value
    }
    if (matcher.methods !== undefined && methods !== undefined) return undefined
    methods = matcher.methods ?? methods
  }
  return {
    ...(methods === undefined ? {} : { methods: [...methods] }),
    ...(isJsonObject(when) && Object.keys(when).length > 0 ? { when } : {})
  }
}
