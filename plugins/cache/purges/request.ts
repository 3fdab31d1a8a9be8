import { isObject } from '../../../src/lib/schema.ts'
import { purgeUrl } from '../invalidation.ts'
import type { PurgeNames } from './table.ts'

// More names in one request are refused.
const MAX_NAMES = 1000

/** Reads the body of a request to purge: one of `tags`, `urls`, `prefix` and `all`, and `soft`; throws a TypeError for anything else. */
export function readPurge(body: unknown): PurgeNames {
  if (!isObject(body)) throw new TypeError('expected an object')
  const { tags, urls, prefix, all, soft = false, ...unknown } = body
  const [first] = Object.keys(unknown)
  if (first !== undefined) throw new TypeError(`unknown option "${first}"`)
  if (typeof soft !== 'boolean') throw new TypeError('expected true or false for "soft"')
  if ([tags, urls, prefix, all].filter((each) => each !== undefined).length !== 1)
    throw new TypeError('expected one of "tags", "urls", "prefix" and "all"')
  if (tags !== undefined) return { tags: textsOf('tags', tags), soft }
  if (urls !== undefined) return { urls: textsOf('urls', urls).map(entryUrl), soft }
  if (prefix !== undefined) return { prefixes: textsOf('prefix', prefix).map(entryUrl), soft }
  if (all !== true) throw new TypeError('expected true for "all"')
  return { all, soft }
}

/** Counts the names of a purge. */
export const countNames = ({ tags = [], urls = [], prefixes = [], all }: PurgeNames): number =>
  all === true ? 1 : tags.length + urls.length + prefixes.length

function textsOf(option: string, value: unknown): string[] {
  const texts = [value].flat()
  if (texts.length === 0 || texts.length > MAX_NAMES || !texts.every(isText))
    throw new TypeError(`expected a text or a list of 1 to ${MAX_NAMES} texts for "${option}"`)
  return texts
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** Writes a URL, or a path for all hosts, as entries are known by it. */
function entryUrl(text: string): string {
  const [, host, path] = /^(?:https?:)?\/\/([^/?#]+)([^#]*)/i.exec(text) ?? []
  if (host !== undefined) return purgeUrl(host, path === '' || path === undefined ? '/' : path)
  if (text.startsWith('/')) return text
  throw new TypeError('expected URLs such as "https://api.example.com/a", or paths such as "/a"')
}
