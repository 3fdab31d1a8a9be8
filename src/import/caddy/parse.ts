import { errorAt, type SourceLine, type SourceText } from '../source-text.ts'

/** A line of a Caddyfile, with the lines of its block if it has one. */
export interface Line extends SourceLine {
  readonly words: readonly string[]
  readonly block?: readonly Line[]
}

interface Token extends SourceLine {
  readonly text: string
  readonly isQuoted: boolean
  /** Whether it is on the line of the token before it. */
  readonly isSameLine: boolean
}

const MAX_DEPTH = 32

/** Parses a Caddyfile by its grammar into lines and blocks; throws an ImportError with the line that is malformed. */
export function parseCaddyfile(source: SourceText): Line[] {
  const tokens = tokensOf(source)
  let next = 0

  function block(depth: number, opened?: Token): Line[] {
    if (depth > MAX_DEPTH && opened !== undefined)
      throw errorAt(opened, `expected at most ${MAX_DEPTH} blocks in each other, got more`)
    const lines: Line[] = []
    for (;;) {
      const token = tokens[next]
      if (token === undefined) {
        if (opened !== undefined)
          throw errorAt(opened, 'expected "}" for this block, got the end of the file')
        return lines
      }
      if (isMark(token, '}')) {
        if (opened === undefined) throw errorAt(token, 'expected a directive, got "}"')
        next++
        return lines
      }
      lines.push(line(token, depth))
    }
  }

  function line(first: Token, depth: number): Line {
    const words: string[] = []
    for (let token: Token | undefined = first; token !== undefined; token = tokens[next]) {
      if (token !== first && !token.isSameLine) break
      if (isMark(token, '}')) break
      next++
      const after = tokens[next]
      if (isMark(token, '{') && (after === undefined || !after.isSameLine))
        return { file: first.file, line: first.line, words, block: block(depth + 1, token) }
      words.push(token.text)
    }
    return { file: first.file, line: first.line, words }
  }

  return block(0)
}

const isMark = ({ text, isQuoted }: Token, mark: string): boolean => !isQuoted && text === mark

function tokensOf({ file, text }: SourceText): Token[] {
  const tokens: Token[] = []
  // Blanks, a comment, a heredoc, a quoted text, and all else up to a blank.
  const pattern =
    /(?<blank>(?:\\\n|[^\S\n])+)|(?<line>\n)|(?<comment>#[^\n]*)|<<(?<mark>\w+)\n(?<here>[\s\S]*?)\n[^\S\n]*\k<mark>(?=\s|$)|"(?<double>(?:\\[\s\S]|[^"\\])*)"|`(?<tick>[^`]*)`|(?<word>(?:\\\S|[^\s\\])+|\\)/gy
  let line = 1
  let isSameLine = false
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const { blank, line: end, comment, here, double, tick, word } = match.groups ?? {}
    const start = line
    line += match[0].split('\n').length - 1
    if (end !== undefined) isSameLine = false
    if (blank !== undefined || end !== undefined || comment !== undefined) continue
    const quoted = here ?? (double === undefined ? tick : double.replaceAll('\\"', '"'))
    if (quoted === undefined && /^["`]/.test(word ?? ''))
      throw errorAt({ file, line: start }, 'expected a quote at the end of the text, got the end of the file')
    tokens.push({ file, line: start, text: quoted ?? word ?? '', isQuoted: quoted !== undefined, isSameLine })
    isSameLine = true
  }
  return tokens
}
