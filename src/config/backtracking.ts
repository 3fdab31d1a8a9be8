import { defineWarning } from '../kit/warning.ts'
import { type Finding, findingAt } from './finding.ts'
import type { PlannedRoute } from './plan-types.ts'

const slowPattern = defineWarning(
  'SP_WARN_ROUTE_PATTERN',
  'medium',
  'An expression in a path that backtracks'
)

/** Returns a warning for each expression of a path that takes quadratic time or more for some segments. */
export function patternFindings(routes: readonly PlannedRoute[]): Finding[] {
  const known = new Map<string, boolean>()
  return routes.flatMap((route) => {
    const expressions = new Set(
      route.paths.flatMap(({ segments }) =>
        segments.flatMap((segment) => ('parameter' in segment ? segment.expression : []))
      )
    )
    return [...expressions].flatMap((expression) => {
      const backtracks = known.get(expression) ?? doesBacktrack(expression)
      known.set(expression, backtracks)
      return backtracks
        ? [
            findingAt(
              slowPattern(
                `The route ${route.name} has "${expression}", which can split a text in many ways between its repetitions, and takes long for a segment that it does not match; one repetition, or a character between them, would work`
              ),
              route
            )
          ]
        : []
    })
  })
}

/** An atom of an expression, such as `\d`, `[a-z]` or a group, with its quantifier. */
interface Item {
  readonly atom: string
  /** Whether it repeats without a bound, itself or something in it. */
  readonly repeats: boolean
  readonly isOptional: boolean
}

const QUANTIFIER = /^(?:[*+?]|\{\d+(?:,\d*)?\})\??/
const UNBOUNDED = /^(?:[*+]|\{\d+,\})/

/** Returns whether an expression can match a run of one character in several ways, and fail after it: then the engine tries them all. */
export function doesBacktrack(expression: string): boolean {
  if (!/[*+]|\{\d+,\}/.test(expression)) return false
  const whole = new RegExp(`^${expression}$`)
  return ambiguousRuns(expression).some((character) =>
    ENDS.some((end) => !whole.test(character.repeat(RUN) + end))
  )
}

const RUN = 24
const ENDS = ['!', '~', 'A', 'z', '0', '-', '.', '%']
// The visible characters of ASCII.
const CHARACTERS = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))

/** Returns the characters of which an expression can split a run in several ways. */
function ambiguousRuns(expression: string): string[] {
  return alternativesOf(expression).flatMap((alternative) => {
    const items = itemsOf(alternative)
    return [...sequenceRuns(items), ...items.flatMap(({ atom }) => innerRuns(atom))]
  })
}

/** Two repetitions that accept the same character, with nothing between them that does not. */
function sequenceRuns(items: readonly Item[]): string[] {
  const accepts = items.map(({ atom }) => runsOf(atom))
  return CHARACTERS.filter((character) => {
    let repetitions = 0
    for (const [i, { repeats, isOptional }] of items.entries()) {
      if (accepts[i]?.has(character) === true) repetitions += Number(repeats)
      else if (!isOptional) repetitions = 0
      if (repetitions > 1) return true
    }
    return false
  })
}

/** A group whose alternatives accept the same character, where the group repeats; and what is in the group. */
function innerRuns(atom: string): string[] {
  const inner = /^\((?:\?:|\?<\w+>)?(.*)\)$/s.exec(atom.replace(QUANTIFIERS_AT_END, ''))?.[1]
  if (inner === undefined) return []
  const alternatives = alternativesOf(inner).map(runsOf)
  const shared = UNBOUNDED.test(atom.slice(atom.lastIndexOf(')') + 1))
    ? CHARACTERS.filter((character) => alternatives.filter((runs) => runs.has(character)).length > 1)
    : []
  return [...shared, ...ambiguousRuns(inner)]
}

const QUANTIFIERS_AT_END = /(?:[*+?]|\{\d+(?:,\d*)?\})\??$/

/** Returns the characters of which a part accepts a run. */
function runsOf(part: string): ReadonlySet<string> {
  const matcher = new RegExp(`^(?:${part})$`)
  return new Set(
    CHARACTERS.filter((character) => [1, 2, 3].some((length) => matcher.test(character.repeat(length))))
  )
}

/** Splits an expression at the `|` outside of groups and classes. */
function alternativesOf(expression: string): string[] {
  const parts = ['']
  for (const piece of piecesOf(expression)) {
    if (piece === '|') parts.push('')
    else parts.push((parts.pop() ?? '') + piece)
  }
  return parts
}

function itemsOf(alternative: string): Item[] {
  const items: Item[] = []
  for (const piece of piecesOf(alternative)) {
    const last = items.at(-1)
    if (last !== undefined && QUANTIFIER.test(piece))
      items[items.length - 1] = {
        atom: last.atom + piece,
        repeats: last.repeats || UNBOUNDED.test(piece),
        isOptional: /^(?:[*?]|\{0)/.test(piece)
      }
    else if (!/^[\^$]$/.test(piece) && piece !== '\\b')
      items.push({ atom: piece, repeats: /^\(.*(?:[*+]|\{\d+,\})/s.test(piece), isOptional: false })
  }
  return items
}

/** Splits an expression into escapes, classes, whole groups, quantifiers and single characters. */
function piecesOf(expression: string): string[] {
  const pieces: string[] = []
  for (let at = 0; at < expression.length; ) {
    const rest = expression.slice(at)
    const length = rest.startsWith('(')
      ? groupLength(rest)
      : (/^(?:\\u\{[^}]*\}|\\[pP]\{[^}]*\}|\\[\s\S]|\[(?:\\[\s\S]|[^\]\\])*\])/.exec(rest)?.[0].length ??
        QUANTIFIER.exec(rest)?.[0].length ??
        1)
    pieces.push(rest.slice(0, length))
    at += length
  }
  return pieces
}

/** Returns the length of the group that a text begins with. */
function groupLength(text: string): number {
  let depth = 0
  for (const { 0: part, index } of text.matchAll(/\\[\s\S]|\[(?:\\[\s\S]|[^\]\\])*\]|[()]/g)) {
    if (part === '(') depth++
    else if (part === ')' && --depth === 0) return index + 1
  }
  return text.length
}
