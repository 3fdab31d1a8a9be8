import { writtenAlternatives } from '../lib/conditions/options.ts'
import { isObject } from '../lib/schema.ts'
import type { Path } from './fault.ts'
import type { Plan } from './plan-types.ts'

const MASK = '***'

// Values under these names are always masked.
const SECRET =
  /secret|passw|passphrase|^pass$|[-_]pass$|pwd|token$|credential|authorization|assertion$|cookie$|hmac|[-_](auth|sig)$|signature$/i

// The user name and password of a URL: all up to the last "@" of its authority (WHATWG URL, "authority state").
const USER = /((?:\b[a-z][a-z0-9+.-]*:)?\/\/)[^/?#]*@/gi

// The values of a query or a fragment, except a single request value such as {params.id}.
const VALUES = /([?&#][^=&#?\s]+=)(?!\{[^{}]*\}(?:[&#\s]|$))[^&#\s]+/g

// A query without names, where the whole text is a URL or a path.
const BARE_QUERY = /^((?:[a-z][a-z0-9+.-]*:)?\/[^?\s]*\?)[^=&#\s]+(?=#|$)/i

// A header value that begins with the scheme of its credentials (RFC 9110 section 11.4).
const SCHEME =
  /^(\s*(?:basic|bearer|digest|negotiate|token|api-?key|dpop|hoba|aws4-hmac-sha256)\s+)(?!\{[^{}]*\}$)\S.*/is

// A JSON Web Token, anywhere in a string.
const JWT = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g

// A string that looks generated: a key, a hash or a token.
const RANDOM = /^(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[\w+/=.~:-]{16,}$/

// A path, a query or a fragment may be a secret, such as that of a webhook.
const URL_PARTS = /^((?:https?|rediss?|wss?):\/\/[^/?#]*)(\/[^?#]*)?/i

/** Returns a resolved config for `/config`. Masks secrets, and interpolated values except for the origin of a URL. */
export function redactedConfig(plan: Plan): unknown {
  const { publicUrl, trustedProxies, clientIp, options: root, routes } = plan
  const masked = maskerOf(plan)
  return {
    ...(publicUrl === undefined ? {} : { publicUrl }),
    trustedProxies,
    ...(clientIp === undefined ? {} : { clientIp }),
    ...(masked(root, []) as object),
    routes: routes.map(({ name, paths, hosts, methods, when, target, targetOptions, options }) => ({
      name,
      path: paths.map(({ text }) => text),
      ...(hosts.length === 0 ? {} : { host: hosts }),
      ...(methods === undefined ? {} : { methods }),
      ...(when.length === 0 ? {} : { when: masked(writtenAlternatives(when), ['routes', 'when']) }),
      [target]: masked(targetOptions, [target]),
      ...(masked(options, []) as object)
    }))
  }
}

/** Returns a function that masks the secrets in resolved options; its path begins with the key of their concern or target. */
export function maskerOf({ interpolated }: Plan): (value: unknown, path: Path) => unknown {
  return function masked(value: unknown, path: Path): unknown {
    if (typeof value === 'string') return redactText(value, path, interpolated)
    if (Array.isArray(value)) return value.map((each) => masked(each, path))
    if (!isObject(value)) return typeof value === 'bigint' ? String(value) : value
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, masked(each, [...path, key])]))
  }
}

function redactText(text: string, path: Path, interpolated: ReadonlySet<string>): string {
  const name = String((isHeaderSetting(path) ? path[2] : path.at(-1)) ?? '')
  // A key is a secret or the hash of one, unless it is the name of a file.
  const isKey = /key$/i.test(name)
  if ((SECRET.test(name) || (isKey && !isFile(text))) && path.at(-2) !== 'endpoints') return MASK
  if (isQuery(path) && !isRequestValue(text)) return MASK
  if (path[0] === 'tracing' && path[1] === 'headers') return MASK
  if (interpolated.has(text)) return originOf(text)
  if (path[0] === 'headers' && path[1] === 'request' && RANDOM.test(text)) return MASK
  return redact(text)
}

/** Masks what looks like a secret in a string: the user of a URL, the values of its query, a credential after its scheme, a token. */
export function redact(text: string): string {
  return text
    .replaceAll(USER, `$1${MASK}@`)
    .replaceAll(VALUES, `$1${MASK}`)
    .replace(BARE_QUERY, `$1${MASK}`)
    .replace(SCHEME, `$1${MASK}`)
    .replaceAll(JWT, MASK)
}

const isFile = (text: string): boolean => /^(\/|[A-Za-z]:\\)/.test(text) && !/[=+]/.test(text)

/** Returns whether a path is that of a value such as `headers.request.x-key.set`. */
const isHeaderSetting = (path: Path): boolean => path.length === 4 && path[0] === 'headers'

/** Returns whether a path is that of a query parameter, in `query` or in the `params` of a log-in. */
const isQuery = (path: Path): boolean =>
  (path.length === 2 && path[0] === 'query') || path.at(-2) === 'params'

const isRequestValue = (text: string): boolean => /^\{[^{}]*\}$/.test(text)

function originOf(text: string): string {
  if (text.startsWith('unix:/')) return text
  const [, origin, rest = ''] = URL_PARTS.exec(text) ?? []
  if (origin === undefined) return MASK
  return origin.replace(USER, `$1${MASK}@`) + (rest === '' || rest === '/' ? rest : `/${MASK}`)
}
