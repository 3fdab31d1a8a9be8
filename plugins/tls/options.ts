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
            cert: File({ description: 'The certificate with those that vouch for it, as PEM.' }),
            key: File({ description: 'Its private key, as PEM.' })
          },
          { additionalProperties: false, description: 'One certificate.' }
        ),
        {
          minItems: 1,
          description:
            'The certificates, each for the names it says itself; the first is for clients that name no host, or another.'
        }
      )
    ),
    acme: Type.Optional(acme),
    redirectFrom: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_535,
        description:
          'A plain port, whose requests are sent to https (308), and where http-01 is answered; 0 for any free one.'
      })
    ),
    minVersion: Type.Unsafe<'TLSv1.2' | 'TLSv1.3'>({
      type: 'string',
      enum: ['TLSv1.2', 'TLSv1.3'],
      default: 'TLSv1.2',
      description: 'The oldest version of TLS that is spoken.'
    }),
    http2: Type.Boolean({ default: true, description: 'Whether HTTP/2 is offered beside HTTP/1.1.' }),
    clientCertificates: Type.Optional(
      Type.Object(
        {
          ca: File({ description: "The authorities that clients' certificates are from, as PEM." }),
          required: Type.Boolean({
            default: true,
            description:
              'Whether a client without a certificate gets no connection; else routes decide by auth.'
          })
        },
        { additionalProperties: false, description: 'Asks clients for certificates.' }
      )
    )
  },
  {
    additionalProperties: false,
    description: 'TLS towards clients, on the listening port; without it plain HTTP.'
  }
)

export type TlsOptions = Static<typeof options>
