import type { JsonObject } from '../../json.ts'
import { literal, literalTemplate } from '../../values.ts'
import type { Plugin } from '../source.ts'
import type { RouteContext } from './context.ts'

/** Translates cors. */
export function addCors({ config, node }: Plugin, context: RouteContext): void {
  const { route, translation } = context
  const written = config.get('origins').exists ? config.get('origins').texts : ['*']
  // Kong takes other origins as regular expressions.
  const origins = written.filter((origin) => /^(?:\*|null|https?:\/\/[\w.*:[\]-]+)$/.test(origin))
  for (const origin of written.filter((each) => !origins.includes(each)))
    translation.missing(config.get('origins').line, `cors: the origin ${origin}`, route)
  const cors: JsonObject = { origins: origins.map(literal) }
  if (config.get('credentials').flag === true) {
    if (origins.includes('*'))
      translation.missing(node.line, 'cors: credentials for all origins; name the origins', route)
    else cors['credentials'] = true
  }
  for (const [from, to] of [
    ['methods', 'methods'],
    ['headers', 'headers'],
    ['exposed_headers', 'expose']
  ] as const)
    if (config.get(from).items.length > 0) cors[to] = config.get(from).texts.map(literal)
  const maxAge = config.get('max_age').number
  if (maxAge !== undefined) cors['maxAge'] = `${maxAge}s`
  if (config.get('preflight_continue').flag === true)
    translation.missing(config.get('preflight_continue').line, 'cors: preflight_continue', route)
  if (origins.length > 0) route['cors'] = cors
  translation.done()
}

/** Translates ip-restriction. */
export function addIpAccess({ config, node }: Plugin, context: RouteContext): void {
  const { route, translation } = context
  const allow = [...config.get('allow').texts, ...config.get('whitelist').texts].map(literal)
  const deny = [...config.get('deny').texts, ...config.get('blacklist').texts].map(literal)
  if (allow.length + deny.length === 0) {
    context.close(node.line, 'ip-restriction without addresses')
    return
  }
  route['ipAccess'] = { ...(allow.length > 0 && { allow }), ...(deny.length > 0 && { deny }) }
  translation.done()
}

const UNITS: Readonly<Record<string, string>> = { megabytes: 'mb', kilobytes: 'kb', bytes: 'b' }

/** Translates request-size-limiting. */
export function addBodyLimit({ config }: Plugin, context: RouteContext): void {
  const { route, translation } = context
  const unit = UNITS[config.get('size_unit').text ?? 'megabytes'] ?? 'mb'
  route['limits'] = { body: `${config.get('allowed_payload_size').number ?? 128}${unit}` }
  translation.done()
}

/** Translates request-termination into the target of the route. */
export function addTermination({ config, node }: Plugin, context: RouteContext): void {
  const { route, translation } = context
  if (config.get('trigger').exists) {
    context.close(node.line, 'request-termination: trigger')
    return
  }
  const message = config.get('message').text
  const body = config.get('body').text
  const type = config.get('content_type').text
  const respond: JsonObject = { status: config.get('status_code').number ?? 503 }
  if (type !== undefined) respond['headers'] = { 'content-type': literalTemplate(type) }
  if (body !== undefined) respond['body'] = literalTemplate(body)
  else if (message !== undefined) respond['body'] = { message: literalTemplate(message) }
  delete route['proxy']
  route['respond'] = respond
  translation.done()
}

/** Translates redirect into the target of the route. */
export function addRedirect({ config, node }: Plugin, context: RouteContext): void {
  const { route, translation } = context
  const location = config.get('location').text
  if (location === undefined) {
    context.close(node.line, 'redirect without a location')
    return
  }
  delete route['proxy']
  const keepsPath = config.get('keep_incoming_path').flag === true
  route['redirect'] = {
    to: keepsPath ? `${literalTemplate(location.replace(/\/$/, ''))}{path}` : literalTemplate(location),
    status: config.get('status_code').number ?? 301,
    rest: false,
    ...(keepsPath ? {} : { query: false })
  }
  translation.done()
}

/** Translates proxy-cache. */
export function addCache({ config }: Plugin, context: RouteContext): void {
  const { route, translation } = context
  const cache: JsonObject = { ttl: `${config.get('cache_ttl').number ?? 300}s` }
  const vary = config.get('vary_headers').texts
  if (vary.length > 0) cache['vary'] = vary.map((name) => literal(name.toLowerCase()))
  route['cache'] = cache
  translation.comment(
    cache,
    'ttl holds for responses without Cache-Control, and nothing is stored for known callers.'
  )
  translation.done()
}
