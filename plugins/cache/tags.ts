import { parseList } from '../../src/lib/http/structured-fields.ts'
import { fieldIn } from './fields.ts'

const MAX_TAGS = 32
const MAX_TAG_BYTES = 64

/** Returns the groups of a Cache-Groups or Cache-Group-Invalidation field (RFC 9875); none where the field is invalid. */
export function groupsIn(field: string | undefined): string[] {
  const items = parseList(field ?? '') ?? []
  const names = items.flatMap((item) => (item.type === 'string' ? [item.value] : []))
  // One member of another type makes the whole field invalid.
  return names.length === items.length ? names : []
}

/** Returns the tags of a Surrogate-Key field, which are separated by spaces. */
export const surrogateKeysIn = (field: string | undefined): string[] =>
  (field ?? '').split(/[ \t,]+/).filter((tag) => tag !== '')

/** The names by which an entry can be purged. */
export interface EntryTags {
  /** By the admin's purges: those of the route, and all that the upstream names. */
  readonly tags: readonly string[]
  /** By a response of the same origin (RFC 9875 section 2). */
  readonly groups: readonly string[]
}

/** Collects the tags of a response: at most 32 of 64 bytes; the route's own come first. */
export function tagsOf(own: readonly string[], fields: readonly string[]): EntryTags {
  const groups = groupsIn(fieldIn(fields, 'cache-groups')).filter(isShort).slice(0, MAX_TAGS)
  const all = [...own, ...groups, ...surrogateKeysIn(fieldIn(fields, 'surrogate-key'))].filter(isShort)
  return { tags: [...new Set(all)].slice(0, MAX_TAGS), groups }
}

const isShort = (tag: string): boolean => Buffer.byteLength(tag) <= MAX_TAG_BYTES
