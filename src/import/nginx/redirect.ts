import type { JsonObject } from '../json.ts'
import { REST } from '../segments.ts'
import { literalTemplate } from '../values.ts'
import type { Scope } from './scope.ts'
import { templateOf, withConstants } from './variables.ts'

/** Where a redirect stands: on a path such as `/a/*`, and what `$1` is there. */
export interface RedirectPlace {
  readonly path: string
  readonly captures: readonly (string | typeof REST)[]
  readonly scope: Scope
}

/** Translates the target of a redirect of a path; undefined if it has a variable without a value of the request. */
export function redirectTo(text: string, status: number, place: RedirectPlace): JsonObject | undefined {
  const { path, captures, scope } = place
  // A redirect without a host goes to the host and the scheme of the request.
  const url = withConstants(text, scope).replace(
    /^\$scheme:\/\/\$(?:host|http_host|server_name)(?=\/|\$(?:request_)?uri)/,
    ''
  )
  const [, address = '', query] = /^([^?]*?)(\?.*|\$is_args\$(?:args|query_string))?$/s.exec(url) ?? []
  const keepsQuery = /^(?:\?\$(?:args|query_string)|\$is_args\$(?:args|query_string))$/.test(query ?? '')
  if (query !== undefined && !keepsQuery && query !== '?' && query.includes('$')) return undefined
  const tail = tailOf(address, path, captures)
  const head = templateOf(withCaptures(tail.head, captures), scope)
  if (head === undefined) return undefined
  const own = query !== undefined && !keepsQuery && query !== '?' ? literalTemplate(query) : ''
  const to = unmarked(head) + own
  return {
    to: to === '' ? '/' : to,
    status,
    ...(path.endsWith('/*') && !tail.hasRest ? { rest: false } : {}),
    ...(keepsQuery || tail.hasQuery ? {} : { query: false })
  }
}

interface Tail {
  readonly head: string
  readonly hasRest: boolean
  readonly hasQuery: boolean
}

/** Splits off a variable at the end that stands for the path of the request. */
function tailOf(address: string, path: string, captures: RedirectPlace['captures']): Tail {
  const base = path.endsWith('/*') ? path.slice(0, -2) : path
  const isLiteral = !base.includes('/:')
  const whole = /\$(?:(request_uri)|uri|document_uri)$/.exec(address)
  if (whole !== null && isLiteral)
    return {
      head: `${address.slice(0, whole.index)}${base}${path.endsWith('/*') ? '/' : ''}`,
      hasRest: path.endsWith('/*'),
      hasQuery: whole[1] !== undefined
    }
  const captured = /\/\$(\d)$/.exec(address)
  if (captured !== null && captures[Number(captured[1]) - 1] === REST)
    return { head: address.slice(0, -2), hasRest: true, hasQuery: false }
  return { head: address, hasRest: false, hasQuery: false }
}

// A capture that is a parameter keeps its place while the variables around it are translated.
const withCaptures = (text: string, captures: RedirectPlace['captures']): string =>
  text.replaceAll(/\$(\d)/g, (whole, digit: string) => {
    const name = captures[Number(digit) - 1]
    return typeof name === 'string' ? `\u0001${name}\u0002` : whole
  })

const unmarked = (text: string): string => text.replaceAll('\u0001', '{params.').replaceAll('\u0002', '}')

/** Returns the path of a request to the service, from what `rewrite … break` or `proxy_pass` make of it; undefined if `rewrite` can't say it. */
export function rewriteTo(text: string, place: RedirectPlace): string | undefined {
  const made = redirectTo(text, 302, place)
  const to = made?.['to']
  if (typeof to !== 'string' || !to.startsWith('/') || to.includes('?')) return undefined
  if (made?.['rest'] === false && place.path.endsWith('/*')) return undefined
  return to
}
