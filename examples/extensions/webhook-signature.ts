// A gate that accepts a webhook only with a valid signature of its raw body, as GitHub and many others send it.
// In your own project, import from 'sallyport/kit'.
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import {
  createError,
  fp,
  gate,
  overrideOf,
  perRoute,
  readBody,
  type Static,
  Type
} from '../../src/kit/index.ts'

export const key = 'webhookSignature'

export const options = Type.Object(
  {
    ...gate,
    secret: Type.String({ minLength: 16, description: 'The secret that the sender signs with.' }),
    header: Type.String({
      default: 'x-hub-signature-256',
      description: 'The header with "sha256=" and the signature in hexadecimal, in lower case.'
    }),
    maxBody: Type.String({ default: '1mb', description: 'The largest body that is read into memory.' })
  },
  { additionalProperties: false, description: 'Checks the signature of a webhook.' }
)

export const override = overrideOf(options)

/** The signature is missing, or does not match the body. */
export const SignatureInvalid = createError(
  'SP_ERR_WEBHOOK_SIGNATURE_INVALID',
  'The signature of the webhook is not valid',
  401
)

export default fp<Static<typeof options>>(
  async function webhookSignature(app, root) {
    perRoute(app, key, root, ({ secret, header, maxBody }) => ({
      async preHandler(request: FastifyRequest) {
        const body = await readBody(request, { maxBody })
        const expected = Buffer.from(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`)
        const given = Buffer.from(String(request.headers[header] ?? ''))
        if (given.length !== expected.length || !timingSafeEqual(given, expected))
          throw new SignatureInvalid()
      }
    }))
  },
  { name: key, fastify: '5.x' }
)
