import { type Static, Type } from 'typebox'
import { EXPECTED } from '../lib/units.ts'
import { CLOSED, expectOptions } from './expectation-schema.ts'

/** The schema of headers as they are sent. */
export const Headers = Type.Record(
  Type.String(),
  Type.Union([Type.String(), Type.Number(), Type.Array(Type.String())]),
  {
    description: 'Headers: each a text, or a list for several fields of one name.',
    examples: [{ accept: 'application/json' }]
  }
)

const Request = Type.Union(
  [
    Type.String({ pattern: '^[!-~]+ .', [EXPECTED]: 'a method and a URL such as "GET /orders/1"' }),
    Type.Object(
      {
        method: Type.Optional(Type.String({ minLength: 1, description: 'The method; by default GET.' })),
        url: Type.String({
          minLength: 1,
          description: 'The path and query as they are sent, or a URL with scheme and host.'
        }),
        headers: Type.Optional(Headers),
        body: Type.Optional(
          Type.Unsafe<unknown>({
            description: 'The body: a text, or anything else, which is sent as JSON.',
            examples: [{ id: 1 }]
          })
        ),
        from: Type.Optional(
          Type.String({ description: 'The IP address of the client; by default 192.0.2.1.' })
        )
      },
      CLOSED
    )
  ],
  {
    description: 'The request: a method and a URL, or an object.',
    examples: ['GET /orders/1', { method: 'POST', url: '/orders', body: { id: 1 } }]
  }
)

/** The options of a test or a step that sends a request. */
export const requestOptions = {
  request: Type.Optional(Request),
  as: Type.Optional(
    Type.Union([Type.String(), Type.Record(Type.String(), Type.String())], {
      description:
        'Who calls, a name of "callers": stands in for the strategy that "auth" tries first, or for each that is named.',
      examples: ['ada', { apiKeys: 'acme', jwt: 'ada' }]
    })
  ),
  sign: Type.Optional(
    Type.Union(
      [
        Type.String(),
        Type.Object(
          {
            caller: Type.String({ description: 'A name of "callers".' }),
            claims: Type.Optional(
              Type.Record(Type.String(), Type.Unknown(), { description: 'Claims of the token.' })
            ),
            from: Type.Optional(
              Type.String({
                pattern: '^(header:[A-Za-z0-9-]+|query:[^&=#]+)$',
                [EXPECTED]: '"header:NAME" or "query:NAME"',
                description:
                  'Where the token is sent; by default the first header that "auth.jwt" reads, else the first parameter.'
              })
            )
          },
          CLOSED
        )
      ],
      {
        description:
          'Sends a token of this name of "callers", signed by a test key that stands in for every "jwks", and is accepted beside "keys".',
        examples: ['ada', { caller: 'ada', claims: { aud: 'other' } }]
      }
    )
  ),
  expect: Type.Optional(expectOptions)
}

/** A request as written. */
export type TestRequest = Static<typeof Request>
/** Headers as written. */
export type WrittenHeaders = Static<typeof Headers>
