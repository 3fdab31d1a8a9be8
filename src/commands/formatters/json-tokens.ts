/** A token of a JSON text with comments. */
export interface Token {
  readonly text: string
  readonly kind: 'open' | 'close' | 'comma' | 'colon' | 'value' | 'lineComment' | 'blockComment'
  /** How many line breaks are between the token before it and this one. */
  breaks: number
  /** Whether a comment is on the line of what follows. */
  isLeading?: boolean
}

const TOKEN = /"(?:[^"\\]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?\*\/|[{}[\]:,]|[^\s{}[\]:,"/]+/g

/** Splits a valid JSON text with comments into tokens; its line breaks are "\n". Trailing commas are left out, and a comma or colon behind a line comment comes before it. */
export function jsonTokens(text: string): Token[] {
  const tokens: Token[] = []
  let end = 0
  let breaks = 0
  for (const { 0: found, index } of text.matchAll(TOKEN)) {
    breaks = Math.max(breaks, text.slice(end, index).split('\n').length - 1)
    end = index + found.length
    const kind = kindOf(found)
    if (kind === 'comma' || kind === 'colon') {
      insertSeparator(tokens, { text: found, kind, breaks: 0 })
      continue
    }
    if (kind === 'close') removeTrailingComma(tokens)
    const before = tokens.at(-1)
    if (before?.kind === 'blockComment') before.isLeading = breaks === 0 && kind !== 'close'
    tokens.push({ text: found.trimEnd(), kind, breaks })
    breaks = 0
  }
  return tokens
}

function kindOf(text: string): Token['kind'] {
  switch (text.charAt(0)) {
    case '{':
    case '[':
      return 'open'
    case '}':
    case ']':
      return 'close'
    case ',':
      return 'comma'
    case ':':
      return 'colon'
    case '/':
      return text.startsWith('//') ? 'lineComment' : 'blockComment'
    default:
      return 'value'
  }
}

/** Returns whether a token is a comment. */
export const isComment = ({ kind }: Token): boolean => kind === 'lineComment' || kind === 'blockComment'

function insertSeparator(tokens: Token[], separator: Token): void {
  const start = tokens.findLastIndex((token) => !isComment(token)) + 1
  const comment = tokens.findIndex(({ kind }, i) => i >= start && kind === 'lineComment')
  tokens.splice(comment === -1 ? tokens.length : comment, 0, separator)
}

function removeTrailingComma(tokens: Token[]): void {
  const last = tokens.findLastIndex((token) => !isComment(token))
  if (tokens[last]?.kind === 'comma') tokens.splice(last, 1)
}
