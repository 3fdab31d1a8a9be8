import t from 'tap'
import { makeSampler, newSpanId, newTraceId } from '../../../plugins/tracing/ids.ts'
import { Propagator } from '../../../plugins/tracing/propagation/index.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const w3c = new Propagator(['w3c'])

t.test('reads traceparent (W3C Trace Context section 3.2)', async (t) => {
  const cases: [value: string | string[], sampled: boolean | undefined, random?: boolean][] = [
    [`00-${TRACE}-${SPAN}-01`, true],
    [`00-${TRACE}-${SPAN}-00`, false],
    [`00-${TRACE}-${SPAN}-02`, false, true],
    [`00-${TRACE}-${SPAN}-ff`, true, true],
    [`cc-${TRACE}-${SPAN}-01`, true],
    [`cc-${TRACE}-${SPAN}-01-what the future brings`, true],
    [`00-${TRACE}-${SPAN}-01-more`, undefined],
    [`cc-${TRACE}-${SPAN}-01.more`, undefined],
    [`ff-${TRACE}-${SPAN}-01`, undefined],
    [`00-${'0'.repeat(32)}-${SPAN}-01`, undefined],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, undefined],
    [`00-${TRACE.toUpperCase()}-${SPAN}-01`, undefined],
    [`00-${TRACE}-${SPAN}-0g`, undefined],
    [`00-${TRACE}-${SPAN}-1`, undefined],
    [`00-${TRACE}-${SPAN}`, undefined],
    [`00-${TRACE.slice(1)}-${SPAN}-01`, undefined],
    [`00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`, undefined],
    [[`00-${TRACE}-${SPAN}-01`, `00-${TRACE}-${SPAN}-01`], undefined],
    [`cc-${TRACE}-${SPAN}-01-${'x'.repeat(10_000)}`, undefined],
    ['', undefined],
    ['\u0000\u00ff', undefined]
  ]
  for (const [traceparent, sampled, random = false] of cases) {
    const { remote } = w3c.read({ traceparent })
    const expected =
      sampled === undefined ? undefined : { traceId: TRACE, spanId: SPAN, sampled, random, hasState: true }
    t.strictSame(remote, expected, String(traceparent).slice(0, 100))
  }
})

const members = (count: number): string => Array.from({ length: count }, (_, i) => `k${i}=v`).join()

t.test('keeps a valid tracestate within the limits', async (t) => {
  const cases: [value: string, kept: boolean][] = [
    ['rojo=00f067aa0ba902b7,congo=t61rcWkgMzE', true],
    ['fw529a3039@dt=FfAAAAAAf', true],
    ['a=1,,b=2 ,\tc=3', true],
    ['', true],
    [members(32), true],
    [members(33), false],
    [`a=${'x'.repeat(256)}`, true],
    [`a=${'x'.repeat(257)}`, false],
    [`a=1,${' '.repeat(8200)}`, false],
    ['A=1', false],
    ['a=b=c', false],
    ['a', false],
    ['=1', false],
    ['a=\u00e9', false],
    ['a=1;b=2,b', false]
  ]
  for (const [tracestate, kept] of cases) {
    const { keepsState } = w3c.read({ traceparent: `00-${TRACE}-${SPAN}-01`, tracestate })
    t.equal(keepsState, kept, tracestate.slice(0, 60))
  }
  t.equal(w3c.read({ tracestate: 'a=1' }).keepsState, false, 'without a traceparent it belongs to nothing')
})

t.test('keeps baggage within the limits', async (t) => {
  const cases: [value: string, kept: boolean][] = [
    ['userId=alice;p=1,serverNode=DF%2028', true],
    [members(64), true],
    [members(65), false],
    [`a=${'x'.repeat(8190)}`, true],
    [`a=${'x'.repeat(8191)}`, false],
    [','.repeat(100), true]
  ]
  for (const [baggage, kept] of cases) t.equal(w3c.read({ baggage }).keepsBaggage, kept, baggage.slice(0, 60))
  t.equal(w3c.read({}).keepsBaggage, true)
})

t.test('reads B3 in both forms (github.com/openzipkin/b3-propagation)', async (t) => {
  const short = TRACE.slice(16)
  const multi = { 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN }
  const cases: [
    headers: Record<string, string>,
    traceId: string | undefined,
    decision: boolean | undefined
  ][] = [
    [{ b3: `${TRACE}-${SPAN}-1` }, TRACE, true],
    [{ b3: `${TRACE}-${SPAN}-0-${SPAN}` }, TRACE, false],
    [{ b3: `${TRACE}-${SPAN}-d` }, TRACE, true],
    [{ b3: `${TRACE.toUpperCase()}-${SPAN}` }, TRACE, undefined],
    [{ b3: `${short}-${SPAN}-1` }, `${'0'.repeat(16)}${short}`, true],
    [{ b3: '0' }, undefined, false],
    [{ b3: '1' }, undefined, true],
    [{ b3: `${TRACE}-${SPAN}-2` }, undefined, undefined],
    [{ b3: `${'0'.repeat(32)}-${SPAN}-1` }, undefined, undefined],
    [{ b3: 'x'.repeat(10_000) }, undefined, undefined],
    [{ ...multi, 'x-b3-sampled': '1' }, TRACE, true],
    [{ ...multi, 'x-b3-sampled': '0' }, TRACE, false],
    [{ ...multi, 'x-b3-sampled': '0', 'x-b3-flags': '1' }, TRACE, true],
    [multi, TRACE, undefined],
    [{ 'x-b3-sampled': '0' }, undefined, false],
    [{ ...multi, 'x-b3-spanid': 'nothing' }, undefined, undefined]
  ]
  for (const name of ['b3', 'b3multi'] as const)
    for (const [headers, traceId, decision] of cases) {
      const read = new Propagator([name]).read(headers)
      t.equal(read.remote?.traceId, traceId, JSON.stringify(headers).slice(0, 80))
      if (traceId !== undefined || !('b3' in headers) || headers['b3']?.length === 1)
        t.equal(read.decision, decision, JSON.stringify(headers).slice(0, 80))
    }
})

t.test('replaces the headers that it reads, and no others', async (t) => {
  const context = { traceId: TRACE, spanId: SPAN, sampled: true, random: false }
  const sent = ['host', 'a', 'traceparent', 'old', 'b3', 'old', 'x-b3-traceid', 'old', 'tracestate', 'a=1']
  const kept = { keepsState: true, keepsBaggage: true }
  const parent = ['traceparent', `00-${TRACE}-${SPAN}-01`]
  t.strictSame(w3c.write(sent, context, kept), [
    ...['host', 'a', 'b3', 'old', 'x-b3-traceid', 'old', 'tracestate', 'a=1'],
    ...parent
  ])
  t.strictSame(new Propagator(['w3c', 'b3']).write(sent, context, { ...kept, keepsState: false }), [
    ...['host', 'a', ...parent],
    ...['b3', `${TRACE}-${SPAN}-1`]
  ])
  t.strictSame(
    new Propagator(['b3multi']).write(['baggage', 'a=1'], context, { ...kept, keepsBaggage: false }),
    [...['x-b3-traceid', TRACE, 'x-b3-spanid', SPAN, 'x-b3-sampled', '1']]
  )
})

t.test('prefers the format that is named first', async (t) => {
  const other = '1'.repeat(32)
  const headers = { traceparent: `00-${TRACE}-${SPAN}-01`, b3: `${other}-${SPAN}-0` }
  t.match(new Propagator(['w3c', 'b3']).read(headers), { remote: { traceId: TRACE }, decision: true })
  t.match(new Propagator(['b3', 'w3c']).read(headers), { remote: { traceId: other }, decision: false })
  t.match(new Propagator(['w3c', 'b3']).read({ ...headers, traceparent: 'broken' }), {
    remote: { traceId: other },
    keepsState: false
  })
})

t.test(
  'samples by the random bits of the trace id, so that a larger share includes a smaller one',
  async (t) => {
    const ids = Array.from({ length: 20_000 }, newTraceId)
    const taken = (ratio: number): string[] => ids.filter(makeSampler(ratio))
    t.equal(taken(1).length, ids.length)
    t.equal(taken(0).length, 0)
    const tenth = taken(0.1)
    t.ok(tenth.length > 1600 && tenth.length < 2400, `a tenth of 20,000 is about 2,000: ${tenth.length}`)
    const half = new Set(taken(0.5))
    t.ok(tenth.every((id) => half.has(id)))
    // The highest random value is taken by every share above zero (OpenTelemetry, "Consistent probability sampling").
    t.equal(makeSampler(0.0001)(`${'0'.repeat(18)}${'f'.repeat(14)}`), true)
    t.equal(makeSampler(0.9999)(`${'f'.repeat(18)}${'0'.repeat(14)}`), false)
  }
)

t.test('makes ids that are hexadecimal, of the right length, and unlike each other', async (t) => {
  const ids = Array.from({ length: 5000 }, () => [newTraceId(), newSpanId()] as const)
  t.ok(ids.every(([trace, span]) => /^[0-9a-f]{32}$/.test(trace) && /^[0-9a-f]{16}$/.test(span)))
  t.equal(new Set(ids.flat()).size, 10_000)
})
