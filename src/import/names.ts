/** Makes names that are unlike each other. */
export class Names {
  readonly #known = new Set<string>()

  /** Returns a name of letters, digits, "_", "-" and "." for a text, with a number behind it if there is one like it. */
  unique(text: string): string {
    const plain = text.replaceAll(/[^\w.-]+/g, '-').replaceAll(/^-+|-+$/g, '') || 'unnamed'
    let name = plain
    for (let i = 2; this.#known.has(name); i++) name = `${plain}-${i}`
    this.#known.add(name)
    return name
  }
}

/** Returns the name of a variable of the environment. */
export const variableName = (...parts: readonly string[]): string =>
  parts
    .join('_')
    .replaceAll(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll(/\W+/g, '_')
    .replaceAll(/^_+|_+$/g, '')
    .toUpperCase()

/** Returns milliseconds as a duration such as "500ms", "5s" or "1m". */
export function durationOf(ms: number): string {
  for (const [unit, length] of UNITS) if (ms >= length && ms % length === 0) return `${ms / length}${unit}`
  return `${Math.max(1, Math.round(ms))}ms`
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000]
] as const
