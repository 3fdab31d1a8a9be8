import type { FastifyRequest } from 'fastify'
import type { CacheAnswer, EncodedBodies } from '../contracts/cache.ts'
import { applyCoding, type Compression, varyByEncoding } from './compression.ts'
import { StageHead } from './stage-head.ts'

// Larger bodies are compressed in the thread pool; clients that come before it is done get them from a stage of their own.
const MAX_SYNC = 32 * 1024

/** Returns a stored response as its client accepts it, compressed once for all clients; undefined where the body is not kept, or not compressed yet. */
export function encodeStored(
  answer: CacheAnswer,
  request: FastifyRequest,
  compression: Compression
): CacheAnswer | undefined {
  const { status, body, encodings } = answer
  if (encodings === undefined || !Buffer.isBuffer(body) || body.length === 0) return undefined
  const head = new StageHead(status, [...answer.fields], true)
  const coding = compression.encodingFor(request, head)
  if (compression.isCompressible(head)) varyByEncoding(head)
  const plain = { ...answer, fields: head.fields }
  if (coding === undefined) return plain
  // A reload may have changed the level.
  const name = `${coding} ${compression.levelOf(coding)}`
  let encoded = encodings.get(name)
  if (encoded === undefined && body.length > MAX_SYNC) {
    encodeLater(encodings, name, () => compression.compressLater(coding, body))
    return undefined
  }
  if (encoded === undefined) {
    encoded = ownCopy(compression.compressSync(coding, body))
    encodings.set(name, encoded)
  }
  if (encoded.length >= body.length && compression.accepted(request).identity) return plain
  applyCoding(head, coding)
  head.set('content-length', String(encoded.length))
  return { ...plain, body: encoded }
}

// Other work needs the threads of the pool, too. What does not get one is compressed after a later request.
let isEncoding = false

function encodeLater(encodings: EncodedBodies, name: string, compress: () => Promise<Buffer>): void {
  if (isEncoding) return
  isEncoding = true
  compress()
    // Without memory for it, each client goes on with a stage of its own.
    .then(
      (bytes) => encodings.set(name, ownCopy(bytes)),
      () => {}
    )
    .finally(() => {
      isEncoding = false
    })
}

/** Copies bytes that are a small part of a larger block, which would stay in memory with them. */
function ownCopy(bytes: Buffer): Buffer {
  if (bytes.length === bytes.buffer.byteLength) return bytes
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}
