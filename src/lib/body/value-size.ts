import { isRawNumber } from './json.ts'

/** Tells whether a value is more than about `max` characters as JSON; a part that stands at several places counts each time. */
export function isLargerThan(value: unknown, max: number): boolean {
  let left = max
  const fits = (each: unknown): boolean => {
    left -= typeof each === 'string' ? each.length + 2 : 4
    if (left < 0) return false
    if (typeof each !== 'object' || each === null) return true
    if (Array.isArray(each)) return each.every(fits)
    if (isRawNumber(each)) {
      left -= each.rawJSON.length
      return left >= 0
    }
    for (const name in each) {
      left -= name.length + 3
      if (left < 0 || !fits((each as Readonly<Record<string, unknown>>)[name])) return false
    }
    return true
  }
  return !fits(value)
}
