import { isDeepStrictEqual } from 'node:util'
import { isJsonObject, type JsonObject, objectAt } from './json.ts'
import type { Translation } from './translation.ts'

// What belongs to a route alone. A limit counts where it is written, so it stays there.
const OWN: ReadonlySet<string> = new Set(
  'name host path methods when enabled routes proxy redirect respond files aggregate apiDocs rateLimit include'.split(
    ' '
  )
)

/** Moves options that all routes of a group have alike to the group, and those of all groups to the root; the same for options of `proxy`. */
export function hoist(translation: Translation): void {
  const entries = entriesOf(translation.config)
  for (const entry of entries) if (Array.isArray(entry['routes'])) moveUp(entry, entriesOf(entry))
  const root = translation.config
  // Options of the root apply to responses of the gateway itself, too.
  moveUp(root, entries)
  const proxies = proxiesOf(root)
  if (proxies.length < 2) return
  for (const key of ['preserveHost', 'websocket', 'timeout'])
    if (
      proxies.every((proxy) => proxy[key] !== undefined && isDeepStrictEqual(proxy[key], proxies[0]?.[key]))
    ) {
      objectAt(root, 'proxy')[key] = proxies[0]?.[key] ?? true
      for (const proxy of proxies) delete proxy[key]
    }
}

function moveUp(outer: JsonObject, entries: readonly JsonObject[]): void {
  for (const entry of entries) splitHeaders(entry)
  for (const key of new Set(
    entries.flatMap((entry) => Object.keys(entry).filter((each) => !OWN.has(each)))
  )) {
    const [first, ...others] = entries.filter((entry) => entry[key] !== undefined || !maySkip(entry, key))
    if (first?.[key] === undefined || others.length === 0 || outer[key] !== undefined) continue
    if (!others.every((entry) => isDeepStrictEqual(entry[key], first[key]))) continue
    outer[key] = first[key]
    for (const entry of entries) delete entry[key]
  }
  for (const entry of [outer, ...entries]) joinHeaders(entry)
}

// What a fixed response without these options would not notice.
const HARMLESS = /^(?:limits|compress|headers\..*)$/

/** Returns whether a route may get an option from its group that it does not have itself. */
const maySkip = (entry: JsonObject, key: string): boolean =>
  isDeepStrictEqual(entry['respond'], { status: 403 }) ||
  (HARMLESS.test(key) && (entry['respond'] !== undefined || entry['redirect'] !== undefined))

// Each header moves by itself.
function splitHeaders(entry: JsonObject): void {
  const headers = entry['headers']
  if (!isJsonObject(headers)) return
  delete entry['headers']
  for (const [side, changes] of Object.entries(headers))
    if (!isJsonObject(changes)) entry[`headers.${side}`] = changes
    else for (const [name, change] of Object.entries(changes)) entry[`headers.${side}.${name}`] = change
}

function joinHeaders(entry: JsonObject): void {
  for (const key of Object.keys(entry).filter((each) => each.startsWith('headers.'))) {
    const [, side = '', name] = /^headers\.(\w+)(?:\.(.*))?$/.exec(key) ?? []
    const value = entry[key] ?? null
    delete entry[key]
    if (name === undefined) objectAt(entry, 'headers')[side] = value
    else objectAt(objectAt(entry, 'headers'), side)[name] = value
  }
}

const entriesOf = (group: JsonObject): JsonObject[] =>
  Array.isArray(group['routes']) ? group['routes'].filter(isJsonObject) : []

const proxiesOf = (group: JsonObject): JsonObject[] =>
  entriesOf(group).flatMap((entry) =>
    isJsonObject(entry['proxy']) ? [entry['proxy'], ...proxiesOf(entry)] : proxiesOf(entry)
  )
