import { isObject } from '../lib/schema.ts'
import type { Path } from './fault.ts'
import type { Plan } from './plan-types.ts'

const MASK = '***'

// Values under these names are never shown.
const SECRET =
  /secret|passw|passphrase|^pass$|[-_]pass$|pwd|token$|credential|authorization|assertion$|cookie$|hmac|[-_](auth|sig)$|signature$/i

// The user name and password of a URL: all up to the last "@" of its authority (WHATWG URL, "authority state").
const USER = /((?:\b[a-z][a-z0-9+.-]*:)?\/\/)[^/?#]*@/gi

// The values of a query or a fragment; one that is a value of the request alone is no secret.
const VALUES = /([?&#][^=&#?\s]+=)(?!\{[^{}]*\}(?:[&#\s]|$))[^&#\s]+/g

// A query without names, where the whole text is a URL or a path.
const BARE_QUERY = /^((?:[a-z][a-z0-9+.-]*:)?\/[^?\s]*\?)[^=&#\s]+(?=#|$)/i

// A header value that begins with the scheme of its credentials (RFC 9110 section 11.4).
const SCHEME =
  /^(\s*(?:basic|bearer|digest|negotiate|token|api-?key|dpop|hoba|aws4-hmac-sha256)\s+)(?!\{[^{}]*\}$)\S.*/is

// A JSON Web Token, wherever it stands.
const JWT = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g

// A text that people would not write by hand: a key, a hash or a random text.
const RANDOM = /^(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[\w+/=.~:-]{16,}$/

// A path, a query or a fragment may be a secret: a webhook's is.
const URL_PARTS = /^((?:https?|rediss?|wss?):\/\/[^/?#]*)(\/[^?#]*)?/i

/** Shows a config as it was resolved, for the people who run the gateway; secrets are masked, and so is whatever came from outside but the origin of a URL. */
export function redactedConfig({ publicUrl, trustedProxies, words, routes, outside }: Plan): unknown {
  const shown = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return redactText(value, path, outside)
    if (Array.isArray(value)) return value.map((each) => shown(each, path))
    if (!isObject(value)) return typeof value === 'bigint' ? String(value) : value
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shown(each, [...path, key])]))
  }
  return {
    ...(publicUrl === undefined ? {} : { publicUrl }),
    trustedProxies,
    ...(shown(words, []) as object),
    routes: routes.map(({ name, paths, hosts, methods, target, options, words: own }) => ({
      name,
      path: paths.map(({ text }) => text),
      ...(hosts.length === 0 ? {} : { host: hosts }),
      ...(methods === undefined ? {} : { methods }),
      [target]: shown(options, [target]),
      ...(shown(own, []) as object)
    }))
  }
}

function redactText(text: string, path: Path, outside: ReadonlySet<string>): string {
  const name = String(path.at(-1) ?? '')
  // A key is a secret or the hash of one, unless it is the file that it lies in.
  const isKey = /key$/i.test(name)
  if ((isKey || SECRET.test(name)) && !(isKey && isFile(text)) && path.at(-2) !== 'endpoints') return MASK
  if (isQuery(path) && !isRequestValue(text)) return MASK
  if (outside.has(text)) return originOf(text)
  if (path[0] === 'headers' && path[1] === 'request' && RANDOM.test(text)) return MASK
  return redact(text)
}

/** Masks what of a text is a secret by its form: the user of a URL, the values of its query, a credential behind its scheme, a token. */
export function redact(text: string): string {
  return text
    .replaceAll(USER, `$1${MASK}@`)
    .replaceAll(VALUES, `$1${MASK}`)
    .replace(BARE_QUERY, `$1${MASK}`)
    .replace(SCHEME, `$1${MASK}`)
    .replaceAll(JWT, MASK)
}

const isFile = (text: string): boolean => /^(\/|[A-Za-z]:\\)/.test(text) && !/[=+]/.test(text)

/** Tells whether a value is that of a query parameter: the `query` of a route, or what a log-in sends along to the provider. */
const isQuery = (path: Path): boolean =>
  (path.length === 2 && path[0] === 'query') || path.at(-2) === 'params'

const isRequestValue = (text: string): boolean => /^\{[^{}]*\}$/.test(text)

function originOf(text: string): string {
  if (text.startsWith('unix:/')) return text
  const [, origin, rest = ''] = URL_PARTS.exec(text) ?? []
  if (origin === undefined) return MASK
  return origin.replace(USER, `$1${MASK}@`) + (rest === '' || rest === '/' ? rest : `/${MASK}`)
}
