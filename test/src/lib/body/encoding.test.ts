import t from 'tap'
import { decodeUtf8, decodeXml } from '../../../../src/lib/body/encoding.ts'
import { FormatError } from '../../../../src/lib/body/format-errors.ts'

const bigEndian = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16()
const littleEndian = (text: string): Buffer => Buffer.from(text, 'utf16le')

t.test('XML is decoded by its byte order mark or its first bytes', async (t) => {
  const text = '<a>é 😀</a>'
  const cases: [what: string, bytes: Buffer, contentType?: string][] = [
    ['UTF-8', Buffer.from(text)],
    ['UTF-8 with a mark', Buffer.from(`\ufeff${text}`)],
    ['UTF-8 as the header says', Buffer.from(text), 'text/xml; charset="UTF-8"'],
    ['little-endian with a mark', littleEndian(`\ufeff${text}`)],
    ['big-endian with a mark', bigEndian(`\ufeff${text}`), 'application/xml;charset=utf-16'],
    ['little-endian without a mark', littleEndian(text), 'application/xml; charset=utf-16le'],
    ['big-endian without a mark', bigEndian(text)]
  ]
  for (const [what, bytes, contentType] of cases) t.equal(decodeXml(bytes, contentType).text, text, what)
})

t.test('what is not in its encoding, or in another one, is refused', async (t) => {
  const cases: [bytes: Buffer, contentType: string | undefined, reason: string][] = [
    [Buffer.from('<a>é</a>', 'latin1'), undefined, 'invalid UTF-8'],
    [Buffer.from([0xc0, 0xaf]), undefined, 'invalid UTF-8'],
    [Buffer.from([0xed, 0xa0, 0x80]), undefined, 'invalid UTF-8'],
    [littleEndian('\ufeff<a>\ud800</a>'), undefined, 'invalid UTF-16'],
    [littleEndian('\ufeff<a/>').subarray(0, -1), undefined, 'invalid UTF-16'],
    [Buffer.from('<a/>'), 'text/xml; charset=iso-8859-1', 'unsupported encoding'],
    [Buffer.from('<a/>'), 'text/xml; charset=utf-16', 'the encoding is not the declared one'],
    [bigEndian('<a/>'), 'text/xml; charset=utf-16le', 'the encoding is not the declared one'],
    [littleEndian('\ufeff<a/>'), 'text/xml; charset=utf-8', 'the encoding is not the declared one']
  ]
  for (const [bytes, contentType, reason] of cases)
    t.throws(() => decodeXml(bytes, contentType), new FormatError(reason), `${contentType}: ${reason}`)
})

t.test('other bodies have to be UTF-8', async (t) => {
  t.equal(decodeUtf8(Buffer.from('\ufeffa'), 'text/csv; header=present; charset=utf-8'), 'a')
  t.throws(
    () => decodeUtf8(Buffer.from('a'), 'text/csv; charset=windows-1252'),
    new FormatError('unsupported encoding')
  )
  t.throws(() => decodeUtf8(Buffer.from([0xff]), undefined), new FormatError('invalid UTF-8'))
})
