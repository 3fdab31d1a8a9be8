import { Type } from '../../src/kit/index.ts'
import type { Static } from '../../src/lib/schema.ts'
import { File } from '../../src/lib/units.ts'
import { acme } from './acme/index.ts'

export const options = Type.Object(
  {
    certificates: Type.Optional(
      Type.Array(
        Type.Object(
          {
            cert: File({ description: 'The certificate and its chain, as PEM.' }),
            key: File({ description: 'Its private key, as PEM.' })
          },
          { additionalProperties: false, description: 'One certificate.' }
        ),
        {
          minItems: 1,
          description:
            'The certificates, each served for the names in it; the first one also for all other names.',
          examples: [[{ cert: 'server.crt', key: 'server.key' }]]
        }
      )
    ),
    acme: Type.Optional(acme),
    redirectFrom: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_535,
        description:
          'A plain HTTP port that redirects to https (308) and responds to http-01 challenges; 0 for any free port.'
      })
    ),
    minVersion: Type.Unsafe<'TLSv1.2' | 'TLSv1.3'>({
      type: 'string',
      enum: ['TLSv1.2', 'TLSv1.3'],
      default: 'TLSv1.2',
      description: 'The minimum version of TLS.'
    }),
    http2: Type.Boolean({ default: true, description: 'Whether HTTP/2 is offered beside HTTP/1.1.' }),
    clientCertificates: Type.Optional(
      Type.Object(
        {
          ca: File({ description: 'The CAs that issue the client certificates, as PEM.' }),
          required: Type.Boolean({
            default: true,
            description:
              'Whether a client without a certificate is rejected in the handshake; otherwise routes decide by auth.'
          })
        },
        {
          additionalProperties: false,
          description: 'Requests client certificates (mutual TLS).',
          examples: [{ ca: 'clients.pem' }]
        }
      )
    )
  },
  {
    additionalProperties: false,
    description: 'TLS on the listening port; without it plain HTTP.',
    examples: [{ certificates: [{ cert: 'server.crt', key: 'server.key' }] }]
  }
)

export type TlsOptions = Static<typeof options>
