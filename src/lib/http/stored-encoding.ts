import type { FastifyRequest } from 'fastify'
import type { CacheAnswer } from '../contracts/cache.ts'
import { applyCoding, type Compression, varyByEncoding } from './compression.ts'
import { StageHead } from './stage-head.ts'

// Larger bodies are compressed in the thread pool, for each client.
const MAX_SYNC = 32 * 1024

/** Returns a stored response as its client accepts it, compressed once for all clients; undefined where the body is not kept, is large, or has no length. */
export function encodeStored(
  answer: CacheAnswer,
  request: FastifyRequest,
  compression: Compression
): CacheAnswer | undefined {
  const { status, body, encodings } = answer
  if (encodings === undefined || !Buffer.isBuffer(body) || body.length === 0 || body.length > MAX_SYNC)
    return undefined
  const head = new StageHead(status, [...answer.fields], true)
  const coding = compression.encodingFor(request, head)
  if (compression.isCompressible(head)) varyByEncoding(head)
  const plain = { ...answer, fields: head.fields }
  if (coding === undefined) return plain
  // A reload may have changed the level.
  const name = `${coding} ${compression.levelOf(coding)}`
  let encoded = encodings.get(name)
  if (encoded === undefined) {
    encoded = ownCopy(compression.compressSync(coding, body))
    encodings.set(name, encoded)
  }
  if (encoded.length >= body.length && compression.accepted(request).identity) return plain
  applyCoding(head, coding)
  head.set('content-length', String(encoded.length))
  return { ...plain, body: encoded }
}

/** Copies bytes that are a small part of a larger block, which would stay in memory with them. */
function ownCopy(bytes: Buffer): Buffer {
  if (bytes.length === bytes.buffer.byteLength) return bytes
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}
