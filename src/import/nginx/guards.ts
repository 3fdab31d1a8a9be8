import type { JsonObject } from '../json.ts'
import type { Translation } from '../translation.ts'
import { literal, WHOLE_MARK } from '../values.ts'
import type { Directive } from './parse.ts'
import type { Scope } from './scope.ts'

/** Why a location can't be opened: a directive that could refuse requests has no translation. */
export interface Doubt {
  readonly directive: Directive
  readonly text: string
}

/** The gates of a location. */
export interface Guards {
  readonly options: JsonObject
  readonly doubts: readonly Doubt[]
  /** Whether no address is allowed. */
  readonly isRefused: boolean
}

/** Makes the options of `auth_request`; undefined if its location can't be found or translated. */
export type ForwardAuth = (uri: string, scope: Scope) => JsonObject | undefined

/** Translates allow, deny, auth_basic, auth_request and satisfy. */
export function guardsOf(scope: Scope, forward: ForwardAuth): Guards {
  const doubts: Doubt[] = []
  const options: JsonObject = {}
  const access = accessOf(scope, doubts)
  const auth = authOf(scope, forward, doubts)
  const satisfy = scope.last('satisfy')
  if (satisfy?.args[0] === 'any' && auth !== undefined && access !== undefined) {
    // A refused address may still have a credential, and an allowed one needs none.
    const allow = access.options['allow']
    if (access.isRefused) return { options: { auth }, doubts, isRefused: false }
    if (allow === undefined || access.options['deny'] !== undefined)
      doubts.push({ directive: satisfy, text: 'satisfy any with these addresses' })
    else return { options: { auth: { ...auth, exempt: allow } }, doubts, isRefused: false }
  }
  if (auth !== undefined) options['auth'] = auth
  if (access !== undefined && Object.keys(access.options).length > 0) options['ipAccess'] = access.options
  return { options, doubts, isRefused: access?.isRefused === true }
}

function accessOf(scope: Scope, doubts: Doubt[]): { options: JsonObject; isRefused: boolean } | undefined {
  const rules = scope.nearest('allow', 'deny')
  if (rules.length === 0) return undefined
  const allow: string[] = []
  const deny: string[] = []
  for (const directive of rules) {
    const { name, args } = directive
    const address = args[0] ?? ''
    if (address === 'all') {
      // The first rule that matches decides.
      if (name === 'deny')
        return allow.length === 0
          ? { options: {}, isRefused: true }
          : { options: listed(allow, deny), isRefused: false }
      break
    }
    if (address === 'unix:') continue
    if (address.includes('$')) doubts.push({ directive, text: `${name} ${address}` })
    else if (name === 'allow') {
      if (deny.length > 0 && !isLastDeny(rules)) continue
      allow.push(literal(address))
    } else deny.push(literal(address))
  }
  // All others are allowed; a denied range stays denied where an address in it was allowed before.
  return { options: deny.length === 0 ? {} : { deny }, isRefused: false }
}

const isLastDeny = (rules: readonly Directive[]): boolean =>
  rules.some(({ name, args }) => name === 'deny' && args[0] === 'all')

const listed = (allow: string[], deny: string[]): JsonObject =>
  deny.length === 0 ? { allow } : { allow, deny }

function authOf(scope: Scope, forward: ForwardAuth, doubts: Doubt[]): JsonObject | undefined {
  const basic = scope.last('auth_basic')
  const request = scope.last('auth_request')
  const auth: JsonObject = {}
  if (basic !== undefined && basic.args[0] !== 'off') {
    const file = scope.value('auth_basic_user_file')
    if (file === undefined || file.includes('$') || basic.args[0]?.includes('$') === true)
      doubts.push({ directive: basic, text: 'auth_basic without a file of users' })
    else Object.assign(auth, { users: { file: literal(file) }, basic: true })
  }
  if (request !== undefined && request.args[0] !== 'off') {
    const options = forward(request.args[0] ?? '', scope)
    if (options === undefined)
      doubts.push({ directive: request, text: `auth_request ${request.args.join(' ')}` })
    else Object.assign(auth, { forward: options })
  }
  if (auth['basic'] === true && auth['forward'] !== undefined && scope.value('satisfy') !== 'any')
    auth['by'] = ['basic+forward']
  return Object.keys(auth).length === 0 ? undefined : auth
}

/** A zone of `limit_req_zone` or `limit_conn_zone`. */
export interface Zone {
  readonly by: string
  readonly max: number | string
  readonly window: string
}

/** Reads the zones of a config by their names; those with a key that can't be translated are left out. */
export function zonesOf(directives: readonly Directive[]): ReadonlyMap<string, Zone> {
  const zones = new Map<string, Zone>()
  for (const { name, args } of directives) {
    if (name !== 'limit_req_zone' && name !== 'limit_conn_zone') continue
    const zone = /zone=([^:]+)/.exec(args.join(' '))?.[1]
    const rate = /rate=(.+?)r\/([sm])/.exec(args.join(' '))
    const by = keyOf(args[0] ?? '')
    if (zone !== undefined && by !== undefined)
      zones.set(zone, { by, max: numberOf(rate?.[1] ?? '0'), window: rate?.[2] === 'm' ? '1m' : '1s' })
  }
  return zones
}

// A variable of the environment may stand for a number.
const numberOf = (text: string): number | string => (WHOLE_MARK.test(text) ? literal(text) : Number(text))

function keyOf(key: string): string | undefined {
  if (/^\$(?:binary_)?remote_addr$/.test(key)) return 'ip'
  if (/^\$(?:server_name|host|http_host)$/.test(key)) return 'route'
  const [, header, cookie] = /^\$(?:http_(\w+)|cookie_(\w+))$/.exec(key) ?? []
  if (header !== undefined) return `header:${header.replaceAll('_', '-')}`
  return cookie === undefined ? undefined : `cookie:${cookie}`
}

/** Translates limit_req and limit_conn; a limit without a translation is a doubt. */
export function limitsOf(
  scope: Scope,
  zones: ReadonlyMap<string, Zone>,
  doubts: Doubt[]
): JsonObject | undefined {
  const limits: JsonObject[] = []
  for (const directive of scope.nearest('limit_req')) {
    const zone = zones.get(/zone=(\S+)/.exec(directive.args.join(' '))?.[1] ?? '')
    if (zone === undefined || zone.max === 0 || Number.isNaN(zone.max)) {
      doubts.push({ directive, text: `limit_req ${directive.args.join(' ')}` })
      continue
    }
    // nginx lets one request through beside those of the burst.
    const burst = Number(/burst=(\d+)/.exec(directive.args.join(' '))?.[1] ?? 0) + 1
    limits.push({ max: zone.max, window: zone.window, ...by(zone), algorithm: 'tokenBucket', burst })
  }
  for (const directive of scope.nearest('limit_conn')) {
    const zone = zones.get(directive.args[0] ?? '')
    const most = Number(directive.args[1])
    if (zone === undefined || !(most > 0))
      doubts.push({ directive, text: `limit_conn ${directive.args.join(' ')}` })
    else limits.push({ ...by(zone), maxInFlight: most })
  }
  const [first, ...others] = limits
  if (first === undefined) return undefined
  return others.length === 0
    ? first
    : { ...first, also: Object.fromEntries(others.map((each, i) => [`limit${i + 2}`, each])) }
}

const by = (zone: Zone): JsonObject => (zone.by === 'ip' ? {} : { by: zone.by })

/** Notes the doubts of a location. */
export function noteDoubts(doubts: readonly Doubt[], route: JsonObject, translation: Translation): void {
  for (const { directive, text } of doubts)
    translation.missing(directive, `${text}; closed until you have translated it`, route)
}
