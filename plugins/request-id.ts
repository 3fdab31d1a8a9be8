import { randomBytes } from 'node:crypto'
import type { Comparison } from '../src/kit/concern.ts'
import { fp, perOptions, Type } from '../src/kit/index.ts'
import { requestHeader } from '../src/lib/http/headers.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'

export const key = 'requestId'

export const options = Type.Object(
  {
    header: Type.String({
      default: 'x-request-id',
      pattern: '^[a-z0-9-]+$',
      description: 'The header of the id, in lower case.'
    }),
    trust: Type.Boolean({
      default: false,
      description: "Whether the client's id is used if it has 1 to 128 letters, digits and -_.~:/+=@."
    })
  },
  {
    additionalProperties: false,
    description: 'Assigns an id to every request, for the response, the log and the upstream.',
    examples: [{ trust: true }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export const always = true
export const requestHeaders = ({ header }: RequestIdOptions): string[] => [header]
export type RequestIdOptions = Static<typeof options>

const VALID_ID = /^[\w.~:/+=@-]{1,128}$/

// A nonce of this process and a counter: unique across processes, and cheaper than 16 random bytes per request.
const boot = randomBytes(8).toString('base64url')
let count = 0

/** Returns the next request id of this process. */
export const nextId = (): string => `${boot}-${(count++).toString(36)}`

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  options: {
    header: { class: 'exposure', message: 'is another header of requests and responses' },
    trust: { class: 'exposure', message: 'passes on ids that clients choose, or no longer' }
  },
  onOff: { class: 'exposure', message: 'adds an id to requests and responses, or no longer' }
}

export default fp<RequestIdOptions>(
  async function requestId(app, root) {
    app.setGenReqId(nextId)
    perOptions(app, key, root, ({ header, trust }) => ({
      onRequest(request, _reply, done) {
        if (trust) {
          const clientId = requestHeader(request, header)
          if (typeof clientId === 'string' && VALID_ID.test(clientId)) request.id = clientId
        }
        done()
      },
      onHead: (request, _reply, head) => head.set(header, request.id)
    }))
  },
  { name: key, fastify: '5.x' }
)
