import t from 'tap'
import { readCsv } from '../../../../src/lib/body/csv.ts'
import { FormatError } from '../../../../src/lib/body/format-errors.ts'

const read = (text: string, maxBody = 1024 ** 2): unknown => readCsv(text, maxBody)

t.test('CSV with a header row becomes a list of objects', async (t) => {
  const cases: [csv: string, json: string][] = [
    ['id,name\n1,x\n2,y\n', '[{"id":"1","name":"x"},{"id":"2","name":"y"}]'],
    ['id,name\r\n1,x', '[{"id":"1","name":"x"}]'],
    ['id\n1\r\n2\r3', '[{"id":"1"},{"id":"2"},{"id":"3"}]'],
    ['id,name\n', '[]'],
    ['id\n\n1\n\n', '[{"id":"1"}]'],
    ['a,b\n"x, ""y""\r\nz", w \n', '[{"a":"x, \\"y\\"\\r\\nz","b":" w "}]'],
    ['a,b\n007,\n', '[{"a":"007","b":""}]'],
    // Formulas are data.
    ['a\n=1+1\n@SUM(A1)\n', '[{"a":"=1+1"},{"a":"@SUM(A1)"}]'],
    ['b,a,2,1\n1,2,3,4', '[{"1":"4","2":"3","b":"1","a":"2"}]']
  ]
  for (const [csv, json] of cases) t.equal(JSON.stringify(read(csv)), json)
  const [row] = read('__proto__,constructor\nx,y') as object[]
  t.equal(JSON.stringify(row), '{"__proto__":"x","constructor":"y"}')
  t.equal(Object.getPrototypeOf(row), null)
})

t.test('CSV with a fault is refused', async (t) => {
  const wide = (count: number): string => Array.from({ length: count }, (_, i) => `c${i}`).join(',')
  const cases: [csv: string, reason: string, kind?: string][] = [
    ['', 'malformed CSV: no header row'],
    ['a,b\nsecret', 'malformed CSV: record inconsistent fields length'],
    ['a,b\n1,2,secret', 'malformed CSV: record inconsistent fields length'],
    ['a\n"secret', 'malformed CSV: quote not closed'],
    ['a\nsecret"x"', 'malformed CSV: invalid opening quote'],
    ['a\n"secret"x', 'malformed CSV: invalid closing quote'],
    ['a,a\n1,2', 'malformed CSV: two columns with one name'],
    [wide(257), 'too many columns'],
    [`${'a'.repeat(1000)}\n${'1\n'.repeat(1000)}`, 'too large', 'size']
  ]
  for (const [csv, reason, kind = 'format'] of cases)
    t.match(
      t.throws(() => read(csv, 4000), FormatError),
      { message: reason, kind },
      reason
    )
  t.doesNotThrow(() => read(wide(256)))
})
