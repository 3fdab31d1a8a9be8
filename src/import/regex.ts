/** What a regular expression matches, as globs; if they are not exact, they match more. */
export interface Globs {
  readonly globs: readonly string[]
  readonly isExact: boolean
}

// More would make a list that nobody reads.
const MAX_GLOBS = 512
const END = '\0'

/** Translates a regular expression of a path into globs, where `*` is any characters; undefined if it is malformed or too long. */
export function globsOf(pattern: string, options: { ignoresCase: boolean }): Globs | undefined {
  const state = { text: pattern, at: 0, isExact: true, ignoresCase: options.ignoresCase }
  let found = alternatives(state)
  if (found === undefined || state.at < pattern.length) return undefined
  found = found.map((glob) => {
    const begun = glob.startsWith('^') ? glob.slice(1) : `*${glob}`
    const [body = '', rest] = begun.split(END, 2)
    return (rest === undefined ? `${body}*` : body).replaceAll(/\*+/g, '*').replaceAll('^', '')
  })
  const globs = [...new Set(found)]
  return globs.length > MAX_GLOBS ? undefined : { globs, isExact: state.isExact }
}

interface State {
  readonly text: string
  readonly ignoresCase: boolean
  at: number
  isExact: boolean
}

function alternatives(state: State): string[] | undefined {
  const all: string[] = []
  for (;;) {
    const found = sequence(state)
    if (found === undefined) return undefined
    all.push(...found)
    if (all.length > MAX_GLOBS) return undefined
    if (state.text.charAt(state.at) !== '|') return all
    state.at++
  }
}

function sequence(state: State): string[] | undefined {
  let made = ['']
  while (state.at < state.text.length && !'|)'.includes(state.text.charAt(state.at))) {
    const piece = atom(state)
    if (piece === undefined) return undefined
    const repeated = repetition(state, piece)
    made = made.flatMap((each) => repeated.map((next) => each + next))
    if (made.length > MAX_GLOBS) return undefined
  }
  return made
}

function atom(state: State): string[] | undefined {
  const { text } = state
  const char = text.charAt(state.at++)
  if (char === '^') return ['^']
  if (char === '$') return [END]
  if (char === '(') return group(state)
  if (char === '[') {
    const end = /^\^?\]?(?:\\.|[^\]\\])*\]/.exec(text.slice(state.at))?.[0].length
    if (end === undefined) return undefined
    state.at += end
    return inexact(state)
  }
  if (char === '.') {
    // ".*" is what a glob can say; one character alone is not.
    if (text.charAt(state.at) !== '*') state.isExact = false
    return ['*']
  }
  if (char !== '\\') return lettersOf(char, state)
  const escaped = text.charAt(state.at++)
  return /[a-z0-9]/i.test(escaped) ? inexact(state) : lettersOf(escaped, state)
}

function group(state: State): string[] | undefined {
  const { text } = state
  const [kind = ''] = /^\?(?:[:=!]|<[=!]|<\w+>|[a-z]+:?)/i.exec(text.slice(state.at)) ?? []
  if (text.charAt(state.at) === '?' && kind === '') return undefined
  state.at += kind.length
  const inner = alternatives(state)
  if (inner === undefined || text.charAt(state.at++) !== ')') return undefined
  if (!/[=!]$/.test(kind)) return inner
  // A look-around narrows what is matched, which a glob can't.
  state.isExact = false
  return ['']
}

function repetition(state: State, piece: string[]): string[] {
  const [mark = ''] = /^(?:[*+?]|\{\d*,?\d*\})[?+]?/.exec(state.text.slice(state.at)) ?? []
  if (mark === '') return piece
  state.at += mark.length
  if (mark.startsWith('?')) return [...piece, '']
  if (piece.length === 1 && piece[0] === '*') {
    if (!mark.startsWith('*')) state.isExact = false
    return piece
  }
  return inexact(state)
}

function inexact(state: State): string[] {
  state.isExact = false
  return ['*']
}

function lettersOf(char: string, state: State): string[] {
  // A glob has no way to write these.
  if (char === '*') return inexact(state)
  const other = char === char.toLowerCase() ? char.toUpperCase() : char.toLowerCase()
  return state.ignoresCase && other !== char ? [char, other] : [char]
}
