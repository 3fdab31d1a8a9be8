import { literal } from '../values.ts'

/** A path of a route of Kong, and how ours say it. */
export interface KongPath {
  /** The text up to the first special character. */
  readonly prefix: string
  readonly expression?: RegExp
  /** What matches it; undefined if no path can say it. */
  readonly path?: string
  /** What matches where the prefix ends within a segment, such as /orders in /ordersheet. */
  readonly wide?: string
  /** Whether `strip_path` strips all of it. */
  readonly isWhole: boolean
}

/** Reads a path: a prefix, or a regular expression, which has no "~" in formats before 3.0. */
export function readPath(text: string, { isOldFormat }: { isOldFormat: boolean }): KongPath {
  const isExpression = text.startsWith('~') || (isOldFormat && /[^\w.~/%-]/.test(text))
  return isExpression ? readExpression(text.replace(/^~\*?/, '').replace(/^\^/, '')) : readPrefix(text)
}

function readPrefix(text: string): KongPath {
  const bare = text.replace(/\/+$/, '')
  const made = { prefix: text, path: `${pathText(bare)}/*`, isWhole: false }
  return bare === '' || text.endsWith('/') ? made : { ...made, wide: wideOf(pathText(bare)) }
}

/** Returns a path for what begins with a prefix and goes on in the same segment. */
function wideOf(path: string): string {
  const cut = path.lastIndexOf('/') + 1
  return `${path.slice(0, cut)}:rest(${path.slice(cut).replaceAll(/[\\^$.|?*+()[\]{}]/g, '\\$&')}.+)/*`
}

function readExpression(text: string): KongPath {
  const prefix = /^(?:[\w/~!@%-]|\\[/.-])*(?![*+?{])/.exec(text)?.[0].replaceAll('\\', '') ?? ''
  const none = { prefix, isWhole: false, ...expressionOf(text) }
  const isEnded = /(?:^|[^\\])\$$/.test(text)
  const segments = splitSegments(isEnded ? text.slice(0, -1) : text)
  if (segments === undefined) return none
  const made: string[] = []
  for (const [i, segment] of segments.entries()) {
    const isOpen = i === segments.length - 1 && !isEnded
    if (i === segments.length - 1 && /^\(?\.\*\)?$/.test(segment))
      return { ...none, path: `/${[...made, '*'].join('/')}`, isWhole: true }
    if (isOpen && segment === '') return { ...none, path: `/${[...made, '*'].join('/')}` }
    const plain = literalOf(segment)
    if (plain === undefined) {
      const parameter = parameterOf(segment, `p${i + 1}`, { isOpen })
      if (parameter === undefined) return none
      made.push(parameter)
    } else made.push(plain)
    if (!isOpen) continue
    const path = `/${made.join('/')}`
    return { ...none, path: `${path}/*`, ...(plain !== undefined && { wide: wideOf(path) }) }
  }
  return { ...none, path: `/${made.join('/')}`, isWhole: true }
}

function expressionOf(text: string): { expression?: RegExp } {
  try {
    return { expression: new RegExp(`^${text.replaceAll('(?P<', '(?<')}`) }
  } catch {
    return {}
  }
}

/** Splits an expression at the slashes outside of groups and classes; undefined if one is inside, or none begins it. */
function splitSegments(text: string): string[] | undefined {
  const [first, ...segments] = text.replaceAll('\\/', '/').replaceAll('[^/]', '.').split('/')
  if (first !== '') return undefined
  const isBalanced = (segment: string): boolean => {
    const bare = segment.replaceAll(/\\./g, '').replaceAll(/\[[^\]]*\]/g, '')
    return bare.split('(').length === bare.split(')').length && !/[[\]]/.test(bare)
  }
  return segments.every(isBalanced) ? segments : undefined
}

function literalOf(segment: string): string | undefined {
  const plain = segment.replaceAll(/\\([^A-Za-z0-9])/g, '')
  return /^[\w~!@%-]*$/.test(plain) ? pathText(segment.replaceAll(/\\(.)/g, '$1')) : undefined
}

function parameterOf(segment: string, fallback: string, { isOpen }: { isOpen: boolean }): string | undefined {
  const [, name = fallback, inner = segment] = /^\((?:\?P?<(\w+)>)?((?:[^()\\]|\\.)*)\)$/.exec(segment) ?? []
  const expression = inner.replaceAll(/\(\?P?<\w+>/g, '(?:')
  if (/\(\?(?!:)|\\[bBAZz1-9]|[\^$]/.test(expression.replaceAll(/\[\^/g, '['))) return undefined
  return `:${name}(${isOpen ? `(?:${expression}).*` : expression})`
}

/** Returns a literal path in our syntax, where a colon begins a parameter and some characters are refused. */
const pathText = (path: string): string =>
  literal(encodeURI(path).replaceAll('%25', '%'))
    .replaceAll(/[:*{}<>?#]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll(/\/{2,}/g, '/')
