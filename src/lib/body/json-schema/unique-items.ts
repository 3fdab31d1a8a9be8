/** Returns whether no two items of a list are equal (JSON Schema, `uniqueItems`), in time linear in the size of the list. */
export function hasUniqueItems(items: readonly unknown[]): boolean {
  if (items.length < 2) return true
  if (items.every((item) => typeof item === 'string')) return new Set(items).size === items.length
  const seen = new Set<unknown>()
  for (const item of items) {
    // A text may look like the JSON of an object, so that objects have a prefix that no other key has.
    const key = typeof item === 'string' ? `"${item}` : typeof item === 'object' ? canonicalJson(item) : item
    if (seen.has(key)) return false
    seen.add(key)
  }
  return true
}

/** Writes a JSON value so that equal values have equal texts: keys are sorted. */
function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`
  return `{${Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, each]) => `${JSON.stringify(key)}:${canonicalJson(each)}`)
    .join()}}`
}
