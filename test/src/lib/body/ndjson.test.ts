import t from 'tap'
import { FormatError } from '../../../../src/lib/body/format-errors.ts'
import { readNdjson } from '../../../../src/lib/body/ndjson.ts'

t.test('a JSON value in each line becomes a list', async (t) => {
  const cases: [text: string, json: string][] = [
    ['{"a":1}\n{"a":2}\n', '[{"a":1},{"a":2}]'],
    ['1\r\n\r\n \t\n"x"', '[1,"x"]'],
    ['', '[]'],
    ['[1,[2]]\nnull', '[[1,[2]],null]'],
    ['{"id":12345678901234567890}', '[{"id":12345678901234567890}]'],
    ['{"__proto__":1}', '[{"__proto__":1}]'],
    [`${'['.repeat(64)}${']'.repeat(64)}`, `[${'['.repeat(64)}${']'.repeat(64)}]`]
  ]
  for (const [text, json] of cases) t.equal(JSON.stringify(readNdjson(text)), json)
})

t.test('a line that is no JSON, or too deep, is refused', async (t) => {
  const cases: [text: string, reason: string][] = [
    ['{"a":1}\nsecret', 'malformed JSON in a line'],
    ['{"a":\n1}', 'malformed JSON in a line'],
    ['1 2', 'malformed JSON in a line'],
    [`1\n${'['.repeat(65)}${']'.repeat(65)}`, 'nested too deeply'],
    ['['.repeat(100_000), 'nested too deeply']
  ]
  for (const [text, reason] of cases) t.throws(() => readNdjson(text), new FormatError(reason), reason)
})
