import type { FastifyRequest } from 'fastify'
import { fp, perOptions, type StageFactory, type StageHead, template } from '../../src/kit/index.ts'
import {
  applyCoding,
  type Compression,
  compressionFor,
  lengthIn,
  varyByEncoding,
  weakenEtag
} from '../../src/lib/http/compression.ts'
import { CompressedBody } from './compressed-body.ts'
import type { CompressOptions } from './options.ts'

export { comparison } from './compare.ts'
export { options, override } from './options.ts'

export const key = 'compress'
// Stages of extensions read bodies without a content coding.
export const last = true
export const stateless = true

export default fp<CompressOptions>(
  async function compress(app, root) {
    if (!app.hasRequestDecorator('headerChanges')) app.decorateRequest('headerChanges', null)
    perOptions(app, key, root, (options) => ({
      stages: [compressStage(compressionFor(options))],
      onRequest(request, _reply, done) {
        if (request.headers['if-match']?.includes('W/') === true)
          request.headerChanges = [STRONG_IF_MATCH, ...(request.headerChanges ?? [])]
        done()
      }
    }))
  },
  { name: key, fastify: '5.x' }
)

/** Compiles the stage of routes with the same options. */
function compressStage(compression: Compression): StageFactory {
  return (head, request) => {
    if (!head.hasBody) {
      applyWithoutBody(compression, head, request)
      return undefined
    }
    const { coding, identity } = compression.accepted(request)
    if (coding !== undefined && (head.mayChange || compression.mayCompress(head)))
      return new CompressedBody(head, { compression, coding, identity, budget: request.server.buffers })
    if (head.mayChange || compression.isCompressible(head)) varyByEncoding(head)
    return undefined
  }
}

/** Sends the headers that a GET would get with its body. */
function applyWithoutBody(compression: Compression, head: StageHead, request: FastifyRequest): void {
  if (head.status === 304) {
    // The client has the ETag of a compressed body (RFC 9110 section 13.1.2 compares them weakly).
    if (request.headers['if-none-match']?.includes(`W/${head.get('etag')}`) === true) weakenEtag(head)
    if (head.get('content-type') === undefined) varyByEncoding(head)
  }
  if (!compression.isCompressible(head)) return
  varyByEncoding(head)
  const coding = request.method === 'HEAD' ? compression.encodingFor(request, head) : undefined
  if (coding !== undefined && lengthIn(head) !== undefined) applyCoding(head, coding)
}

/** Gives the ETag of a compressed body back to the upstream as it was: If-Match never matches a weak one (RFC 9110 section 13.1.1). */
const STRONG_IF_MATCH = {
  name: 'if-match',
  action: 'set' as const,
  appliesTo: undefined,
  value: template('{headers.if-match}', undefined, {
    headers: () => (request: FastifyRequest) =>
      request.headers['if-match']?.replaceAll(/(^|[\s,])W\/(?=")/g, '$1')
  })
}
