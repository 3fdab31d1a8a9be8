import { isDeepStrictEqual } from 'node:util'
import { close } from '../close.ts'
import { isJsonObject, type Json, type JsonObject } from '../json.ts'
import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'
import type { KongPath } from './paths.ts'

/** A route, with what it comes from and where it is put. */
export interface Draft {
  readonly route: JsonObject
  readonly paths: readonly KongPath[]
  readonly hosts: readonly string[]
  readonly methods: readonly string[]
  readonly node: SourceNode
  readonly place: Json[]
}

/** Puts routes into their places, so that no request meets a route with fewer gates than the one that Kong would choose. */
export function keepOrder(drafts: readonly Draft[], translation: Translation): void {
  const kept: Draft[] = []
  for (const draft of drafts) {
    const same = kept.find((each) => isSamePlace(each.route, draft.route))
    // A closed route and another one at the same place: which requests are whose can't be said.
    if (same !== undefined && (isClosed(same.route) || isClosed(draft.route))) {
      if (!isClosed(same.route))
        close(
          translation,
          same.route,
          draft.node.line,
          `a route at the path of another one, ${String(draft.route['name'])}`
        )
      for (const text of translation.commentsOf(draft.route)) translation.comment(same.route, text)
      continue
    }
    kept.push(draft)
    draft.place.push(draft.route)
  }
  for (const draft of kept) for (const path of draft.paths) addWidePath(draft, path, { kept, translation })
  for (const first of kept)
    for (const second of kept) if (first !== second) keepWinner(first, second, translation)
}

const isClosed = ({ respond }: JsonObject): boolean => isDeepStrictEqual(respond, { status: 403 })

const isSamePlace = (a: JsonObject, b: JsonObject): boolean =>
  ['path', 'host', 'methods', 'when'].every((key) => isDeepStrictEqual(a[key], b[key]))

/** Whether a route asks for everything that another one asks for. */
function isAsStrict(route: JsonObject, other: JsonObject): boolean {
  if (isClosed(route)) return true
  if (isClosed(other)) return false
  return (
    (other['ipAccess'] === undefined || isDeepStrictEqual(route['ipAccess'], other['ipAccess'])) &&
    (other['rateLimit'] === undefined || isDeepStrictEqual(route['rateLimit'], other['rateLimit'])) &&
    (other['auth'] === undefined || isAuthAsStrict(route['auth'], other['auth']))
  )
}

function isAuthAsStrict(auth: Json | undefined, other: Json): boolean {
  if (!isJsonObject(auth) || !isJsonObject(other)) return false
  const hasRequired = other['require'] === undefined || isDeepStrictEqual(auth['require'], other['require'])
  const issuersOf = ({ jwt }: JsonObject): Json[] => [jwt ?? []].flat()
  return (
    hasRequired &&
    ['by', 'optional'].every((key) => isDeepStrictEqual(auth[key], other[key])) &&
    issuersOf(auth).every((issuer) => issuersOf(other).some((each) => isDeepStrictEqual(each, issuer)))
  )
}

/** Whether a request could meet both, by their hosts and methods. */
const overlap = (a: Draft, b: Draft): boolean =>
  (a.hosts.length === 0 ||
    b.hosts.length === 0 ||
    a.hosts.some((host) => b.hosts.includes(host) || host.includes('*')) ||
    b.hosts.some((host) => host.includes('*'))) &&
  (a.methods.length === 0 || b.methods.length === 0 || a.methods.some((method) => b.methods.includes(method)))

/** Kong's prefix /orders also takes /ordersheet, which must not fall to a route with fewer gates. */
function addWidePath(
  draft: Draft,
  { wide, prefix }: KongPath,
  { kept, translation }: { kept: readonly Draft[]; translation: Translation }
): void {
  if (wide === undefined) return
  const falls = kept.some(
    (each) =>
      each !== draft &&
      overlap(each, draft) &&
      !isAsStrict(each.route, draft.route) &&
      !comesFirst(each, draft) &&
      each.paths.some((path) => isWider(path, prefix))
  )
  if (!falls) return
  const { route } = draft
  const { proxy } = route
  if (isJsonObject(proxy) && proxy['rewrite'] !== undefined) {
    const matchers = Object.entries(route).filter(([key]) => ['host', 'methods', 'when'].includes(key))
    const refusal: JsonObject = { ...Object.fromEntries(matchers), path: wide, respond: { status: 403 } }
    translation.comment(
      refusal,
      `Kong's prefix ${prefix} also takes paths that go on in the same segment; ours does not.`
    )
    draft.place.push(refusal)
  } else route['path'] = [route['path'] ?? [], wide].flat()
}

/** Whether a path takes everything that begins with a prefix, and more. */
const isWider = ({ prefix, expression }: KongPath, text: string): boolean =>
  expression === undefined ? prefix.length < text.length && text.startsWith(prefix) : expression.test(text)

/** Closes a route that wins here, by its more specific path, where Kong would choose one with other gates. */
function keepWinner(first: Draft, second: Draft, translation: Translation): void {
  if (isClosed(second.route) || isAsStrict(second.route, first.route) || !overlap(first, second)) return
  const isCovered = second.paths.some(({ prefix }) => first.paths.some((path) => isWider(path, prefix)))
  if (!isCovered || !comesFirst(first, second)) return
  if (first.hosts.length > 0 && second.hosts.length === 0) return
  close(
    translation,
    second.route,
    second.node.line,
    `Kong prefers the route ${String(first.route['name'])}, which has other plugins, by its number of conditions or its expression`
  )
}

/** Whether Kong tries a route before another one that has a longer path. */
function comesFirst(first: Draft, second: Draft): boolean {
  const [a, b] = [conditionsOf(first), conditionsOf(second)]
  if (a !== b) return a > b
  const isExpression = ({ paths }: Draft): boolean => paths.some(({ expression }) => expression !== undefined)
  return isExpression(first) && !isExpression(second)
}

const conditionsOf = ({ node }: Draft): number =>
  ['hosts', 'methods', 'headers', 'snis', 'paths'].filter((key) => node.get(key).exists).length
