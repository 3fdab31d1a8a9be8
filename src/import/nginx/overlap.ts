/** Returns whether two paths could take the same request, and the first one would win because it is more specific. */
export function beats(path: string, other: string): boolean {
  const a = segmentsOf(path)
  const b = segmentsOf(other)
  let isMoreSpecific = a.length > b.length || (!path.endsWith('/*') && other.endsWith('/*'))
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [left = '', right = ''] = [a[i], b[i]]
    if (left === right) continue
    const isParameter = left.startsWith(':')
    const isOther = right.startsWith(':')
    if (!isParameter && !isOther) return false
    if (isParameter && isOther) continue
    if (!(isParameter ? matches(left, right) : matches(right, left))) return false
    if (!isParameter) isMoreSpecific = true
  }
  return isMoreSpecific
}

const segmentsOf = (path: string): string[] => path.replace(/\/\*$/, '').split('/').slice(1)

function matches(parameter: string, literal: string): boolean {
  const expression = /^:\w+(\(.*\))$/.exec(parameter)?.[1]
  if (expression === undefined) return true
  try {
    return new RegExp(`^${expression}$`).test(literal)
  } catch {
    return true
  }
}
