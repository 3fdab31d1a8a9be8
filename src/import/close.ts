import { isDeepStrictEqual } from 'node:util'
import { isJsonObject, type Json, type JsonObject } from './json.ts'
import type { SourceLine } from './source-text.ts'
import type { Translation } from './translation.ts'

// What says which requests a route or a group takes; all else of a closed one is set aside.
const MATCHERS: ReadonlySet<string> = new Set([
  'name',
  'host',
  'path',
  'methods',
  'when',
  'routes',
  'enabled'
])

/** Closes a route, or all routes of a group, because a construct that guards it has no translation. */
export function close(translation: Translation, entry: JsonObject, line: SourceLine, text: string): void {
  translation.missing(line, `${text}; closed until you have translated it`, entry)
  refuse(translation, entry)
}

/** Makes a route, or all routes of a group, answer 403; a comment keeps what it had. */
export function refuse(translation: Translation, entry: JsonObject): void {
  if (Array.isArray(entry['routes'])) {
    for (const each of entry['routes']) if (isJsonObject(each)) refuse(translation, each)
    return
  }
  const aside = Object.entries(entry).filter(([key]) => !MATCHERS.has(key))
  if (isDeepStrictEqual(aside, REFUSAL)) return
  for (const [key, value] of aside) {
    delete entry[key]
    for (const text of commentsWithin(value, translation)) translation.comment(entry, text)
  }
  entry['respond'] = { status: 403 }
  if (aside.length > 0) translation.comment(entry, `without it: ${JSON.stringify(Object.fromEntries(aside))}`)
}

const REFUSAL = [['respond', { status: 403 }]]

function commentsWithin(value: Json, translation: Translation): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  return [
    ...translation.commentsOf(value),
    ...Object.values(value).flatMap((each) => commentsWithin(each, translation))
  ]
}
