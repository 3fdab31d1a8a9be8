import t from 'tap'
import { compilePolicy, options as schema } from '../../../plugins/cache/options.ts'
import { decideStorage } from '../../../plugins/cache/storage.ts'
import {
  parseDirectives,
  requestDirectives,
  responseDirectives
} from '../../../src/lib/http/cache-control.ts'
import { parseDictionary, parseList } from '../../../src/lib/http/structured-fields.ts'
import { policyOf } from './harness.ts'

// None of these may be stored, for whomever and whatever the route says.
const PRIVATE = [
  'private',
  'Private',
  'PRIVATE',
  'pRiVaTe',
  'private, max-age=60',
  'max-age=60, private',
  'max-age=60,private',
  'max-age=60 ,private',
  'max-age=60 , private ',
  'max-age=60,\tprivate',
  'max-age=60,,private',
  ',private',
  'private,',
  ', ,private, ,',
  'private=""',
  'private="set-cookie"',
  'private="Set-Cookie, X-User"',
  'private="a\\"b"',
  'private=x',
  'private=set-cookie',
  'Private="X-User", max-age=60',
  'private=0',
  'private=false',
  'private=?0',
  'private=',
  'private = x',
  'private ="x"',
  'private= "x"',
  'private="x',
  'private=x"',
  'private;max-age=60',
  'private max-age=60',
  'private="x" max-age=60',
  'public, private',
  'private, public',
  'public, private="x", max-age=60',
  's-maxage=60, private',
  'private, s-maxage=60, must-revalidate',
  'private, immutable, max-age=60',
  'max-age=60, extension="a, b", private',
  'max-age=60, x="\\", private',
  'private, private',
  'private, private="x"',
  'no-store',
  'No-Store',
  'NO-STORE, max-age=60',
  'max-age=60, no-store',
  'no-store="x", max-age=60',
  'no-store=1, max-age=60',
  'must-understand, no-store, max-age=60',
  'max-age=60, no-store,',
  'no-store, public, max-age=60',
  'max-age=60, max-age=70',
  's-maxage=60, s-maxage=0',
  'max-age=60, MAX-AGE=0',
  'max-age',
  'max-age=',
  'max-age=-1',
  'max-age=1.5',
  'max-age=+60',
  'max-age=6o',
  'max-age="six"',
  'max-age=60s',
  'max-age =60',
  'max-age= 60',
  's-maxage=x, max-age=60',
  'stale-while-revalidate=x, max-age=60',
  'max-age=60; public',
  'max-age:60',
  '"max-age"=60',
  'max-age=60, "private"',
  'max-age=60, priv\u00e4te',
  'max-age=60, (private)',
  'max-age=60, pri vate',
  '=60',
  'max-age=60, =x'
]

const NEUTRAL = { noStore: false, hasCaller: false, hasAuthorization: false }
const CALLERS = [
  { name: 'nobody', request: NEUTRAL },
  { name: 'a caller', request: { ...NEUTRAL, hasCaller: true } },
  { name: 'a caller with Authorization', request: { ...NEUTRAL, hasCaller: true, hasAuthorization: true } },
  { name: 'an unknown Authorization', request: { ...NEUTRAL, hasAuthorization: true } }
]
const POLICIES = [
  policyOf(),
  policyOf({ ttl: '1m', notFound: '1m' }),
  policyOf({ override: '1m' }),
  policyOf({ override: '1m', callers: 'separate', setCookie: 'strip' }),
  policyOf({ override: '1m', ttl: '1m', callers: 'shared', setCookie: 'strip' })
]
const exchange = { requestedAt: 0, receivedAt: 0 }

t.test('stores nothing that is private, no-store or invalid in any spelling, for any caller', async (t) => {
  t.ok(PRIVATE.length >= 60)
  for (const spelled of PRIVATE)
    for (const { name, request } of CALLERS)
      for (const policy of POLICIES)
        for (const fields of [
          ['cache-control', spelled],
          ['cache-control', 'max-age=60', 'cache-control', spelled],
          ['cache-control', spelled, 'expires', 'Thu, 01 Jan 2099 00:00:00 GMT']
        ]) {
          const stored = decideStorage({ response: { status: 200, fields }, request, policy, exchange })
          t.type(stored, 'string', `${spelled} for ${name}`)
        }
})

t.test('stores nothing for a known caller unless the route says how', async (t) => {
  const response = { status: 200, fields: ['cache-control', 'public, s-maxage=60'] }
  for (const [callers, expected] of [
    ['never', 'string'],
    ['separate', 'object'],
    ['shared', 'object']
  ] as const) {
    const request = { ...NEUTRAL, hasCaller: true }
    const policy = policyOf({ callers })
    t.type(decideStorage({ response, request, policy, exchange }), expected, callers)
  }
})

t.test(
  'stores a response to an Authorization that the upstream judges only as RFC 9111 3.5 allows',
  async (t) => {
    const request = { ...NEUTRAL, hasAuthorization: true }
    for (const [field, expected] of [
      ['max-age=60', 'authorization'],
      ['public, max-age=60', 'stored'],
      ['public=x, max-age=60', 'authorization'],
      ['s-maxage=60', 'stored'],
      ['must-revalidate, max-age=60', 'stored']
    ] as const) {
      const response = { status: 200, fields: ['cache-control', field] }
      const stored = decideStorage({ response, request, policy: policyOf({ callers: 'shared' }), exchange })
      t.equal(typeof stored === 'string' ? stored : 'stored', expected, field)
    }
  }
)

t.test('parses directives as RFC 9111 section 5.2 says', async (t) => {
  for (const [field, expected] of [
    ['', []],
    [' , ,', []],
    [
      'Max-Age=60, PUBLIC',
      [
        ['max-age', '60'],
        ['public', true]
      ]
    ],
    ['max-age="60"', [['max-age', '60']]],
    ['max-age=60, max-age=60', [['max-age', '60']]],
    ['max-age=60, max-age="60"', [['max-age', '60']]],
    ['no-cache="a, b"', [['no-cache', 'a, b']]],
    ['x="\\a\\"\\\\"', [['x', 'a"\\']]],
    ['x="\u00fc"', [['x', '\u00fc']]],
    ['x="\u0001"', undefined],
    ['x="\u007f"', undefined]
  ] as const) {
    const parsed = parseDirectives(field)
    t.strictSame(parsed === undefined ? undefined : [...parsed], expected, JSON.stringify(field))
  }
  t.match(responseDirectives('no-cache="x", max-age=99999999999999999999'), {
    noCache: true,
    maxAge: 2 ** 31
  })
  t.match(requestDirectives('no-cache, min-fresh=5, only-if-cached'), {
    noCache: true,
    onlyIfCached: true,
    minFresh: 5
  })
  t.equal(requestDirectives('max-age=x'), undefined)
})

t.test('takes time in proportion to the length of a field', async (t) => {
  for (const field of [`x="${'\\'.repeat(50_000)}`, ', '.repeat(50_000), `${'a'.repeat(50_000)} b`])
    t.doesNotThrow(() => parseDirectives(field))
})

t.test('parses structured fields as RFC 9651 says', async (t) => {
  for (const [field, expected] of [
    ['', []],
    ['a, "b c", 1, 1.5, ?1', ['a', 'b c', 1, 1.5, true]],
    [' "a";x=1;y , "b\\"" ', ['a', 'b"']],
    [':YQ==:, @12, %"a%20"', [undefined, undefined, undefined]],
    ['(a "b";q=1), c', [undefined, 'c']],
    ['a,', undefined],
    ['a b', undefined],
    ['"a', undefined],
    ['(a', undefined],
    ['1.', undefined],
    ['?2', undefined]
  ] as const) {
    const list = parseList(field)
    t.strictSame(
      list?.map((item) => ('value' in item ? item.value : undefined)),
      expected,
      field
    )
  }
  t.strictSame(
    [...(parseDictionary('a=1, b;x, c=?0, a=2') ?? [])].map(([key]) => key),
    ['b', 'c', 'a']
  )
  t.equal(parseDictionary('A=1'), undefined)
})

t.test('describes every option of the schema', async (t) => {
  const names = Object.keys(compilePolicy(policyDefaults()))
  t.ok(names.length > 0)
  for (const [name, option] of Object.entries(schema.properties))
    t.match((option as { description?: string }).description, /^[A-Z].*\.$/, name)
})

const policyDefaults = () => ({
  vary: [],
  ignoreQuery: [],
  callers: 'never' as const,
  setCookie: 'never' as const,
  coalesce: true,
  tags: [],
  requestDirectives: false,
  maxEntry: '1mb'
})
