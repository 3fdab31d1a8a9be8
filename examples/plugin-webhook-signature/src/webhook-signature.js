// @ts-check
import { createHmac, timingSafeEqual } from 'node:crypto'
import {
  createError,
  describeRefusal,
  fp,
  gate,
  overrideOf,
  perRoute,
  readBody,
  Size,
  Type
} from 'sallyport/kit'

/** @typedef {import('./webhook-signature.js').WebhookSignatureOptions} Options */

export const key = 'webhookSignature'

export const options = Type.Object(
  {
    ...gate,
    secrets: Type.Array(Type.String({ minLength: 16 }), {
      minItems: 1,
      description: 'The secrets that senders may sign with; two while one replaces the other.',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
      examples: [['${WEBHOOK_SECRET}']]
    }),
    header: Type.String({
      pattern: '^[a-z0-9-]+$',
      default: 'x-hub-signature-256',
      description: 'The header with the signature, in lower case.',
      examples: ['x-hub-signature-256']
    }),
    prefix: Type.String({
      default: 'sha256=',
      description: 'The text in front of the signature, which is in hexadecimal.'
    }),
    maxBody: Size({ default: '1mb', description: 'The largest body that is read into memory.' })
  },
  {
    additionalProperties: false,
    description: 'Accepts requests with a valid HMAC-SHA256 of their body.',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
    examples: [{ secrets: ['${WEBHOOK_SECRET}'] }]
  }
)

export const override = overrideOf(options)

/** The signature is missing, or does not match the body. */
export const SignatureInvalid = createError(
  'SP_ERR_WEBHOOK_SIGNATURE_INVALID',
  'The signature of the webhook is not valid',
  401
)

/** @param {Required<Options>} options */
export const describes = ({ header }) => ({
  headers: { properties: { [header]: { type: 'string' } }, required: [header] },
  refusals: [describeRefusal(SignatureInvalid)]
})

export default fp(
  /**
   * @param {import('fastify').FastifyInstance} app
   * @param {Required<Options>} root
   */
  async function webhookSignature(app, root) {
    perRoute(app, key, root, ({ secrets, header, prefix, maxBody }) => ({
      // Not in onRequest: gates that don't need the body refuse a flood before it is read.
      async preHandler(/** @type {import('fastify').FastifyRequest} */ request) {
        const given = Buffer.from(String(request.headers[header] ?? ''))
        const body = await readBody(request, { maxBody })
        if (!secrets.some((secret) => isEqual(given, signature(secret, prefix, body))))
          throw new SignatureInvalid()
      }
    }))
  },
  { name: key, fastify: '5.x' }
)

/**
 * @param {string} secret
 * @param {string} prefix
 * @param {Uint8Array} body
 */
const signature = (secret, prefix, body) =>
  Buffer.from(prefix + createHmac('sha256', secret).update(body).digest('hex'))

/**
 * Compares in constant time; the length is no secret.
 *
 * @param {Buffer} a
 * @param {Buffer} b
 */
const isEqual = (a, b) => a.length === b.length && timingSafeEqual(a, b)
