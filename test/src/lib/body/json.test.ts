import fc from 'fast-check'
import t from 'tap'
import {
  hasByteOrderMark,
  isJsonFault,
  isRawNumber,
  parsedJson,
  parseJson,
  provenJson,
  stringifyJson
} from '../../../../src/lib/body/json.ts'
import { draws } from '../../../random.ts'

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

t.test('bytes are proven to be JSON', async (t) => {
  const faults: [name: string, bytes: string | Buffer, fault: string][] = [
    ['nothing', '', 'empty'],
    ['a byte order mark alone', '\ufeff', 'empty'],
    ['white space alone', ' \n', 'syntax'],
    ['two values', '{} {}', 'syntax'],
    ['a second byte order mark', '\ufeff\ufeff{}', 'syntax'],
    ['a comma too much', '[1,]', 'syntax'],
    ['NaN', 'NaN', 'syntax'],
    ['an open string', '"abc', 'syntax'],
    ['a control character in a string', '"a\u0001"', 'syntax'],
    ['half a character', Buffer.from([0x22, 0xc3, 0x22]), 'utf8'],
    ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'utf8'],
    ['65 levels', nested(65), 'depth'],
    ['a million levels', '['.repeat(1_000_000), 'depth'],
    ['a million levels of objects', '{"a":'.repeat(1_000_000), 'depth']
  ]
  for (const [name, bytes, fault] of faults) {
    t.strictSame(provenJson(Buffer.from(bytes as string)), { fault }, name)
    t.strictSame(parsedJson(Buffer.from(bytes as string)), { fault }, name)
  }
  for (const text of [' {"a": 1.0 }\n', nested(64), '"[[{{"', 'null', '0', `"${'\\"['.repeat(100)}"`]) {
    const proven = provenJson(Buffer.from(text))
    if (isJsonFault(proven)) throw new Error(`${text}: ${proven.fault}`)
    t.equal(proven.bytes.toString(), text)
    t.equal(proven.text, text)
  }
  const marked = provenJson(Buffer.from('\ufeff{"a":1}'))
  t.equal(isJsonFault(marked) ? '' : marked.bytes.toString(), '{"a":1}', 'without the byte order mark')
  t.ok(hasByteOrderMark(Buffer.from('\ufeff{}')))
  t.notOk(hasByteOrderMark(Buffer.from('{}')))
  const parsed = parsedJson(Buffer.from('[12345678901234567890]'))
  t.equal(isJsonFault(parsed) ? '' : stringifyJson(parsed.value), '[12345678901234567890]')
})

t.test('numbers are kept as they were written where a double loses something', async (t) => {
  const raw = [
    '9007199254740993',
    '-9007199254740993',
    '12345678901234567890123',
    '0.1000000000000000055511151231257827',
    '1.00000000000000000001',
    '9007199254740990.6',
    '1e400',
    '-1E+400',
    '1e-400',
    '5e-0324000',
    '-0',
    '-0.0',
    '-0e5',
    '123456789012345678e5',
    '1.2345678901234567e-310'
  ]
  const numbers = [
    '9007199254740991',
    '9007199254740992',
    '1.50',
    '0.1',
    '-0.5',
    '1e3',
    '1.0e+003',
    '1E-007',
    '100000000000000000000',
    '1000000000000000000000000',
    '0.00000000000000000001',
    '5e-324',
    '0e999',
    '1.7976931348623157e308'
  ]
  for (const text of raw)
    for (const [before, after] of [
      ['', ''],
      ['[', ']'],
      ['{"a":\t', '}'],
      ['[1, ', ',2]']
    ]) {
      t.equal(
        stringifyJson(parseJson(`${before}${text}${after}`)).replaceAll('\t', ''),
        `${before}${text}${after}`.replaceAll(/\s/g, '')
      )
    }
  for (const text of raw) t.ok(isRawNumber(parseJson(text)), text)
  for (const text of numbers) t.equal(parseJson(text), Number(text), text)
  for (const value of [{ rawJSON: '1' }, null, 1, 'rawJSON', []]) t.notOk(isRawNumber(value))
})

t.test('what is parsed and written is what came', async () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value)
      return stringifyJson(parseJson(text)) === text
    }),
    draws()
  )
  const digits = fc.stringMatching(/^[1-9][0-9]{0,40}$/)
  const integers = fc.tuple(fc.constantFrom('', '-'), digits).map(([sign, whole]) => `${sign}${whole}`)
  const decimals = fc
    .tuple(
      fc.constantFrom('', '-'),
      digits,
      fc.stringMatching(/^[0-9]{0,30}$/),
      fc.integer({ min: -400, max: 400 })
    )
    .map(([sign, whole, fraction, power]) => `${sign}${whole}${fraction && `.${fraction}`}e${power}`)
  fc.assert(
    fc.property(fc.oneof(integers, decimals), (number) => {
      const written = stringifyJson(parseJson(number))
      return written === number || exact(written) === exact(number)
    }),
    draws()
  )
})

/** The value of a decimal as a fraction of bigints. */
function exact(number: string): string {
  const [mantissa = '', power = '0'] = number.toLowerCase().split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  const shift = Number(power) - fraction.length + 1000
  return String(BigInt(`${whole}${fraction}`) * 10n ** BigInt(shift))
}
