import t from 'tap'
import { doesBacktrack } from '../../../src/config/backtracking.ts'
import { audit, codesOf } from '../../audit.ts'

t.test('finds expressions that can split a run of characters in many ways, and no others', async (t) => {
  const cases: [expression: string, backtracks: boolean][] = [
    ['(\\d+\\d+)', true],
    ['(\\w*[a-z]+)', true],
    ['(.*.*x)', true],
    ['(a+b?a+)', true],
    ['(a+(?:-a+)?a+)', true],
    ['((?:a|aa)+)', true],
    ['((?:\\w|\\d)+)', true],
    ['([a-z]+(?:x|[a-z]+))', true],
    ['(\\d+)', false],
    ['(\\d+-\\d+)', false],
    ['([a-z]+\\d+)', false],
    ['(\\d{4}-\\d{2})', false],
    ['([a-z0-9-]+)', false],
    ['(.*)', false],
    ['(.*.*)', false],
    ['((?:ab|cd)+)', false],
    ['(en|de|fr)', false],
    ['([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})', false],
    ['(v\\d+(?:\\.\\d+)*)', false],
    ['([^.]+\\.(?:js|css))', false]
  ]
  for (const [expression, backtracks] of cases) t.equal(doesBacktrack(expression), backtracks, expression)
})

t.test('check warns of a path with such an expression', async (t) => {
  const route = (path: string): object => ({ routes: [{ path, respond: {} }] })
  t.strictSame(codesOf(await audit(route('/:id(\\d+\\d+)'))), ['SP_WARN_ROUTE_PATTERN'])
  t.strictSame(codesOf(await audit(route('/:id(\\d+)'))), [])
})
