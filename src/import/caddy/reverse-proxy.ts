import { type Json, type JsonObject, objectAt } from '../json.ts'
import { literalTemplate } from '../values.ts'
import type { Visit } from './evaluate.ts'
import { changeHeader } from './handlers.ts'
import type { Line } from './parse.ts'
import { withVariables } from './placeholders.ts'

const BALANCE: Readonly<Record<string, JsonObject>> = {
  random: { balance: 'random' },
  round_robin: { balance: 'roundRobin' },
  least_conn: { balance: 'leastRequests' },
  random_choose: { balance: 'powerOfTwo' },
  ip_hash: { balance: 'hash', hashOn: 'ip' },
  client_ip_hash: { balance: 'hash', hashOn: 'ip' },
  uri_hash: { balance: 'hash', hashOn: 'url' }
}

// About connections, buffers and streams, which are as they should be without it.
const WITHOUT_MEANING =
  /^(?:flush_interval|request_buffers|response_buffers|stream_timeout|stream_close_delay|verbose_logs|trusted_proxies|lb_try_interval|health_headers|health_request_body|health_follow_redirects|health_upstream|unhealthy_latency|unhealthy_request_count)$/

/** Translates `reverse_proxy`; what changes the response by its status closes the place. */
export function reverseProxy(line: Line, args: readonly string[], visit: Visit): boolean {
  const { route, translation, place } = visit
  const proxy: JsonObject = {}
  const block = line.block ?? []
  const addresses = [...args, ...block.flatMap(({ words: [name, ...rest] }) => (name === 'to' ? rest : []))]
  const upstream: JsonObject = {}
  let preservesHost = true
  const retry: JsonObject = {}
  for (const inner of block) {
    const [name = '', first = '', ...rest] = inner.words
    if (name === 'to' || WITHOUT_MEANING.test(name)) continue
    if (name === 'header_up' && first.toLowerCase() === 'host') {
      if (/\{(?:upstream_hostport|http\.reverse_proxy\.upstream\.(?:hostport|host))\}/.test(rest[0] ?? ''))
        preservesHost = false
      else if (!/\{(?:host|http\.request\.host|hostport|http\.request\.hostport)\}/.test(rest[0] ?? '')) {
        preservesHost = false
        upstream['host'] = withVariables(rest[0] ?? '', translation, 'example.com')
      }
    } else if (name === 'header_up') {
      if (!/^[+-]?x-forwarded-(?:for|proto|host)$/i.test(first))
        changeHeader(objectAt(objectAt(route, 'headers'), 'request'), [first, ...rest], visit, line)
    } else if (name === 'header_down')
      changeHeader(objectAt(objectAt(route, 'headers'), 'response'), [first, ...rest], visit, line)
    else if (name === 'lb_policy') lbPolicy(upstream, inner, visit)
    else if (name === 'lb_retries') retry['attempts'] = Number(first) + 1
    else if (name === 'lb_try_duration') retry['wait'] = first
    else if (/^health_|^fail_duration$|^max_fails$|^unhealthy_status$/.test(name))
      addHealth(upstream, inner, visit)
    else if (name === 'transport') addTransport(upstream, inner, visit)
    else visit.doubts.push({ line: inner, text: `reverse_proxy: ${inner.words.join(' ')}` })
  }
  const urls = addresses.map((address) => urlOf(address, upstream, visit))
  if (urls.length === 0 || urls.some((url) => url === undefined)) {
    visit.doubts.push({ line, text: line.words.join(' ') })
    return true
  }
  proxy['upstream'] = upstreamOf(urls as string[], upstream, visit)
  addRewrite(proxy, line, visit)
  if (preservesHost) proxy['preserveHost'] = true
  if (Object.keys(retry).length > 0) proxy['retry'] = retry
  if (visit.fallback !== undefined && place.rest !== 'none')
    translation.missing(line, `try_files … ${visit.fallback}`, route)
  route['proxy'] = proxy
  return true
}

function addRewrite(proxy: JsonObject, line: Line, visit: Visit): void {
  const { place, base, whole } = visit
  if (whole !== undefined) proxy['rewrite'] = literalTemplate(whole)
  else if (base !== place.base) {
    if (place.rest === 'partial') visit.doubts.push({ line, text: line.words.join(' ') })
    else proxy['rewrite'] = literalTemplate(base === '' ? '/' : base)
  }
}

function lbPolicy(upstream: JsonObject, line: Line, visit: Visit): void {
  const [, name = '', key = ''] = line.words
  const known = BALANCE[name]
  if (known !== undefined) Object.assign(upstream, known)
  else if ((name === 'query' && key !== '') || name === 'header' || name === 'cookie') {
    if (name === 'query') Object.assign(upstream, { balance: 'hash', hashOn: `query:${key}` })
    else if (name === 'header')
      Object.assign(upstream, { balance: 'hash', hashOn: `header:${key.toLowerCase()}` })
    else upstream['sticky'] = { cookie: key === '' ? 'lb' : key }
  } else visit.translation.missing(line, line.words.join(' '), upstream)
}

const DURATION = /^\d+(?:ms|s|m|h|d)$/

function addHealth(upstream: JsonObject, line: Line, visit: Visit): void {
  const [name = '', value = ''] = line.words
  const health = (key: string, written: Json): void => {
    objectAt(upstream, 'health')[key] = written
  }
  if (name === 'health_uri') health('path', value)
  else if (name === 'health_port' && /^\d+$/.test(value)) health('port', Number(value))
  else if (name === 'health_interval' && DURATION.test(value)) health('every', value)
  else if (name === 'health_timeout' && DURATION.test(value)) health('timeout', value)
  else if (name === 'health_status') health('status', [value])
  else if (name === 'health_passes') health('healthyAfter', Number(value))
  else if (name === 'health_fails') health('unhealthyAfter', Number(value))
  else if (name === 'fail_duration' && DURATION.test(value)) objectAt(upstream, 'eject')['for'] = value
  else if (name === 'max_fails') objectAt(upstream, 'eject')['failures'] = Number(value)
  else visit.translation.missing(line, line.words.join(' '), upstream)
}

function addTransport(upstream: JsonObject, line: Line, visit: Visit): void {
  const { translation } = visit
  if (line.words[1] !== 'http') {
    visit.doubts.push({ line, text: line.words.join(' ') })
    return
  }
  for (const inner of line.block ?? []) {
    const [name = '', value = '', key = ''] = inner.words
    const tls = (): JsonObject => objectAt(upstream, 'tls')
    if (name === 'tls_insecure_skip_verify') tls()['verify'] = false
    else if (name === 'tls_server_name')
      tls()['serverName'] = withVariables(value, translation, 'example.com')
    else if (name === 'tls_trusted_ca_certs') tls()['ca'] = value
    else if (name === 'tls_client_auth') Object.assign(tls(), { cert: value, key })
    else if (name === 'dial_timeout' && DURATION.test(value))
      objectAt(upstream, 'timeouts')['connect'] = value
    else if (name === 'response_header_timeout' && DURATION.test(value))
      objectAt(upstream, 'timeouts')['headers'] = value
    else if (name === 'read_timeout' && DURATION.test(value)) objectAt(upstream, 'timeouts')['body'] = value
    else if (name === 'versions' && /h2c/.test(inner.words.join(' '))) upstream['http2'] = true
    else if (name === 'tls') upstream['x-scheme'] = 'https'
    else if (
      !/^(?:keepalive\w*|versions|compression|write_buffer|read_buffer|max_conns_per_host|dial_fallback_delay|expect_continue_timeout|write_timeout|max_response_header)$/.test(
        name
      )
    )
      translation.missing(inner, inner.words.join(' '), upstream)
  }
}

/** Returns the URL of an address such as "localhost:4001", "h2c://app:80", "unix//run/app.sock" or "{$API}". */
function urlOf(written: string, upstream: JsonObject, { translation }: Visit): string | undefined {
  const [, scheme, address = ''] = /^(?:(https?|h2c):\/\/)?(.*)$/.exec(written) ?? []
  if (scheme === 'h2c') upstream['http2'] = true
  if (address.startsWith('unix/')) return `unix:${address.slice('unix/'.length)}`
  const host = withVariables(
    address.startsWith(':') ? `localhost${address}` : address,
    translation,
    '127.0.0.1:4001'
  )
  if (
    host === '' ||
    /[{}]/.test(host.replaceAll(/\$\{\w+(?::-[^}]*)?\}/g, '')) ||
    /[/?]/.test(host.replaceAll(/\$\{[^}]*\}/g, '')) ||
    /:\d+-\d+$/.test(host)
  )
    return undefined
  const isSecure =
    scheme === 'https' || upstream['x-scheme'] === 'https' || (scheme === undefined && /:443$/.test(host))
  return `${isSecure ? 'https' : 'http'}://${host}`
}

/** Returns the name of an upstream with these targets and options, or the URL itself where that is all. */
function upstreamOf(urls: readonly string[], options: JsonObject, { translation }: Visit): string {
  delete options['x-scheme']
  const [only = ''] = urls
  if (urls.length === 1 && Object.keys(options).length === 0) return only
  if (urls.length > 1) options['balance'] ??= 'random'
  const upstream: JsonObject =
    urls.length === 1 ? { url: only, ...options } : { targets: [...urls], ...options }
  const upstreams = objectAt(translation.config, 'upstreams')
  const base = (/^\w+:\/*([\w-]+(?:\.[\w-]*[a-z][\w-]*)*)/i.exec(only)?.[1] ?? 'upstream').replaceAll(
    '.',
    '-'
  )
  const safe = /^[A-Za-z]/.test(base) ? base : 'upstream'
  for (let i = 1; ; i++) {
    const name = i === 1 ? safe : `${safe}-${i}`
    if (upstreams[name] === undefined) upstreams[name] = upstream
    if (JSON.stringify(upstreams[name]) === JSON.stringify(upstream)) {
      for (const text of translation.commentsOf(options))
        translation.comment(upstreams[name] as JsonObject, text)
      return name
    }
  }
}
