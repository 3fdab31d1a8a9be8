import type { FastifyRequest } from 'fastify'
import { readBody } from '../../src/kit/index.ts'
import { decodeBody } from '../../src/lib/body/content-coding.ts'
import { isJsonFault, parsedJson } from '../../src/lib/body/json.ts'
import { BodyTooLarge } from '../../src/lib/refusals.ts'
import type { Calls } from './calls.ts'
import { BodyNotJson } from './failures.ts'
import type { bodyUse } from './plan.ts'
import type { ClientBody } from './references.ts'
import { memoryOfValue } from './value-memory.ts'

// The body is bounded by `limits.body`.
const NO_OWN_LIMIT = '1024gb'

/** Reads the client's body as the legs use it; undefined where none of them does. Throws a refusal. */
export async function readClientBody(
  request: FastifyRequest,
  use: ReturnType<typeof bodyUse>,
  calls: Calls
): Promise<ClientBody | undefined> {
  if (use === 'none') return undefined
  const bytes = await readBody(request, { maxBody: NO_OWN_LIMIT })
  if (use === 'bytes' || bytes.length === 0) return { bytes, value: undefined }
  const decoded = await decodeBody(
    bytes,
    request.raw.headers['content-encoding'],
    Math.min(request.limits?.body ?? Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER)
  )
  if (!Buffer.isBuffer(decoded)) throw decoded.fault === 'tooLarge' ? new BodyTooLarge() : new BodyNotJson()
  calls.hold(memoryOfValue(decoded, 'json'))
  const parsed = parsedJson(decoded)
  if (isJsonFault(parsed)) throw new BodyNotJson()
  return { bytes, value: parsed.value }
}
