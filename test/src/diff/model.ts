// A model of a gateway that shares no code with it: which route a request comes to, and what its gates say.

/** A route of a config that the model understands. */
export interface ModelRoute {
  readonly name: string
  readonly path: string
  readonly host?: string
  readonly methods?: readonly string[]
  readonly when?: Readonly<Record<string, string | boolean>>
  readonly auth?: ModelAuth | boolean
  readonly ipAccess?: ModelIpAccess | false
}

export interface ModelAuth {
  readonly apiKeys?: { readonly list: readonly ModelKey[]; readonly from?: readonly string[] }
  readonly basic?: boolean
  readonly users?: { readonly list: readonly ModelUser[] }
  readonly by?: readonly string[]
  readonly require?: { readonly roles?: readonly string[]; readonly scopes?: readonly string[] }
  readonly optional?: boolean
  readonly mode?: string
  readonly exempt?: readonly string[]
}

export interface ModelKey {
  readonly id: string
  readonly secret: string
  readonly roles?: readonly string[]
  readonly scopes?: readonly string[]
}

export interface ModelUser {
  readonly name: string
  readonly secret: string
  readonly roles?: readonly string[]
}

export interface ModelIpAccess {
  readonly allow?: readonly string[]
  readonly deny?: readonly string[]
  readonly mode?: string
}

export interface ModelConfig {
  readonly auth?: ModelAuth
  readonly ipAccess?: ModelIpAccess
  readonly routes: readonly ModelRoute[]
}

export interface ModelRequest {
  readonly method: string
  readonly host: string
  readonly path: string
  readonly query: string
  readonly header: string | undefined
  readonly ip: string
  readonly credentials: ModelCredentials
}

/** What a request has of credentials: the values of two headers for keys, and "name:password". */
export interface ModelCredentials {
  readonly 'x-api-key'?: string
  readonly 'x-other-key'?: string
  readonly user?: string
}

/** What becomes of a request: the route, and whether its gates let it pass. */
export interface Outcome {
  readonly status: 404 | 405 | 401 | 403 | 200
  readonly route: string | undefined
}

/** Decides a request. */
export function outcomeOf(config: ModelConfig, request: ModelRequest): Outcome {
  const found = routeOf(config, request)
  return typeof found === 'number'
    ? { status: found, route: undefined }
    : { status: verdictOf(config, found, request), route: found.name }
}

/** Finds the route of a request, whoever sends it; the status where there is none. */
export function routeOf(
  config: ModelConfig,
  request: Omit<ModelRequest, 'credentials'>
): ModelRoute | 404 | 405 {
  const levels = config.routes.map((route) => hostLevel(route.host, request.host))
  for (const level of [2, 1, 0]) {
    const ofHost = config.routes.filter(
      (route, i) => levels[i] === level && rankOf(route.path, request.path) !== undefined
    )
    if (ofHost.length > 0) return atPath(ofHost, request)
  }
  return 404
}

function atPath(
  routes: readonly ModelRoute[],
  request: Omit<ModelRequest, 'credentials'>
): ModelRoute | 404 | 405 {
  const ranks = routes.map((route) => rankOf(route.path, request.path) ?? '')
  const best = ranks.toSorted()[0]
  const places = routes.filter((_, i) => ranks[i] === best)
  const hasMethod = ({ methods }: ModelRoute): boolean =>
    methods === undefined ||
    methods.includes(request.method) ||
    (request.method === 'HEAD' && methods.includes('GET'))
  // Of patterns that differ by their expressions, the first in the file that has the method.
  const first = places.find(hasMethod)
  const allowed = places.filter(
    (route) => hasMethod(route) && shapeOf(route.path) === shapeOf(first?.path ?? '')
  )
  if (allowed.length === 0) return 405
  const conditions = ({ when = {} }: ModelRoute): number => Object.keys(when).length
  // With equally many, a header comes first, then the query, then the address.
  const kind = ({ when = {} }: ModelRoute): number =>
    ['header', 'query', 'client'].findIndex((each) => Object.keys(when)[0]?.startsWith(each))
  const ordered = allowed.toSorted(
    (a, b) =>
      Number(a.methods === undefined) - Number(b.methods === undefined) ||
      conditions(b) - conditions(a) ||
      kind(a) - kind(b)
  )
  return ordered.find((route) => holds(route.when ?? {}, request)) ?? 404
}

const shapeOf = (path: string): string => path.replaceAll(/:\w+/g, ':')

function hostLevel(host: string | undefined, asked: string): number {
  if (host === undefined) return 0
  if (host === asked) return 2
  return host.startsWith('*.') && asked.slice(asked.indexOf('.')) === host.slice(1) ? 1 : -1
}

/** Ranks how specific a pattern is for a path, the most specific first; undefined where it does not match. */
function rankOf(pattern: string, path: string): string | undefined {
  const isOpen = pattern.endsWith('/*')
  const segments = (isOpen ? pattern.slice(0, -2) : pattern).split('/').slice(1)
  const parts = path.split('/').slice(1)
  let rank = ''
  for (const [i, segment] of segments.entries()) {
    const part = parts[i]
    if (segment === '' && part === '' && segments.length === 1) return '0'
    if (part === undefined || part === '') return undefined
    const expression = /\((.+)\)$/.exec(segment)?.[1]
    if (!segment.startsWith(':')) {
      if (segment !== part) return undefined
      rank += '0'
    } else if (expression === undefined) rank += '2'
    else if (new RegExp(`^(?:${expression})$`).test(part)) rank += '1'
    else return undefined
  }
  const rest = parts.slice(segments.length)
  if (isOpen) return `${rank}9`
  return rest.length === 0 || (rest.length === 1 && rest[0] === '') ? `${rank}8` : undefined
}

function holds(
  when: NonNullable<ModelRoute['when']>,
  { header, query, ip }: Omit<ModelRequest, 'credentials'>
): boolean {
  return Object.entries(when).every(([key, accepts]) => {
    if (key === 'client.ip') return isIn(ip, String(accepts))
    const value = key.startsWith('header') ? header : query === '' ? undefined : query.slice(3)
    if (typeof accepts === 'boolean') return (value !== undefined) === accepts
    return (
      value !== undefined &&
      (accepts.endsWith('*') ? value.startsWith(accepts.slice(0, -1)) : value === accepts)
    )
  })
}

/** Decides whether the gates of a route let a request pass. */
export function verdictOf(
  config: ModelConfig,
  route: ModelRoute,
  request: Pick<ModelRequest, 'ip' | 'credentials'>
): 200 | 401 | 403 {
  const ipAccess = route.ipAccess === false ? undefined : merged(config.ipAccess, route.ipAccess)
  if (ipAccess !== undefined && ipAccess.mode !== 'report') {
    const { allow, deny = [] } = ipAccess
    if (deny.some((range) => isIn(request.ip, range))) return 403
    if (allow !== undefined && !allow.some((range) => isIn(request.ip, range))) return 403
  }
  const own = route.auth
  const auth = own === false ? undefined : merged(config.auth, own === true ? {} : own)
  if (auth === undefined || auth.mode === 'report') return 200
  const callers = callersOf(auth, request.credentials)
  if (callers === 'wrong') return 401
  const found = alternativesOf(auth).find((names) => names.every((name) => callers[name] !== undefined))
  const caller = callers[found?.at(-1) ?? '']
  if (caller === undefined) {
    const isExempt =
      auth.require === undefined && (auth.exempt ?? []).some((range) => isIn(request.ip, range))
    return auth.optional === true || isExempt ? 200 : 401
  }
  const { roles, scopes = [] } = auth.require ?? {}
  if (roles !== undefined && !roles.some((role) => caller.roles?.includes(role) === true)) return 403
  return scopes.every((scope) => caller.scopes?.includes(scope) === true) ? 200 : 403
}

interface ModelCaller {
  readonly roles?: readonly string[]
  readonly scopes?: readonly string[]
}

/** Lists what is accepted: pairs first, then keys, then users. */
function alternativesOf({ apiKeys, basic, by }: ModelAuth): readonly (readonly string[])[] {
  const defined = [...(apiKeys === undefined ? [] : ['apiKeys']), ...(basic === true ? ['basic'] : [])]
  const pairs = (by ?? []).filter((each) => each.includes('+')).map((each) => each.split('+'))
  return [...pairs, ...defined.filter((name) => by?.includes(name) ?? true).map((name) => [name])]
}

/** Finds the callers of the strategies that are accepted; each credential of theirs has to be right. */
function callersOf(
  auth: ModelAuth,
  credentials: ModelCredentials
): Record<string, ModelCaller | undefined> | 'wrong' {
  const accepted = new Set(alternativesOf(auth).flat())
  const { apiKeys, users } = auth
  const keys = (accepted.has('apiKeys') ? (apiKeys?.from ?? ['header:x-api-key']) : []).flatMap(
    (place) => credentials[place.slice('header:'.length) as keyof ModelCredentials] ?? []
  )
  const ofKeys = keys.map((key) => apiKeys?.list.find(({ secret }) => secret === key))
  const asked = accepted.has('basic') ? credentials.user : undefined
  const user = users?.list.find(({ name, secret }) => asked === `${name}:${secret}`)
  if (ofKeys.includes(undefined) || (asked !== undefined && user === undefined)) return 'wrong'
  return { apiKeys: ofKeys[0], basic: user }
}

function merged<T extends object>(outer: T | undefined, inner: T | undefined): T | undefined {
  if (inner === undefined) return outer
  const all: Record<string, unknown> = { ...outer }
  for (const [key, value] of Object.entries(inner))
    all[key] =
      typeof value === 'object' && !Array.isArray(value) && typeof all[key] === 'object'
        ? { ...(all[key] as object), ...value }
        : value
  return all as T
}

const numberOf = (address: string): number =>
  address.split('.').reduce((value, part) => value * 256 + Number(part), 0)

function isIn(address: string, range: string): boolean {
  const [base = '', bits = '32'] = range.split('/')
  const size = 2 ** (32 - Number(bits))
  return Math.floor(numberOf(address) / size) === Math.floor(numberOf(base) / size)
}
