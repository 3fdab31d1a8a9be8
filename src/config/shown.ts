import { isObject } from '../kit/index.ts'
import type { Plan } from './plan.ts'

const MASK = '***'

// What is said under these names is never shown, whatever it is.
const SECRET =
  /secret|password|passphrase|token$|credential|authorization|cookie$|api-?key$|[-_](auth|key|sig)$|signature$/i

// The name that a URL may have before its host, and the values of its query.
const USER = /([a-z][a-z0-9+.-]*:\/\/)[^/@\s]*@/gi
const VALUES = /([?&][^=&\s]+=)[^&\s]+/g

/** Shows a config as it was resolved, for those who run the gateway; secrets are masked, and whatever came from outside that is no plain URL. */
export function shownOf({ publicUrl, trustedProxies, words, routes, outside }: Plan): unknown {
  const shown = (value: unknown, name: string): unknown => {
    if (typeof value === 'string') return textShown(value, name, outside)
    if (Array.isArray(value)) return value.map((each) => shown(each, name))
    if (!isObject(value)) return typeof value === 'bigint' ? String(value) : value
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shown(each, key)]))
  }
  return {
    ...(publicUrl === undefined ? {} : { publicUrl }),
    trustedProxies,
    ...(shown(words, '') as object),
    routes: routes.map(({ name, paths, hosts, methods, target, options, words: own }) => ({
      name,
      path: paths.map(({ text }) => text),
      ...(hosts.length === 0 ? {} : { host: hosts }),
      ...(methods === undefined ? {} : { methods }),
      [target]: shown(options, target),
      ...(shown(own, '') as object)
    }))
  }
}

function textShown(text: string, name: string, outside: ReadonlySet<string>): string {
  // A key is a secret or the hash of one, unless it is the file that it lies in.
  if (SECRET.test(name) || (name === 'key' && !text.startsWith('/'))) return MASK
  const plain = text.replaceAll(USER, `$1${MASK}@`)
  if (!outside.has(text)) return plain
  return /^(https?|rediss?|unix):/.test(text) ? plain.replaceAll(VALUES, `$1${MASK}`) : MASK
}
