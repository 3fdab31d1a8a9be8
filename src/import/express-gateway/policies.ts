import { isJsonObject, type Json, type JsonObject, objectAt } from '../json.ts'
import { durationOf } from '../names.ts'
import { secretHeader } from '../secret-headers.ts'
import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'
import { literal, literalTemplate } from '../values.ts'

/** What a policy is translated into. */
export interface Context {
  readonly route: JsonObject
  readonly translation: Translation
  /** Closes the route, once all that it has is translated. */
  readonly close: (node: SourceNode, text: string) => void
}

type Add = (action: SourceNode, context: Context) => void

/** The policies that have a translation, `proxy` aside. */
export const POLICIES: Readonly<Record<string, Add>> = {
  cors: addCors,
  'key-auth': addKeys,
  'basic-auth': addBasic,
  jwt: addJwt,
  'rate-limit': addRateLimit,
  headers: addHeaders,
  'request-transformer': (action, context) => addTransformer(action, 'request', context),
  'response-transformer': (action, context) => addTransformer(action, 'response', context),
  terminate: addTermination,
  redirect: addRedirect,
  log: () => {}
}

function addCors(action: SourceNode, { route, translation }: Context): void {
  const origin = action.get('origin')
  const origins = !origin.exists || origin.flag === true ? ['*'] : origin.texts
  if (origin.flag === false) return
  const cors: JsonObject = { origins: origins.map(literal) }
  if (action.get('credentials').flag === true) {
    if (origins.includes('*'))
      translation.missing(action.line, 'cors: credentials for all origins; name the origins', route)
    else cors['credentials'] = true
  }
  for (const [from, to] of [
    ['methods', 'methods'],
    ['allowedHeaders', 'headers'],
    ['exposedHeaders', 'expose']
  ] as const) {
    const texts = action
      .get(from)
      .texts.flatMap((text) => text.split(','))
      .map((text) => text.trim())
    if (texts.length > 0) cors[to] = texts.map(literal)
  }
  const maxAge = action.get('maxAge').number
  if (maxAge !== undefined) cors['maxAge'] = `${maxAge}s`
  route['cors'] = cors
}

/** Adds a strategy to those of the route; in Express Gateway all of them have to succeed, one after the other. */
function addStrategy(name: string, action: SourceNode, context: Context): JsonObject {
  const auth = objectAt(context.route, 'auth')
  const by = Array.isArray(auth['by']) ? String(auth['by'][0]) : undefined
  auth['by'] = [by === undefined ? name : `${by}+${name}`]
  if (by?.includes('+') === true) context.close(action, 'more than two policies that authenticate')
  if (action.get('passThrough').flag === true) {
    if (by !== undefined) context.close(action, 'passThrough beside another policy that authenticates')
    auth['optional'] = true
  } else if (auth['optional'] === true)
    context.close(action, 'passThrough beside another policy that authenticates')
  return auth
}

function addKeys(action: SourceNode, context: Context): void {
  const from: string[] = []
  const header = action.get('apiKeyHeader').text ?? 'authorization'
  if (action.get('disableHeaders').flag !== true) from.push(`header:${literal(header.toLowerCase())}`)
  if (action.get('disableQueryParam').flag !== true)
    from.push(`query:${literal(action.get('apiKeyField').text ?? 'apiKey')}`)
  if (from.length === 0) context.close(action, 'key-auth without a place for keys')
  else addStrategy('apiKeys', action, context)['apiKeys'] = { from, file: 'keys.json' }
}

function addBasic(action: SourceNode, context: Context): void {
  const auth = addStrategy('basic', action, context)
  auth['basic'] = true
  auth['users'] = { file: 'users.json' }
}

function addJwt(action: SourceNode, context: Context): void {
  const { translation, close } = context
  const auth = addStrategy('jwt', action, context)
  const jwt: JsonObject = {}
  for (const key of ['issuer', 'audience'] as const) {
    const text = action.get(key).text
    if (text !== undefined) jwt[key] = literal(text)
  }
  if (action.get('secretOrPublicKeyFile').exists) {
    jwt['keys'] = 'jwks.json'
    translation.missing(
      action.get('secretOrPublicKeyFile').line,
      'jwt: secretOrPublicKeyFile; put its key into jwks.json',
      auth
    )
  } else {
    jwt['secret'] = translation.variable('JWT_SECRET', 'x'.repeat(64))
    jwt['algorithms'] = ['HS256']
  }
  const field = action.get('jwtExtractorField').text ?? 'token'
  const extractor = action.get('jwtExtractor').text ?? 'authBearer'
  if (extractor === 'query') jwt['from'] = [`query:${literal(field)}`]
  else if (extractor === 'header') jwt['from'] = [`header:${literal(field.toLowerCase())}`]
  else if (extractor !== 'authBearer') close(action, `jwt: jwtExtractor ${extractor}`)
  if (action.get('checkCredentialExistence').flag !== false)
    close(action, 'jwt: only tokens whose sub is a consumer (checkCredentialExistence)')
  auth['jwt'] = jwt
}

function addRateLimit(action: SourceNode, { route, close }: Context): void {
  const max = action.get('max').number ?? 5
  const window = durationOf(action.get('windowMs').number ?? 60_000)
  const by = action.get('rateLimitBy').text
  const key =
    by === undefined || /^\$\{req\.ip\}$/.test(by)
      ? 'ip'
      : /^\$\{(?:req\.)?(?:user|consumer)\.\w+\}$/.test(by)
        ? 'caller'
        : undefined
  if (key === undefined || max < 1) close(action, `rate-limit by ${by ?? 'address'}`)
  else route['rateLimit'] = { max, window, by: key }
}

function addHeaders(action: SourceNode, { route, translation }: Context): void {
  const prefix = action.get('headersPrefix').text ?? ''
  const forward = action.get('forwardHeaders')
  const changes: JsonObject = {}
  for (const key of forward.keys) {
    const name = `${prefix}${key}`.toLowerCase()
    const value = forward.get(key).text ?? ''
    const isExpression = value.includes('${')
    if (isExpression) translation.missing(forward.get(key).line, `headers: ${name}, which is removed`, route)
    changes[name] = isExpression ? false : (secretHeader(name, value, translation) ?? literalTemplate(value))
  }
  if (Object.keys(changes).length > 0) objectAt(objectAt(route, 'headers'), 'request')
  Object.assign(isJsonObject(route['headers']) ? objectAt(route['headers'], 'request') : {}, changes)
}

function addTransformer(
  action: SourceNode,
  of: 'request' | 'response',
  { route, translation }: Context
): void {
  const headers: JsonObject = {}
  for (const name of action.get('headers').get('remove').texts) headers[name.toLowerCase()] = false
  const add = action.get('headers').get('add')
  for (const key of add.keys) {
    const text = /^(['"`])([^'"`$\\]*)\1$/.exec(add.get(key).text ?? '')?.[2]
    if (text === undefined)
      translation.missing(add.get(key).line, `${of}-transformer: the header ${key}, which is removed`, route)
    const name = key.toLowerCase()
    headers[name] =
      text === undefined ? false : (secretHeader(name, text, translation) ?? literalTemplate(text))
  }
  if (Object.keys(headers).length > 0) Object.assign(objectAt(objectAt(route, 'headers'), of), headers)
  const omit = action.get('body').get('remove').texts
  if (omit.length > 0) objectAt(route, 'transform')[of] = { omit: omit.map(literal) }
  if (action.get('body').get('add').exists)
    translation.missing(action.get('body').line, `${of}-transformer: body.add`, route)
}

function addTermination(action: SourceNode, { route }: Context): void {
  delete route['proxy']
  const message: Json = literalTemplate(action.get('message').text ?? 'Terminated')
  route['respond'] = { status: action.get('statusCode').number ?? 400, body: message }
}

function addRedirect(action: SourceNode, { route, close }: Context): void {
  const to = action.get('redirectUrl').text
  if (to === undefined) {
    close(action, 'redirect without a redirectUrl')
    return
  }
  delete route['proxy']
  route['redirect'] = {
    to: literalTemplate(to),
    status: action.get('statusCode').number ?? 302,
    rest: false,
    query: false
  }
}
