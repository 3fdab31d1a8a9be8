import { type JsonObject, objectAt } from '../json.ts'
import { durationOf } from '../names.ts'
import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import { goDuration } from './extra.ts'

/** What a gate is translated into. */
export interface Context {
  readonly route: JsonObject
  readonly translation: Translation
  /** Closes the route, once all that it has is translated. */
  readonly close: (node: SourceNode, text: string) => void
}

const VALIDATOR: ReadonlySet<string> = new Set([
  ...[
    'alg',
    'jwk_url',
    'jwk-url',
    'jwk_local_path',
    'issuer',
    'audience',
    'roles_key',
    'roles_key_is_nested',
    'roles',
    'scopes'
  ],
  ...[
    'scopes_key',
    'scopes_matcher',
    'propagate_claims',
    'cache',
    'cache_duration',
    'operation_debug',
    'cookie_key'
  ],
  ...['disable_jwk_security', 'leeway', 'auth_header_name', '@comment', 'propagate_token']
])

/** Translates auth/validator. */
export function addValidator(node: SourceNode, context: Context): void {
  const { route, translation, close } = context
  const jwt: JsonObject = { algorithms: [literal(node.get('alg').text ?? 'RS256')] }
  for (const key of ['issuer', 'audience'] as const) {
    const texts = node.get(key).texts.map(literal)
    if (texts.length > 0) jwt[key] = key === 'audience' && texts.length > 1 ? texts : (texts[0] ?? '')
  }
  const url = node.get('jwk_url').text ?? node.get('jwk-url').text
  const file = node.get('jwk_local_path').text
  const isShared = /^HS\d+$/.test(node.get('alg').text ?? '')
  if (isShared && (url !== undefined || file !== undefined)) {
    jwt['secret'] = translation.variable('JWT_SECRET', 'x'.repeat(64))
    translation.comment(
      jwt,
      `the secret, which is "k" of the key in ${url ?? file ?? ''}, decoded from base64url`
    )
  } else if (url !== undefined) jwt['jwks'] = keysAt(url, context)
  else if (file !== undefined) jwt['keys'] = literal(file)
  else close(node, 'auth/validator without keys')
  if (node.get('roles_key').exists) jwt['rolesClaim'] = literal(node.get('roles_key').text ?? '')
  if (node.get('scopes_key').exists) jwt['scopesClaim'] = literal(node.get('scopes_key').text ?? '')
  addPlaceOfTokens(node, jwt, context)
  const auth: JsonObject = { jwt }
  const require: JsonObject = {}
  if (node.get('roles').items.length > 0) require['roles'] = node.get('roles').texts.map(literal)
  if (node.get('scopes').items.length > 0) {
    require['scopes'] = node.get('scopes').texts.map(literal)
    if (node.get('scopes').items.length > 1 && node.get('scopes_matcher').text !== 'all')
      translation.comment(require, 'KrakenD asks for any of these scopes, and this for all of them.')
  }
  if (Object.keys(require).length > 0) auth['require'] = require
  const claims = node.get('propagate_claims').items.map((each) => each.texts)
  if (claims.length > 0)
    auth['identity'] = Object.fromEntries(
      claims.map(([claim = '', name = '']) => [
        literal(name.toLowerCase()),
        claim === 'sub' ? 'id' : `claims.${literal(claim)}`
      ])
    )
  for (const key of node.keys.filter((each) => !VALIDATOR.has(each)))
    close(node.get(key), `auth/validator: ${key}`)
  route['auth'] = auth
  translation.done()
}

function addPlaceOfTokens(node: SourceNode, jwt: JsonObject, { translation }: Context): void {
  const header = node.get('auth_header_name').text
  if (header !== undefined) jwt['from'] = [`header:${literal(header.toLowerCase())}`]
  if (node.get('cookie_key').exists)
    translation.missing(
      node.get('cookie_key').line,
      `auth/validator: tokens in the cookie ${node.get('cookie_key').text ?? ''}; send them in a header`,
      jwt
    )
}

/** Returns the place of keys: over plain HTTP, which an attacker in the network could change, they are asked for by an upstream. */
function keysAt(url: string, { translation }: Context): string | JsonObject {
  const [, origin = '', host = '', path = '/'] = /^(http:\/\/([^/]+))(\/.*)?$/.exec(url) ?? []
  if (origin === '') return literal(url)
  const upstreams = objectAt(translation.config, 'upstreams')
  const name = `keys-${host.replaceAll(/[^\w.-]+/g, '-')}`
  upstreams[name] ??= { url: literal(origin) }
  return { upstream: name, path: literal(path) }
}

/** Translates qos/ratelimit/router. */
export function addRateLimit(node: SourceNode, { route, close, translation }: Context): void {
  const window = durationOf(goDuration(node.get('every').text) ?? 1000)
  const quota = (rate: string, capacity: string): JsonObject | undefined => {
    // Version 2 has them in camel case.
    const old = rate.replaceAll(/_(\w)/g, (_found, letter: string) => letter.toUpperCase())
    const max = node.get(rate).number ?? node.get(old).number ?? 0
    if (max <= 0) return undefined
    const burst = node.get(capacity).number ?? 0
    return {
      max: Math.max(1, Math.floor(max)),
      window,
      algorithm: 'tokenBucket',
      ...(burst > 0 && { burst })
    }
  }
  const all = quota('max_rate', 'capacity')
  const client = quota('client_max_rate', 'client_capacity')
  const strategy = node.get('strategy').text ?? 'ip'
  const by = strategy === 'header' ? `header:${literal(node.get('key').text ?? '')}` : strategy
  if (client !== undefined && strategy !== 'ip' && strategy !== 'header') {
    close(node, `qos/ratelimit/router by ${strategy}`)
    return
  }
  if (client !== undefined)
    route['rateLimit'] = {
      ...client,
      by,
      ...(all !== undefined && { also: { all: { ...all, by: 'route' } } })
    }
  else if (all !== undefined) route['rateLimit'] = { ...all, by: 'route' }
  translation.done()
}

/** Translates qos/ratelimit/proxy, a limit of requests to a service. */
export function addBackendLimit(node: SourceNode, name: string, { route, translation }: Context): void {
  const max = node.get('max_rate').number ?? 0
  if (max <= 0) return
  const burst = node.get('capacity').number ?? 0
  const quota: JsonObject = {
    max: Math.max(1, Math.floor(max)),
    window: durationOf(goDuration(node.get('every').text) ?? 1000),
    by: 'route',
    algorithm: 'tokenBucket',
    ...(burst > 0 && { burst })
  }
  if (route['rateLimit'] === undefined) route['rateLimit'] = quota
  else objectAt(objectAt(route, 'rateLimit'), 'also')[`service_${name}`.replaceAll(/\W/g, '_')] = quota
  translation.done()
}

/** Translates security/cors. */
export function addCors(node: SourceNode, target: JsonObject, translation: Translation): void {
  const origins = node.get('allow_origins').exists ? node.get('allow_origins').texts : ['*']
  const cors: JsonObject = { origins: origins.map(literal) }
  if (node.get('allow_credentials').flag === true) {
    if (origins.includes('*'))
      translation.missing(node.line, 'security/cors: credentials for all origins; name the origins', target)
    else cors['credentials'] = true
  }
  for (const [from, to] of [
    ['allow_methods', 'methods'],
    ['allow_headers', 'headers'],
    ['expose_headers', 'expose']
  ] as const)
    if (node.get(from).items.length > 0) cors[to] = node.get(from).texts.map(literal)
  const maxAge = goDuration(node.get('max_age').text)
  if (maxAge !== undefined && maxAge > 0) cors['maxAge'] = durationOf(maxAge)
  target['cors'] = cors
  translation.done()
}
