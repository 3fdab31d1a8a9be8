// What compressing a response of 10 KB of JSON costs beside node:zlib alone, as a ratio. `node bench/compress.ts [rounds]`
import { brotliCompressSync, constants, gzipSync, zstdCompressSync } from 'node:zlib'
import type { FastifyRequest } from 'fastify'
import { CompressedBody } from '../plugins/compress/compressed-body.ts'
import { BufferBudget } from '../src/lib/buffers.ts'
import type { ContentCoding } from '../src/lib/http/accept-encoding.ts'
import { Compression } from '../src/lib/http/compression.ts'
import { StageHead } from '../src/lib/http/stage-head.ts'
import { startStages } from '../src/lib/http/staged-body.ts'

const ROUNDS = Number(process.argv[2] ?? 30)
const CALLS = 100
const SIZE = 10 * 1024

const items = Array.from({ length: 120 }, (_, id) => ({
  id,
  name: `Blue cup ${id}`,
  price: ((id * 7919) % 9973) / 100,
  sku: ((id * 2_654_435_761) >>> 0).toString(36),
  tags: ['kitchen', 'gift']
}))
const bytes = Buffer.from(JSON.stringify(items)).subarray(0, SIZE)

const ALONE: Readonly<Record<ContentCoding, () => Buffer>> = {
  zstd: () => zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 3 } }),
  br: () => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }),
  gzip: () => gzipSync(bytes, { level: 6 })
}

const compression = new Compression({
  encodings: ['zstd', 'br', 'gzip'],
  levels: { zstd: 3, br: 4, gzip: 6 },
  minSize: '1kb',
  types: ['application/json'],
  streams: false
})
const budget = new BufferBudget()

/** Sends a body through the stage, as for a client that accepts the coding. */
function throughStage(coding: ContentCoding): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'accept-encoding': coding }
    const request = { headers, raw: { headers, httpVersionMajor: 1, httpVersionMinor: 1 } }
    const fields = ['content-type', 'application/json', 'content-length', String(bytes.length), 'etag', '"a"']
    const start = (head: StageHead, of: FastifyRequest): CompressedBody | undefined => {
      const accepted = compression.accepted(of)
      return accepted.coding === undefined || !compression.mayCompress(head)
        ? undefined
        : new CompressedBody(head, { compression, coding: accepted.coding, identity: true, budget })
    }
    let sent = 0
    const output = {
      onStagedData: (chunk: Buffer) => {
        sent += chunk.length
        return true
      },
      onStagedEnd: () => resolve(sent),
      onStagedDrain: () => {},
      onStagedError: reject
    }
    const head = new StageHead(200, fields, true)
    const body = startStages([{ key: 'compress', start }], head, request as unknown as FastifyRequest, output)
    body?.write(bytes)
    body?.end()
  })
}

async function timeOf(task: () => unknown): Promise<number> {
  const start = process.hrtime.bigint()
  for (let call = 0; call < CALLS; call++) await task()
  return Number(process.hrtime.bigint() - start) / 1e3 / CALLS
}

for (const coding of ['zstd', 'br', 'gzip'] as const) {
  // Both in turn, and the lowest of each: other work on the machine only adds to it.
  const alone: number[] = []
  const staged: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    alone.push(await timeOf(ALONE[coding]))
    staged.push(await timeOf(() => throughStage(coding)))
  }
  const [one, other] = [Math.min(...alone), Math.min(...staged)]
  process.stdout.write(
    `${coding.padEnd(5)} node:zlib ${one.toFixed(1)} µs, compress ${other.toFixed(1)} µs, ratio ${(other / one).toFixed(2)}, ` +
      `${bytes.length} to ${await throughStage(coding)} bytes\n`
  )
}
