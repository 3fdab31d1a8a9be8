import t from 'tap'
import { readForm } from '../../../../src/lib/body/form.ts'
import { FormatError } from '../../../../src/lib/body/format-errors.ts'

t.test('a form becomes an object', async (t) => {
  const cases: [text: string, json: string][] = [
    ['a=1&b=2', '{"a":"1","b":"2"}'],
    ['a=1&a=2&b=&a=3', '{"a":["1","2","3"],"b":""}'],
    ['a', '{"a":""}'],
    ['', '{}'],
    ['&&a=1&', '{"a":"1"}'],
    ['=x', '{"":"x"}'],
    ['a+b=c+d%2B%26%3D&e=f=g', '{"a b":"c d+&=","e":"f=g"}'],
    ['n=%C3%A9é', '{"n":"éé"}'],
    ['__proto__=1&constructor=2&a[b]=3', '{"__proto__":"1","constructor":"2","a[b]":"3"}']
  ]
  for (const [text, json] of cases) t.equal(JSON.stringify(readForm(text)), json, text)
  t.equal(Object.getPrototypeOf(readForm('a=1')), null)
})

t.test('a form with a fault is refused', async (t) => {
  for (const text of ['a=%', 'a=%zz', '%c3=1', 'a=%ff'])
    t.throws(() => readForm(text), new FormatError('malformed form: percent-encoding'), text)
  t.doesNotThrow(() => readForm('a=1&'.repeat(9999)))
  t.throws(() => readForm('a&'.repeat(10_000)), new FormatError('too many fields'))
})
