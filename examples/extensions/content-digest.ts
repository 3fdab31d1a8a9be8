// A concern of your own that reads response bodies: it adds a Content-Digest (RFC 9530) to those that are small enough.
// In your own project, import from 'sallyport/kit'; here that name would lead to the build (dist).
import { createHash } from 'node:crypto'
import { Transform } from 'node:stream'
import { fp, overrideOf, perRoute, Size, type Static, size, Type } from '../../src/kit/index.ts'

export const key = 'contentDigest'

export const options = Type.Object(
  { maxBody: Size({ default: '64kb', description: 'The largest body that gets a digest.' }) },
  { additionalProperties: false, description: 'Adds a Content-Digest to responses.' }
)

export const override = overrideOf(options)

export default fp<Static<typeof options>>(
  async function contentDigest(app, root) {
    perRoute(app, key, root, ({ maxBody }) => ({
      stages: [
        (head) => {
          const length = Number(head.get('content-length') ?? Number.POSITIVE_INFINITY)
          if (!head.hasBody || length > size(maxBody)) return undefined
          const parts: Buffer[] = []
          return new Transform({
            transform(chunk: Buffer, _encoding, callback) {
              parts.push(chunk)
              callback()
            },
            flush(callback) {
              const body = Buffer.concat(parts)
              // The head waits for the first byte, so it can still be changed here.
              const digest = createHash('sha256').update(body).digest('base64')
              head.set('content-digest', `sha-256=:${digest}:`)
              callback(null, body)
            }
          })
        }
      ]
    }))
  },
  { name: key, fastify: '5.x' }
)
