import type { SimulatedResponse, UpstreamCall } from '../lib/contracts/simulation.ts'
import { fieldPairs } from '../lib/http/headers.ts'

/** The status with which an explanation lets services respond. */
export const ASSUMED_STATUS = 200

/** What an explanation without services takes for granted of the upstreams. */
export const HEALTHY =
  'All targets are healthy and respond 200 without content, or accept a WebSocket; nothing is stored in a cache'

/** Makes a response without content. */
export const emptyResponse = (status: number): SimulatedResponse => ({
  status,
  headers: [],
  body: Buffer.alloc(0)
})

// What stands for an empty value in each format that a target of the gateway reads.
const EMPTY: Readonly<Record<string, string>> = {
  'application/json': '{}',
  'application/xml': '<empty/>',
  'application/x-ndjson': '{}\n',
  'text/csv': 'empty\n'
}

/** Returns what a healthy upstream may respond: it accepts a WebSocket, and has nothing to say in the one format that is asked for. */
export function healthyResponse({ headers }: UpstreamCall): SimulatedResponse {
  const fields = new Map(fieldPairs(headers))
  const upgrade = fields.get('upgrade')
  if (upgrade !== undefined)
    return { status: 101, headers: ['connection', 'upgrade', 'upgrade', upgrade], body: Buffer.alloc(0) }
  const type = fields.get('accept')?.split(/[,;]/, 1)[0]?.trim() ?? ''
  const body = Object.hasOwn(EMPTY, type) ? EMPTY[type] : undefined
  return body === undefined
    ? emptyResponse(ASSUMED_STATUS)
    : { status: ASSUMED_STATUS, headers: ['content-type', type], body: Buffer.from(body) }
}
