import { RE2JS } from 're2js'
import { getOrCreate } from '../../memoize.ts'
import { inTime } from './in-time.ts'

/** A compiled `pattern` of a schema. */
export interface Pattern {
  /** Throws PatternTimeout where the native engine takes too long. */
  test(text: string): boolean
  /** Whether the time is linear in the length of the text; false where only the native engine takes the pattern. */
  readonly isLinear: boolean
  /** The key under which ajv caches a pattern. */
  toString(): string
}

// A pattern without groups can't backtrack where it has no quantifier, or is anchored and has one at most; the native engine is 20 times faster then.
const ATOM = String.raw`(?:\\(?:u\{[\da-fA-F]+\}|[pP]\{[^}]*\}|[^k1-9bB])|\[(?:\\.|[^\]\\])*\]|[^\\[\](){}*+?|^$])`
const PLAIN = new RegExp(
  String.raw`^(?:${ATOM}*|\^(?:${ATOM}(?:\{\d+\})?)*(?:${ATOM}(?:[*+?]|\{\d+,\d*\}))?(?:${ATOM}(?:\{\d+\})?)*)\$?$`,
  'u'
)

/** Returns whether the native engine matches a pattern in linear time. */
export const isPlainPattern = (source: string): boolean => PLAIN.test(source)

const compiled = new Map<string, Pattern>()
// A process that reloads its config for years meets no more patterns than this at a time.
const MAX_PATTERNS = 10_000

/** Compiles a pattern of ECMA-262 to run in linear time where the linear engine takes it; with the `u` flag, or without where it is valid only then, as many are. Throws a SyntaxError where it is not valid. */
export function compilePattern(source: string): Pattern {
  if (compiled.size >= MAX_PATTERNS) compiled.clear()
  return getOrCreate(compiled, source, () => {
    const isUnicode = isValid(source, 'u')
    const native = new RegExp(source, isUnicode ? 'u' : '')
    if (isPlainPattern(source)) return Object.assign(native, { isLinear: true })
    const linear = isUnicode ? linearEngine(source) : undefined
    return linear === undefined
      ? Object.assign(new RegExp(native), {
          test: (text: string) => inTime(() => native.test(text)),
          isLinear: false
        })
      : { test: (text) => linear.test(text), isLinear: true, toString: () => source }
  })
}

function isValid(source: string, flags: string): boolean {
  try {
    return new RegExp(source, flags) instanceof RegExp
  } catch {
    return false
  }
}

function linearEngine(source: string): RE2JS | undefined {
  try {
    const translated = toRe2(source)
    return translated === undefined ? undefined : RE2JS.compile(translated)
  } catch {
    return undefined
  }
}

// White space and line ends of ECMA-262, which RE2 has fewer of.
const SPACES =
  '\\t\\n\\v\\f\\r \\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}'
const NO_SPACES =
  '\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}'
const LINE_ENDS = '\\n\\r\\x{2028}\\x{2029}'

const TOKEN =
  /\\u\{([\da-fA-F]+)\}|\\u([dD][89abAB][\da-fA-F]{2})\\u([dD][c-fC-F][\da-fA-F]{2})|\\u([\da-fA-F]{4})|\\c([a-zA-Z])|\\[pP]\{[^}]*\}|\\.|\[\^?|[\s\S]/gu

/** Writes a pattern of ECMA-262 in the syntax of RE2; undefined where RE2 has no equal. */
function toRe2(source: string): string | undefined {
  let out = ''
  let inClass = false
  for (const [token, point, high, low, unit, control] of source.matchAll(TOKEN)) {
    const code =
      point ??
      (high !== undefined && low !== undefined ? pair(high, low) : undefined) ??
      unit ??
      (control === undefined ? undefined : (control.charCodeAt(0) % 32).toString(16))
    if (code !== undefined) out += `\\x{${code}}`
    else if (token === '\\s') out += inClass ? SPACES : `[${SPACES}]`
    else if (token === '\\S') out += inClass ? NO_SPACES : `[${NO_SPACES}]`
    else if (token === '\\b' && inClass) out += '\\x08'
    else if (token === '\\0') out += '\\x{0}'
    else if (/^\\[k1-9]$/.test(token)) return undefined
    // A script or a property by its long name: the names of RE2 differ.
    else if (/^\\[pP]\{/.test(token) && !/^\\[pP]\{[A-Z][a-z]?\}$/.test(token)) return undefined
    else if (token === '.' && !inClass) out += `[^${LINE_ENDS}]`
    else if (token === '[' || token === '[^') {
      if (inClass) out += token === '[' ? '\\[' : '\\[^'
      else {
        inClass = true
        out += token
      }
    } else if (token === ']' && inClass) {
      // RE2 reads the bracket of an empty class as its first member.
      if (/(?:^|[^\\])\[\^?$/.test(out)) return undefined
      inClass = false
      out += token
    } else out += /^\\[/-]$/.test(token) ? `\\x{${token.charCodeAt(1).toString(16)}}` : token
  }
  return out
}

const pair = (high: string, low: string): string =>
  (((Number.parseInt(high, 16) - 0xd800) << 10) + (Number.parseInt(low, 16) - 0xdc00) + 0x10000).toString(16)
