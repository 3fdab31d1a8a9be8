import { type JsonObject, objectAt } from '../json.ts'
import type { Translation } from '../translation.ts'
import { literal, literalTemplate } from '../values.ts'
import type { Guards } from './guards.ts'
import { requestHeaders } from './headers.ts'
import type { Match } from './match.ts'
import type { Directive } from './parse.ts'
import { redirectTo, rewriteTo } from './redirect.ts'
import type { Scope } from './scope.ts'
import { durationOf } from './units.ts'
import type { Upstreams } from './upstreams.ts'
import { templateOf, withConstants } from './variables.ts'

/** What a location needs to become a target. */
export interface ContentPlace {
  readonly scope: Scope
  readonly match: Match
  readonly path: string
  readonly route: JsonObject
  readonly upstreams: Upstreams
  readonly translation: Translation
}

/** The directive that stands in the way of a target, with what is wrong with it. */
export type Obstacle = Guards['doubts'][number]

/** Translates `return`; its status without a text is a refusal or an empty response. */
export function addReturn(directive: Directive, place: ContentPlace): Obstacle | undefined {
  const { args } = directive
  const { route, scope, path, match } = place
  const status = Number(args[0])
  const url = Number.isNaN(status)
    ? args[0]
    : [301, 302, 303, 307, 308].includes(status)
      ? args[1]
      : undefined
  if (url !== undefined) {
    const redirect = redirectTo(url, Number.isNaN(status) ? 302 : status, {
      path,
      captures: match.captures,
      scope
    })
    if (redirect === undefined) return { directive, text: `return ${args.join(' ')}` }
    route['redirect'] = redirect
    return undefined
  }
  const body = args[1] === undefined ? undefined : templateOf(args[1], scope)
  if (args[1] !== undefined && body === undefined) return { directive, text: `return ${args.join(' ')}` }
  // 444 closes the connection without a response.
  const respond: JsonObject = { status: status === 444 || status < 200 || status > 599 ? 403 : status }
  if (body !== undefined) respond['body'] = body
  const type = scope.value('default_type')
  if (body !== undefined && type !== undefined) respond['headers'] = { 'content-type': literal(type) }
  route['respond'] = respond
  return undefined
}

/** Translates `proxy_pass` and `grpc_pass`, with what the location says of the path, the headers, times and retries. */
export function addProxy(directive: Directive, place: ContentPlace): Obstacle | undefined {
  const { scope, route, match, upstreams, translation } = place
  const url = withConstants(directive.args[0] ?? '', scope)
  const [, scheme = '', unix, host = '', rest = ''] =
    /^(https?|grpcs?):\/\/(?:(unix:[^:]+):?|([^/$]+))(.*)$/.exec(url) ?? []
  const obstacle = { directive, text: `${directive.name} ${directive.args.join(' ')}` }
  const [, origin, below = ''] = ORIGIN_VARIABLE.exec(url) ?? []
  if (scheme === '' && origin === undefined) return obstacle
  const proxy: JsonObject = {
    upstream:
      origin === undefined ? upstreams.of(scheme.replace('grpc', 'http'), unix ?? host) : literal(origin)
  }
  const rewrite = rewriteOf(origin === undefined ? rest : below, place, directive)
  if (rewrite === undefined) return obstacle
  if (rewrite !== '') proxy['rewrite'] = rewrite
  const { host: name, isWebsocket, headers } = requestHeaders(scope, route, translation)
  if (name === true) proxy['preserveHost'] = true
  else {
    const own = name ?? (String(proxy['upstream']) === host && /^[a-z0-9.-]+$/i.test(host) ? host : undefined)
    if (own !== undefined) {
      const used = upstreams.optionsOf(String(proxy['upstream']))
      proxy['upstream'] = used.name
      used.options['host'] ??= literal(own)
      if (used.options['host'] !== literal(own)) return { directive, text: `proxy_set_header Host ${own}` }
    }
  }
  if (scheme.startsWith('grpc')) {
    const used = upstreams.optionsOf(String(proxy['upstream']))
    proxy['upstream'] = used.name
    used.options['http2'] = true
  } else if (!isWebsocket) proxy['websocket'] = false
  if (scheme.endsWith('s') && scope.value('proxy_ssl_verify') !== 'on')
    translation.comment(
      route,
      'the certificate of the service is verified, which nginx does not do by default'
    )
  addTimes(proxy, place)
  if (Object.keys(headers).length > 0) objectAt(route, 'headers')['request'] = headers
  route['proxy'] = proxy
  return match.kind === 'regex' &&
    rest !== '' &&
    rest !== '$request_uri' &&
    match.captures.length === 0 &&
    rewrite === ''
    ? obstacle
    : undefined
}

// A variable of the environment that is a URL, and what follows it.
const ORIGIN_VARIABLE = /^(\uE000[^\uE000\uE001]*\uE001)(\/.*)?$/

/** Returns the `rewrite` of a location: empty if the path stays, undefined if ours can't say it. */
function rewriteOf(rest: string, { scope, match, path }: ContentPlace, pass: Directive): string | undefined {
  const broken = scope.own('rewrite').find(({ args }) => args[2] === 'break')
  if (broken !== undefined) return brokenRewrite(broken, match, path, scope)
  if (rest === '' || rest === '$request_uri') return ''
  if (match.kind === 'regex') return rewriteTo(rest, { path, captures: match.captures, scope })
  if (/[?$]/.test(rest)) return undefined
  if (match.kind === 'exact') return literalTemplate(rest)
  // With a variable in it, the URI takes the place of the whole path.
  if (/\$\w/.test(pass.args[0] ?? '')) return undefined
  // nginx puts the URI in place of the prefix: both end with a slash, or none does.
  if (match.text.endsWith('/') && !rest.endsWith('/')) return undefined
  const rewrite = literalTemplate(rest)
  return match.text === rest ? '' : rewrite
}

/** Translates `rewrite ^/prefix/(.*)$ /other/$1 break` on the location of that prefix. */
function brokenRewrite({ args }: Directive, match: Match, path: string, scope: Scope): string | undefined {
  const [pattern = '', replacement = ''] = args
  const prefix = /^\^?((?:[\w/-]|\\?\.)*)\(\.[*+]\)\$?$/.exec(pattern)?.[1]?.replaceAll('\\', '')
  if (match.kind !== 'prefix' || prefix === undefined) return undefined
  if (prefix.replace(/\/$/, '') !== match.text.replace(/\/$/, '')) return undefined
  const to = /^(.*)\$1$/.exec(withConstants(replacement, scope))?.[1]
  if (to === undefined || /[?$]/.test(to) || !path.endsWith('/*')) return undefined
  return literalTemplate(to === '' ? '/' : to)
}

/** Translates `rewrite … permanent` and `rewrite … redirect` of every path of a location; undefined for another one. */
export function redirectOf(directive: Directive, place: ContentPlace): JsonObject | undefined {
  const { path, scope, match } = place
  const [pattern = '', replacement = '', flag] = directive.args
  const isUrl = /^(?:https?:\/\/|\$scheme)/.test(replacement)
  const status = flag === 'permanent' ? 301 : flag === 'redirect' || (flag === undefined && isUrl) ? 302 : 0
  if (status === 0) return undefined
  const [, slash] = /^\^?(\/?)\(\.\*\)\$?$/.exec(pattern) ?? []
  const end = slash === undefined ? '$request_uri?' : `${slash}$1`
  if (slash !== undefined || /^(?:\^|\^?\.\*\$?)$/.test(pattern))
    return replacement.endsWith(end)
      ? redirectTo(`${replacement.slice(0, -end.length)}$request_uri`, status, { path, captures: [], scope })
      : undefined
  const to = brokenRewrite(directive, match, path, scope)
  return to === undefined ? undefined : { to: to.endsWith('/') ? to : `${to}/`, status }
}

function addTimes(proxy: JsonObject, { scope, route, translation, upstreams }: ContentPlace): void {
  const read = durationOf(scope.value('proxy_read_timeout') ?? scope.value('grpc_read_timeout') ?? '')
  if (read !== undefined) proxy['timeout'] = read
  const connect = durationOf(scope.value('proxy_connect_timeout') ?? '')
  if (connect !== undefined) {
    const used = upstreams.optionsOf(String(proxy['upstream']))
    proxy['upstream'] = used.name
    objectAt(used.options, 'timeouts')['connect'] = connect
  }
  const next = scope.last('proxy_next_upstream')
  if (next === undefined) return
  const on = new Set(
    next.args.flatMap((word) => RETRIES[word] ?? (/^http_\d+$/.test(word) ? [word.slice(5)] : []))
  )
  const tries = Number(scope.value('proxy_next_upstream_tries') ?? 0)
  if (next.args.includes('off') || on.size === 0) return
  if (next.args.includes('non_idempotent'))
    translation.missing(
      next,
      'proxy_next_upstream non_idempotent: name the methods in proxy.retry.methods',
      route
    )
  proxy['retry'] = { ...(tries > 0 ? { attempts: tries } : {}), on: [...on] }
}

const RETRIES: Readonly<Record<string, readonly string[]>> = {
  error: ['connect', 'reset'],
  timeout: ['timeout'],
  invalid_header: ['reset']
}
