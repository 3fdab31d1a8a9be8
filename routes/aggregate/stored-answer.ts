import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CacheAnswer, CacheHead } from '../../src/lib/contracts/cache.ts'
import { type CompressionOptions, compressionFor } from '../../src/lib/http/compression.ts'
import { isClosed } from '../../src/lib/http/response.ts'
import { encodeStored } from '../../src/lib/http/stored-encoding.ts'
import type { Answer } from './answer.ts'
import { privateCacheControl, tagsOf } from './answer-head.ts'

/** Returns the head of a response as it is stored, with the names that its legs can be purged by. */
export const headToStore = ({ headers, length, outcomes }: Answer): CacheHead => ({
  status: 200,
  fields: [...Object.entries(headers).flat(), 'content-length', String(length), ...tagsOf(outcomes)]
})

// The names of a leg are for this cache only.
const NOT_SENT = 'cache-groups'

/** Sends a response of the cache. */
export function sendStored(answer: CacheAnswer, request: FastifyRequest, reply: FastifyReply): void {
  const { status, fields, body, cacheStatus } = encoded(answer, request) ?? answer
  if (isClosed(reply.raw)) {
    if (body !== null && !Buffer.isBuffer(body)) body.destroy()
    return
  }
  request.deadline?.cancel()
  reply.code(status).header('cache-status', cacheStatus)
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    const value = fields[i + 1] as string
    if (name === 'cache-control' && request.caller !== null) reply.header(name, privateCacheControl(value))
    else if (name !== NOT_SENT) reply.header(name, value)
  }
  reply.send(body ?? undefined)
}

/** Returns a stored response that is compressed once for all clients; undefined where stages change it for each of them. */
function encoded(answer: CacheAnswer, request: FastifyRequest): CacheAnswer | undefined {
  const route = request.routeOptions.config.sallyport?.route
  const stages = route?.head.stages.filter(({ key }) => key !== 'cache') ?? []
  if (route === undefined || stages.length !== 1 || stages[0]?.key !== 'compress') return undefined
  return encodeStored(answer, request, compressionFor(route.options['compress'] as CompressionOptions))
}
