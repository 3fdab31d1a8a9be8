import {
  type Format,
  isValidId,
  type RemoteContext,
  singleHeader,
  type TraceHeaders
} from './remote-context.ts'

const SINGLE = 'b3'
const MULTI = ['x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled', 'x-b3-flags']

// {trace id}-{span id}[-{sampling state}[-{parent span id}]] (github.com/openzipkin/b3-propagation).
const SINGLE_VALUE = /^([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?$/

const TRACE_ID = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/

// Services send either form, so that both are read.
const reading: Pick<Format, 'headers' | 'read' | 'readDecision'> = {
  headers: [SINGLE, ...MULTI],
  read(headers) {
    const single = singleHeader(headers, SINGLE)
    return single === undefined ? readMulti(headers) : readSingle(single)
  },
  readDecision(headers) {
    return decisionOf(singleHeader(headers, SINGLE)) ?? readMultiDecision(headers)
  }
}

/** B3 in one header: `b3`. */
export const b3: Format = {
  ...reading,
  write(headers, { traceId, spanId, sampled }) {
    headers.push(SINGLE, `${traceId}-${spanId}-${sampled ? '1' : '0'}`)
  }
}

/** B3 in several headers: `X-B3-TraceId` and its like. */
export const b3multi: Format = {
  ...reading,
  write(headers, { traceId, spanId, sampled }) {
    headers.push('x-b3-traceid', traceId, 'x-b3-spanid', spanId, 'x-b3-sampled', sampled ? '1' : '0')
  }
}

function readSingle(value: string): RemoteContext | undefined {
  const [, traceId, spanId = '', state] = SINGLE_VALUE.exec(value.toLowerCase()) ?? []
  return traceId === undefined ? undefined : contextOf(traceId, spanId, decisionOf(state))
}

function readMulti(headers: TraceHeaders): RemoteContext | undefined {
  const traceId = singleHeader(headers, 'x-b3-traceid')?.toLowerCase() ?? ''
  const spanId = singleHeader(headers, 'x-b3-spanid')?.toLowerCase() ?? ''
  if (!TRACE_ID.test(traceId) || spanId.length !== 16) return undefined
  return contextOf(traceId, spanId, readMultiDecision(headers))
}

const readMultiDecision = (headers: TraceHeaders): boolean | undefined =>
  singleHeader(headers, 'x-b3-flags') === '1' ? true : decisionOf(singleHeader(headers, 'x-b3-sampled'))

function contextOf(traceId: string, spanId: string, sampled: boolean | undefined): RemoteContext | undefined {
  if (!isValidId(traceId) || !isValidId(spanId)) return undefined
  // An id of 64 bits is the same as one of 128 bits with leading zeros.
  return { traceId: traceId.padStart(32, '0'), spanId, sampled, random: false, hasState: false }
}

function decisionOf(state: string | undefined): boolean | undefined {
  if (state === '1' || state === 'd' || state === 'true') return true
  return state === '0' || state === 'false' ? false : undefined
}
