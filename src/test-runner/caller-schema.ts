import { type Static, Type } from 'typebox'

/** The schema of a caller in `callers`. */
export const callerOptions = Type.Object(
  {
    id: Type.Optional(Type.String({ minLength: 1, description: 'Its id; by default its name here.' })),
    issuer: Type.Optional(Type.String({ description: 'Who vouches for the id.' })),
    name: Type.Optional(Type.String({ description: 'Its name.' })),
    email: Type.Optional(Type.String({ description: 'Its e-mail address.' })),
    roles: Type.Optional(Type.Array(Type.String(), { description: 'Its roles.', examples: [['staff']] })),
    scopes: Type.Optional(
      Type.Array(Type.String(), { description: 'Its scopes.', examples: [['orders:read']] })
    ),
    claims: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'Its other claims.',
        examples: [{ tenant: 'acme' }]
      })
    )
  },
  { additionalProperties: false, description: 'A caller.' }
)

/** A caller in a file of tests. */
export type WrittenCaller = Static<typeof callerOptions>
