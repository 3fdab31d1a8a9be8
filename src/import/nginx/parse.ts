import { errorAt, type SourceLine, type SourceText } from '../source-text.ts'

/** A directive of nginx, with the directives of its block if it has one. */
export interface Directive extends SourceLine {
  readonly name: string
  readonly args: readonly string[]
  readonly block?: readonly Directive[]
}

interface Token extends SourceLine {
  readonly text: string
  /** A quoted text is never a brace or a semicolon. */
  readonly isQuoted: boolean
}

// nginx itself has at most a handful of levels.
const MAX_DEPTH = 32

/** Parses a config of nginx by its grammar; throws an ImportError with the line that is malformed. */
export function parseNginx(source: SourceText): Directive[] {
  const tokens = tokensOf(source)
  let next = 0
  const line = (): SourceLine => tokens[Math.min(next, tokens.length - 1)] ?? { file: source.file, line: 1 }

  function block(depth: number): Directive[] {
    if (depth > MAX_DEPTH)
      throw errorAt(line(), `expected at most ${MAX_DEPTH} blocks in each other, got more`)
    const found: Directive[] = []
    for (;;) {
      const token = tokens[next]
      if (token === undefined) {
        if (depth > 0) throw errorAt(line(), 'expected "}", got the end of the file')
        return found
      }
      if (isMark(token, '}')) {
        if (depth === 0) throw errorAt(token, 'expected a directive, got "}"')
        next++
        return found
      }
      found.push(directive(token, depth))
    }
  }

  function directive(first: Token, depth: number): Directive {
    if (isMark(first, '{') || isMark(first, ';'))
      throw errorAt(first, `expected a directive, got "${first.text}"`)
    const args: string[] = []
    const { file, line: at, text: name } = first
    for (next++; ; next++) {
      const token = tokens[next]
      if (token === undefined || isMark(token, '}'))
        throw errorAt(
          first,
          `expected ";" or "{" after "${name}", got ${token === undefined ? 'the end of the file' : '"}"'}`
        )
      if (isMark(token, ';')) {
        next++
        return { file, line: at, name, args }
      }
      if (isMark(token, '{')) {
        next++
        return { file, line: at, name, args, block: block(depth + 1) }
      }
      args.push(token.text)
    }
  }

  return block(0)
}

const isMark = ({ text, isQuoted }: Token, mark: string): boolean => !isQuoted && text === mark

function tokensOf({ file, text }: SourceText): Token[] {
  const tokens: Token[] = []
  let line = 1
  let i = 0
  while (i < text.length) {
    const char = text.charAt(i)
    if (char === '\n') line++
    if (/\s/.test(char)) i++
    else if (char === '#') i = endOf(text.indexOf('\n', i), text)
    else if ('{};'.includes(char)) {
      tokens.push({ file, line, text: char, isQuoted: false })
      i++
      const name = tokens.at(-2)
      if (char === '{' && name !== undefined && /_by_lua_block$/.test(name.text)) {
        const end = endOfScript(text, i)
        line += linesIn(text.slice(i, end))
        i = end
      }
    } else {
      const start = line
      const word = char === '"' || char === "'" ? quoted(text, i) : bare(text, i)
      if (word === undefined)
        throw errorAt({ file, line }, `expected ${char} at the end of the text, got the end of the file`)
      tokens.push({ file, line: start, text: word.text, isQuoted: char === '"' || char === "'" })
      line += linesIn(text.slice(i, word.end))
      i = word.end
    }
  }
  return tokens
}

interface Word {
  readonly text: string
  readonly end: number
}

function quoted(text: string, start: number): Word | undefined {
  const quote = text.charAt(start)
  let made = ''
  for (let i = start + 1; i < text.length; i++) {
    const char = text.charAt(i)
    if (char === quote) return { text: made, end: i + 1 }
    if (char === '\\' && i + 1 < text.length) made += unescaped(text.charAt(++i))
    else made += char
  }
  return undefined
}

function bare(text: string, start: number): Word {
  let made = ''
  let i = start
  for (; i < text.length; i++) {
    const char = text.charAt(i)
    if (char === '$' && text.charAt(i + 1) === '{') {
      const end = text.indexOf('}', i)
      if (end !== -1) {
        made += text.slice(i, end + 1)
        i = end
        continue
      }
    }
    if (/[\s;{}]/.test(char)) break
    if (char === '\\' && i + 1 < text.length && !/\s/.test(text.charAt(i + 1)))
      made += unescaped(text.charAt(++i))
    else made += char
  }
  return { text: made, end: i }
}

// As nginx does: only these characters lose the backslash, so that regular expressions keep theirs.
function unescaped(char: string): string {
  if (char === 't') return '\t'
  if (char === 'r') return '\r'
  if (char === 'n') return '\n'
  return `"'\\ `.includes(char) ? char : `\\${char}`
}

const linesIn = (text: string): number => text.split('\n').length - 1

const endOf = (index: number, text: string): number => (index === -1 ? text.length : index)

/** Returns where the braces of a block of Lua are closed, outside of its texts and comments; the brace itself is not passed. */
function endOfScript(text: string, start: number): number {
  const tokens = /--[^\n]*|"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*'|[{}]/g
  tokens.lastIndex = start
  let depth = 1
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    if (match[0] === '{') depth++
    if (match[0] === '}' && --depth === 0) return match.index
  }
  return text.length
}
