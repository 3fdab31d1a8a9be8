import type { JsonObject } from '../json.ts'
import { covers, type Place } from '../places.ts'
import type { SourceLine } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { HANDLERS } from './handlers.ts'
import { isConditional, type Matcher, matcherOf, namedMatchers } from './matchers.ts'
import type { Line } from './parse.ts'
import { stripOf } from './places.ts'

/** A request's way through a site, at one place and under some conditions. */
export interface Visit {
  readonly translation: Translation
  readonly place: Place
  readonly host: string | undefined
  /** The conditions that hold, and those that were asked for. */
  readonly chosen: ReadonlySet<string>
  readonly asked: Map<string, { matcher: Matcher; isGuard: boolean }>
  readonly route: JsonObject
  readonly doubts: { line: SourceLine; text: string }[]
  /** The path as the handlers see it. */
  base: string
  root: string | undefined
  /** The folder and the fallback of `try_files`. */
  fallback: string | undefined
  /** Whether `try_files` looks for pages without their extension. */
  cleanUrls: boolean
  /** What `file_server` serves, for all places alike. */
  served: readonly (string | undefined)[] | undefined
  /** A path that `rewrite` puts in place of the whole one. */
  whole: string | undefined
}

/** What a directive does at a place: `true` if it answers the request. */
export type Handler = (line: Line, args: readonly string[], visit: Visit) => boolean

/** Sends a visit through the directives of a block; returns whether one of them answers. */
export function visitBlock(
  lines: readonly Line[],
  visit: Visit,
  outer: ReadonlyMap<string, Matcher>,
  order: 'sorted' | 'as written'
): boolean {
  const named = namedMatchers(lines, outer)
  const directives = lines.filter(({ words: [name = ''] }) => !name.startsWith('@'))
  const ordered = order === 'sorted' ? sorted(directives, named) : directives
  let isHandled = false
  for (const line of ordered) {
    const [name = '', ...words] = line.words
    const { matcher, args } = matcherOf(words, named)
    const isHandle = name === 'handle' || name === 'handle_path'
    // The first `handle` that matches is the only one.
    if ((isHandle && isHandled) || !holds(matcher, line, visit)) continue
    if (refusesOthers(matcher, line)) {
      limitAddresses(matcher, visit)
      continue
    }
    if (isHandle) isHandled = true
    if (isHandle || name === 'route') {
      const before = visit.base
      if (name === 'handle_path') visit.base = visit.base.slice(stripOf(matcher).length)
      if (visitBlock(line.block ?? [], visit, named, name === 'route' ? 'as written' : 'sorted')) return true
      visit.base = before
      continue
    }
    const handler = Object.hasOwn(HANDLERS, name) ? HANDLERS[name] : undefined
    if (handler === undefined) visit.doubts.push({ line, text: line.words.join(' ') })
    else if (handler(line, args, visit)) return true
  }
  return false
}

function holds(matcher: Matcher, line: Line, visit: Visit): boolean {
  const { rest } = visit.place
  const isHere = (pattern: string): boolean => covers(pattern, visit.base.toLowerCase(), rest)
  if (matcher.hosts !== undefined && !matcher.hosts.includes(visit.host ?? '')) return false
  if (matcher.paths !== undefined && !matcher.paths.some(isHere)) return false
  if (matcher.notPaths.some(isHere)) return false
  if (matcher.unknown !== undefined) {
    if (isGuard(line)) visit.doubts.push({ line, text: `${line.words.join(' ')}: ${matcher.unknown}` })
    else visit.translation.missing(line, `${line.words.join(' ')}: ${matcher.unknown}`, visit.route)
    return false
  }
  if (!isConditional(matcher) || refusesOthers(matcher, line)) return true
  const key = JSON.stringify([matcher.methods, matcher.when, matcher.notAddresses])
  visit.asked.set(key, { matcher, isGuard: isGuard(line) || visit.asked.get(key)?.isGuard === true })
  return visit.chosen.has(key)
}

/** Returns whether a directive refuses all requests but those of some addresses, or only those of some. */
function refusesOthers({ methods, when, notAddresses }: Matcher, line: Line): boolean {
  const keys = Object.keys(when)
  const isByAddress =
    methods === undefined &&
    (notAddresses !== undefined ? keys.length === 0 : keys.length === 1 && keys[0] === 'client.ip')
  return isByAddress && isRefusal(line)
}

function isRefusal({ words, block = [] }: Line): boolean {
  const [name = '', ...args] = words
  if (name === 'abort') return true
  if (name === 'respond' || name === 'error') return args.some((arg) => /^[45]\d\d$/.test(arg))
  return (
    (name === 'handle' || name === 'route') &&
    block.length === 1 &&
    block[0] !== undefined &&
    isRefusal(block[0])
  )
}

function limitAddresses({ notAddresses, when }: Matcher, { route, doubts, translation }: Visit): void {
  const access = { ...(route['ipAccess'] as JsonObject | undefined) }
  if (notAddresses === undefined)
    access['deny'] = [...[access['deny'] ?? []].flat(), ...[when['client.ip'] ?? []].flat()]
  else if (access['allow'] === undefined) access['allow'] = [...notAddresses]
  else doubts.push({ line: { file: '', line: 0 }, text: 'several lists of allowed addresses' })
  route['ipAccess'] = access
  translation.done()
}

/** Returns whether a directive could refuse requests. */
export function isGuard(line: Line): boolean {
  const [name = ''] = line.words
  if (/^(?:handle|handle_path|route)$/.test(name)) return (line.block ?? []).some(isGuard)
  return (
    isRefusal(line) ||
    /^(?:basic_?auth|forward_auth)$/.test(name) ||
    (!name.startsWith('@') && !Object.hasOwn(HANDLERS, name))
  )
}

const ORDER =
  'tracing map vars fs root log_append log_skip header copy_response_headers request_body redir method rewrite uri try_files basic_auth basicauth forward_auth request_header encode push intercept templates invoke handle handle_path route abort error respond metrics reverse_proxy php_fastcgi file_server acme_server'.split(
    ' '
  )

// As Caddy sorts them: by kind, then the longest path first, those without a matcher last.
function sorted(lines: readonly Line[], named: ReadonlyMap<string, Matcher>): Line[] {
  // A directive of a module may be anywhere, and comes first.
  const rank = ({ words: [name = ''] }: Line): number =>
    ORDER.indexOf(name === 'handle_path' ? 'handle' : name)
  const length = ({ words: [, ...words] }: Line): number => {
    const { matcher } = matcherOf(words, named)
    if (matcher.paths?.length === 1) return (matcher.paths[0] ?? '').length
    return words[0]?.startsWith('@') === true ? 0.5 : 0
  }
  return lines.toSorted((a, b) => rank(a) - rank(b) || length(b) - length(a))
}
