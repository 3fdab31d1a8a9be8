import { errorAt, type SourceLine } from '../source-text.ts'

/** A part of a rule, such as Host(`a`). */
export interface Atom {
  readonly name: string
  readonly args: readonly string[]
  readonly isNegated: boolean
}

const MAX_ALTERNATIVES = 64

/** Parses a rule into alternatives, each a list of parts that must all hold; throws an ImportError where it is malformed. */
export function parseRule(rule: string, line: SourceLine): Atom[][] {
  const tokens = tokensOf(rule, line)
  let next = 0
  const fail = (): never => {
    throw errorAt(
      line,
      `expected a rule such as "Host(\`example.com\`)", got ${JSON.stringify(rule.slice(0, 100))}`
    )
  }

  function either(depth: number): Atom[][] {
    let all = both(depth)
    while (tokens[next] === '||') {
      next++
      all = [...all, ...both(depth)]
      if (all.length > MAX_ALTERNATIVES)
        throw errorAt(line, `expected at most ${MAX_ALTERNATIVES} alternatives in a rule, got more`)
    }
    return all
  }

  function both(depth: number): Atom[][] {
    let all = part(depth)
    while (tokens[next] === '&&') {
      next++
      const more = part(depth)
      all = all.flatMap((left) => more.map((right) => [...left, ...right]))
      if (all.length > MAX_ALTERNATIVES)
        throw errorAt(line, `expected at most ${MAX_ALTERNATIVES} alternatives in a rule, got more`)
    }
    return all
  }

  function part(depth: number): Atom[][] {
    if (depth > 16) return fail()
    const token = tokens[next++] ?? fail()
    if (token === '!') return negated(part(depth + 1))
    if (token === '(') {
      const inner = either(depth + 1)
      return tokens[next++] === ')' ? inner : fail()
    }
    if (!/^[A-Za-z]+$/.test(token) || tokens[next++] !== '(') return fail()
    const args: string[] = []
    for (let arg = tokens[next++]; arg !== ')'; arg = tokens[next++]) {
      if (arg === undefined) return fail()
      if (arg !== ',') args.push(/^[`"']/.test(arg) ? arg.slice(1, -1) : fail())
    }
    return [[{ name: token, args, isNegated: false }]]
  }

  /** By De Morgan: each alternative of the result has the opposite of one part of every alternative. */
  function negated(all: Atom[][]): Atom[][] {
    return all.reduce<Atom[][]>(
      (made, parts) =>
        made
          .flatMap((left) => parts.map((atom) => [...left, { ...atom, isNegated: !atom.isNegated }]))
          .slice(0, MAX_ALTERNATIVES),
      [[]]
    )
  }

  const parsed = either(0)
  return next === tokens.length ? parsed : fail()
}

function tokensOf(rule: string, line: SourceLine): string[] {
  const tokens: string[] = []
  const pattern = /\s+|(&&|\|\||[!(),]|`[^`]*`|"(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z]+)/gy
  for (let at = 0; at < rule.length; at = pattern.lastIndex) {
    pattern.lastIndex = at
    const match = pattern.exec(rule)
    if (match === null)
      throw errorAt(
        line,
        `expected a rule such as "Host(\`example.com\`)", got ${JSON.stringify(rule.slice(0, 100))}`
      )
    if (match[1] !== undefined) tokens.push(match[1])
  }
  return tokens
}
