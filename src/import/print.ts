import { isJsonObject, type Json } from './json.ts'
import type { Translation } from './translation.ts'

const WIDTH = 110

/** Prints a translated config as JSON with comments. */
export function printTranslation(translation: Translation, header: readonly string[]): string {
  return `${[...header.map(commentLine), print(translation.config, '', translation)].join('\n')}\n`
}

function print(value: Json, indent: string, translation: Translation): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (!hasComments(value, translation)) {
    const short = inline(value)
    if (indent !== '' && short.length + indent.length <= WIDTH) return short
  }
  const inner = `${indent}  `
  const comments = translation.commentsOf(value).map((text) => inner + commentLine(text))
  const parts = isJsonObject(value)
    ? entriesOf(value).map(
        ([key, each]) => `${inner}${JSON.stringify(key)}: ${print(each, inner, translation)}`
      )
    : value.map((each) => inner + print(each, inner, translation))
  const lines = [...comments, ...parts.map((part, i) => (i < parts.length - 1 ? `${part},` : part))]
  const [open, close] = isJsonObject(value) ? '{}' : '[]'
  return lines.length === 0 ? `${open}${close}` : `${open}\n${lines.join('\n')}\n${indent}${close}`
}

// The target of a route stands below its options, and what is inside of a group at the end.
const LAST = ['proxy', 'redirect', 'respond', 'files', 'routes']

function entriesOf(value: { [key: string]: Json }): [string, Json][] {
  const isEntry = value['path'] !== undefined || value['routes'] !== undefined
  const rank = ([key]: [string, Json]): number => (isEntry ? LAST.indexOf(key) : -1)
  return Object.entries(value).toSorted((a, b) => rank(a) - rank(b))
}

function hasComments(value: Json, translation: Translation): boolean {
  if (typeof value !== 'object' || value === null) return false
  return (
    translation.commentsOf(value).length > 0 ||
    Object.values(value).some((each) => hasComments(each, translation))
  )
}

function inline(value: Json): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`
  const entries = entriesOf(value).map(([key, each]) => `${JSON.stringify(key)}: ${inline(each)}`)
  return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`
}

const MAX_COMMENT = 2000

// A comment quotes the source, which must not end it: a line break would make the rest a part of the config.
function commentLine(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ').trim()
  return `// ${line.length > MAX_COMMENT ? `${line.slice(0, MAX_COMMENT)}…` : line}`
}
