import { isObject } from '../../src/lib/schema.ts'

/** Returns whether options set "require" alone, and refuse every caller that the outer ones refuse. */
export function isStricter(written: unknown, outer: unknown): boolean {
  if (!isObject(written) || !Object.keys(written).every((key) => key === 'require' || key.startsWith('x-')))
    return false
  const own = written['require']
  const before = isObject(outer) ? outer['require'] : undefined
  if (!isObject(own) || (before !== undefined && !isObject(before))) return false
  return Object.entries(own).every(([key, value]) => narrows(key, value, before?.[key]))
}

/** Returns whether a value of "require" lets through no caller that the outer one refuses. */
function narrows(key: string, value: unknown, outer: unknown): boolean {
  if (outer === undefined) return value !== false
  if (key === 'roles') return isList(value) && isList(outer) && value.every((role) => outer.includes(role))
  if (key === 'scopes') return isList(value) && isList(outer) && outer.every((scope) => value.includes(scope))
  return (
    key === 'claims' &&
    isObject(value) &&
    isObject(outer) &&
    Object.entries(value).every(
      ([name, accepted]) =>
        outer[name] === undefined || [accepted].flat().every((text) => [outer[name]].flat().includes(text))
    )
  )
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value)
