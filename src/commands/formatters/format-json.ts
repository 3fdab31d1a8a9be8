import { isComment, jsonTokens, type Token } from './json-tokens.ts'

// An object or a list that does not fit into a line of this width gets several lines.
const MAX_WIDTH = 120

/** Formats a valid JSON text with comments: two spaces of indentation, and the line breaks and single blank lines of its author. Files formatted by Prettier or Biome for at most 120 columns stay as they are. */
export function formatJson(text: string): string {
  const endOfLine = /\r?\n|\r/.exec(text)?.[0] ?? '\n'
  const formatted = print(jsonTokens(text.replaceAll(/\r\n?/g, '\n')))
  return endOfLine === '\n' ? formatted : formatted.replaceAll('\n', endOfLine)
}

/** An object or a list, and how it is printed. */
interface Container {
  readonly isObject: boolean
  /** Whether its brackets and members are on lines of their own. */
  hasLines: boolean
  /** Whether its items may share lines, as they do in the source. */
  hasRows: boolean
  end: number
}

function print(tokens: readonly Token[]): string {
  const containers = containersOf(tokens)
  const widths = flatWidths(tokens, containers)
  const outer: Container[] = []
  let printed = ''
  for (const [i, token] of tokens.entries()) {
    const parent = outer.at(-1)
    const before = tokens[i - 1]
    if (token.kind === 'close' && before?.kind !== 'open') outer.pop()
    if (before !== undefined) printed += gap(before, token, parent, outer.length)
    printed += token.kind === 'blockComment' ? alignStars(token.text, outer.length) : token.text
    const container = containers.get(i)
    if (container === undefined) continue
    const column = printed.length - printed.lastIndexOf('\n') - 1
    const width = (widths[container.end] ?? 0) - (widths[i] ?? 0)
    const comma = tokens[container.end + 1]?.kind === 'comma' ? 1 : 0
    if (!container.hasLines && column + width + comma > MAX_WIDTH) {
      container.hasLines = true
      container.hasRows = false
    }
    outer.push(container)
  }
  return `${printed}\n`
}

/** Finds objects and lists by the index of their opening bracket; empty ones have none. */
function containersOf(tokens: readonly Token[]): Map<number, Container> {
  const found = new Map<number, Container>()
  const outer: Container[] = []
  for (const [i, { kind, text, breaks }] of tokens.entries()) {
    const parent = outer.at(-1)
    if (parent !== undefined && (breaks > 0 || text.includes('\n'))) parent.hasLines = true
    if (kind === 'open' && tokens[i + 1]?.kind !== 'close') {
      const container = { isObject: text === '{', hasLines: false, hasRows: text === '[', end: i }
      found.set(i, container)
      outer.push(container)
      if (parent !== undefined) parent.hasRows = false
    }
    if (kind !== 'close' || tokens[i - 1]?.kind === 'open') continue
    outer.pop()
    if (parent === undefined) continue
    parent.end = i
    const around = outer.at(-1)
    if (parent.hasLines && around !== undefined) around.hasLines = true
  }
  return found
}

/** Returns for each token where it ends if everything is on one line. */
function flatWidths(tokens: readonly Token[], containers: ReadonlyMap<number, Container>): number[] {
  const outer: Container[] = []
  let end = 0
  return tokens.map((token, i) => {
    const before = tokens[i - 1]
    const parent = outer.at(-1)
    if (before !== undefined) end += flatGap(before, token, parent).length
    if (token.kind === 'close' && before?.kind !== 'open') outer.pop()
    const container = containers.get(i)
    if (container !== undefined) outer.push(container)
    end += token.text.length
    return end
  })
}

function gap(before: Token, token: Token, parent: Container | undefined, depth: number): string {
  if (token.kind === 'comma' || token.kind === 'colon') return ''
  if (!breaksLine(before, token, parent)) return flatGap(before, token, parent)
  const isInside = before.kind !== 'open' && token.kind !== 'close'
  return `${token.breaks > 1 && isInside ? '\n\n' : '\n'}${'  '.repeat(depth)}`
}

function breaksLine(before: Token, token: Token, parent: Container | undefined): boolean {
  if (before.kind === 'lineComment') return true
  const startsEntry = before.kind === 'open' || before.kind === 'comma'
  if (before.kind === 'blockComment' || (isComment(token) && !(startsEntry && token.isLeading)))
    return token.breaks > 0 && (parent === undefined || parent.hasLines)
  if (parent === undefined || !parent.hasLines) return false
  if (before.kind === 'open') return token.kind !== 'close'
  if (before.kind === 'comma') return !parent.hasRows || token.breaks > 0
  return token.kind === 'close'
}

function flatGap(before: Token, token: Token, parent: Container | undefined): string {
  if (token.kind === 'comma' || token.kind === 'colon') return ''
  if (before.kind === 'open' && token.kind === 'close') return ''
  if (before.kind === 'open' || token.kind === 'close') {
    const isLineComment = token.kind === 'lineComment'
    return parent === undefined || parent.isObject || isLineComment ? ' ' : ''
  }
  return ' '
}

/** Indents the lines of a comment that all begin with a star. */
function alignStars(text: string, depth: number): string {
  const [first = '', ...lines] = text.split('\n').map((line) => line.trimEnd())
  if (!lines.every((line) => line.trimStart().startsWith('*'))) return [first, ...lines].join('\n')
  return [first, ...lines.map((line) => `${'  '.repeat(depth)} ${line.trimStart()}`)].join('\n')
}
