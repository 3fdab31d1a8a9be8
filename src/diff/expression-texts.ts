import { getOrCreate } from '../lib/memoize.ts'
import { regularSet } from '../lib/read-regular-set.ts'
import { choice, literal } from '../lib/regular-set.ts'
import { textCells } from '../lib/text-cells.ts'

/** Texts for every way in which a segment may match some expressions and not others. */
export interface ExpressionTexts {
  readonly texts: readonly string[]
  /** Whether there is no other way. */
  readonly complete: boolean
}

const SAMPLES = [
  'x',
  '1',
  'a',
  '12',
  '2026',
  'abc',
  'A',
  'a-b',
  'a1',
  'a.b',
  '00000000-0000-4000-8000-000000000000'
]

const known = new Map<string, ExpressionTexts>()

/** Finds texts for the expressions of parameters, such as "(\\d+)", none of which is one of some literals. */
export function expressionTexts(
  expressions: readonly string[],
  isLiteral: (text: string) => boolean,
  literals: () => Iterable<string>
): ExpressionTexts {
  const distinct = [...new Set(expressions)].filter((each) => each !== '').toSorted()
  const found = getOrCreate(known, distinct.join('\n'), () => textsFor(distinct))
  if (!found.texts.some(isLiteral)) return found
  if (distinct.length === 0) {
    let text = 'x'
    while (isLiteral(text)) text += 'x'
    return { texts: [text], complete: true }
  }
  const tests = distinct.map((each) => new RegExp(`^${each}$`))
  const taken = [...literals()].filter((each) => tests.some((test) => test.test(each)))
  const others = textsFor(distinct, taken)
  return { ...others, texts: others.texts.filter((text) => !isLiteral(text)) }
}

function textsFor(expressions: readonly string[], taken: readonly string[] = []): ExpressionTexts {
  const sets = expressions.map((each) => regularSet(each.replace(/^\(\?:|^\(/, '(?:')))
  if (sets.some((set) => set === undefined)) return { texts: SAMPLES, complete: false }
  // A segment is not empty, and the text after a bare parameter may be any.
  const all = [...sets.filter((set) => set !== undefined), choice(taken.map(literal)), literal('')]
  const { cells, complete } = textCells(all)
  const texts = cells
    .filter(({ isIn }) => isIn.at(-1) !== true && isIn.at(-2) !== true)
    .map(({ text }) => text)
  return { texts, complete }
}
