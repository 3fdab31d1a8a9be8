import { structuredPatch } from 'diff'
import { yieldIfDue } from '../lib/time-slicing.ts'
import type { Plan } from './plan-types.ts'
import { maskerOf } from './redact.ts'

// A change of more lines is cut: the history of reloads is for people.
const MAX_LINES = 400
const MAX_LINE = 300
// More changed lines than this within one part are shown as removed and added as a whole.
const MAX_EDITS = 500

/** One part of a config: the root options of a concern, or a route. */
interface Part {
  /** The options as they are, by which an unchanged part is recognized. */
  readonly exact: string
  /** Returns the options as JSON, with secrets masked. */
  shown(): string
}

/** Returns what changes from one config to the next, as a text diff with secrets masked: by the root options of each concern, and by route. */
export async function diffConfigs(before: Plan, after: Plan): Promise<string> {
  const [old, next] = [await partsOf(before), await partsOf(after)]
  const lines: string[] = []
  for (const name of new Set([...old.keys(), ...next.keys()])) {
    await yieldIfDue()
    const [one, other] = [old.get(name), next.get(name)]
    if (one?.exact === other?.exact) continue
    lines.push(`@@ ${name} @@`, ...diffParts(one, other))
    if (lines.length > MAX_LINES) break
  }
  const shown = lines.slice(0, MAX_LINES).map((line) => line.slice(0, MAX_LINE))
  if (lines.length > MAX_LINES) shown.push('… and more changes')
  return shown.join('\n')
}

function diffParts(one: Part | undefined, other: Part | undefined): string[] {
  const [old, next] = [one?.shown() ?? '', other?.shown() ?? '']
  if (old === next) return ['  a value changed that is masked']
  const patch = structuredPatch('', '', old, next, '', '', { context: 2, maxEditLength: MAX_EDITS })
  if (patch === undefined) return [...prefixed('-', old), ...prefixed('+', next)]
  return patch.hunks.flatMap(({ lines }, i) => (i === 0 ? lines : ['  …', ...lines])).filter(isContent)
}

const prefixed = (sign: string, text: string): string[] => text.split('\n').map((line) => sign + line)

const isContent = (line: string): boolean => !line.startsWith('\\')

/** Divides a config into parts, by name. A route has only the options in which it differs from the root. */
async function partsOf(plan: Plan): Promise<Map<string, Part>> {
  const masked = maskerOf(plan)
  const json = jsonOf()
  const parts = new Map<string, Part>()
  const { publicUrl, trustedProxies, clientIp, options: root, routes } = plan
  const add = (name: string, exact: string, value: () => unknown): void => {
    let free = name
    for (let i = 2; parts.has(free); i++) free = `${name} (${i})`
    parts.set(free, { exact, shown: () => JSON.stringify(value(), null, 2) })
  }
  add('gateway', JSON.stringify([publicUrl, trustedProxies, clientIp]), () => ({
    publicUrl,
    trustedProxies,
    clientIp
  }))
  for (const [key, value] of Object.entries(root))
    if (!hasManyParts(value, plan, key)) add(key, json(value), () => masked(value, [key]))
    else
      for (const [name, inner] of Object.entries(value as object))
        add(`${key}.${name}`, json(inner), () => masked(inner, [key, name]))
  for (const { name, paths, hosts, methods, target, targetOptions, options } of routes) {
    await yieldIfDue()
    const own = Object.entries(options).filter(([key, value]) => json(value) !== json(root[key]))
    const match = { path: paths.map(({ text }) => text), host: hosts, methods }
    add(
      `route ${name}`,
      JSON.stringify([match, target]) +
        json(targetOptions) +
        own.map(([key, value]) => key + json(value)).join(),
      () => ({
        ...match,
        [target]: masked(targetOptions, [target]),
        ...Object.fromEntries(own.map(([key, value]) => [key, masked(value, [key])]))
      })
    )
  }
  return parts
}

const hasManyParts = (value: unknown, { catalog }: Plan, key: string): boolean =>
  typeof value === 'object' &&
  catalog.concerns.some((concern) => concern.key === key && concern.named === true)

/** Returns a function that serializes options, once for all routes that share them. */
function jsonOf(): (value: unknown) => string {
  const known = new WeakMap<object, string>()
  const serialize = (value: unknown): string =>
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? ''
  return (value) => {
    if (typeof value !== 'object' || value === null) return serialize(value)
    let text = known.get(value)
    if (text === undefined) {
      text = serialize(value)
      known.set(value, text)
    }
    return text
  }
}
