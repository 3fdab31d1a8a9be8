import { Type } from '../../src/kit/index.ts'
import { STRATEGIES, type StrategyName } from '../../src/lib/caller.ts'
import { AddressList } from '../../src/lib/http/address-lists.ts'
import { gate, overrideOf, type Static } from '../../src/lib/schema.ts'
import { EXPECTED, File, NO_SECRET } from '../../src/lib/units.ts'
import { assertion } from './assertion.ts'
import { apiKey, user } from './credential-files.ts'
import { jwtOption } from './jwt/options.ts'
import { oidc } from './oidc/options.ts'
import { forward } from './strategies/forward-options.ts'

export { STRATEGIES, type StrategyName }

// The strategies whose credential is a request header.
const HEADER_STRATEGIES: ReadonlySet<StrategyName> = new Set(['jwt', 'apiKeys', 'basic'])

const credentialPlace = Type.String({
  pattern: '^(header:[A-Za-z0-9-]+|query:[^&=#]+)$',
  [EXPECTED]: '"header:NAME" or "query:NAME"'
})

const alternative = Type.Unsafe<string>({
  anyOf: [
    { type: 'string', enum: [...STRATEGIES] },
    { type: 'string', pattern: `^(${STRATEGIES.join('|')})(\\+(${STRATEGIES.join('|')}))+$` }
  ],
  [EXPECTED]: `a strategy (${STRATEGIES.join(', ')}) or a pair such as "apiKeys+jwt"`
})

const claimValue = Type.Unsafe<string | string[]>({
  anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1 }],
  [EXPECTED]: 'a text or a list of texts'
})

const requirements = {
  roles: Type.Optional(
    Type.Array(Type.String(), {
      description: 'The caller has one of these roles.',
      examples: [['admin', 'staff']]
    })
  ),
  scopes: Type.Optional(
    Type.Array(Type.String(), {
      description: 'The caller has all of these scopes.',
      examples: [['orders:write']]
    })
  ),
  claims: Type.Optional(
    Type.Record(Type.String(), claimValue, {
      description:
        'The caller has all of these claims, of a list one of its values; "*" in a value stands for anything.',
      examples: [{ email: '*@example.com', plan: ['gold', 'silver'] }]
    })
  )
}

const requirementsOf = (strategy: StrategyName) =>
  Type.Optional(
    Type.Object(requirements, {
      additionalProperties: false,
      description: `What the caller of "${strategy}" must have, also where another strategy sets the caller.`,
      examples: [{ scopes: ['orders:write'] }]
    })
  )

export const options = Type.Object(
  {
    ...gate,
    session: Type.Boolean({
      default: false,
      description: 'Accept a session; needs "users" or "oidc".'
    }),
    users: Type.Optional(
      Type.Object(
        {
          file: Type.Optional(
            File({
              description: 'A JSON file with a list of users, or an Apache htpasswd file with bcrypt hashes.'
            })
          ),
          list: Type.Optional(
            Type.Array(user, {
              description: 'Users, inline.',
              // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
              examples: [[{ name: 'ada', secret: '${PASSWORD}', roles: ['admin'] }]]
            })
          )
        },
        { additionalProperties: false, description: 'The local users.', examples: [{ file: 'users.json' }] }
      )
    ),
    oidc: Type.Optional(oidc),
    apiKeys: Type.Optional(
      Type.Object(
        {
          from: Type.Array(credentialPlace, {
            default: ['header:x-api-key'],
            minItems: 1,
            description: 'Where a key is read from: "header:NAME" or "query:NAME".'
          }),
          file: Type.Optional(File({ description: 'A JSON file with a list of keys.' })),
          list: Type.Optional(
            Type.Array(apiKey, {
              description: 'Keys, inline.',
              // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
              examples: [[{ id: 'partner', secret: '${PARTNER_KEY}', scopes: ['orders:read'] }]]
            })
          )
        },
        {
          additionalProperties: false,
          description: 'Callers with an API key, which is stored as a hash.',
          examples: [{ file: 'keys.json' }]
        }
      )
    ),
    jwt: Type.Optional(jwtOption),
    basic: Type.Boolean({
      default: false,
      description: 'Accept name and password in each request (HTTP Basic); needs "users".'
    }),
    clientCertificate: Type.Boolean({
      default: false,
      description: 'Accept the client certificate of the connection; needs "tls" with "clientCertificates".'
    }),
    forward: Type.Optional(forward),
    by: Type.Optional(
      Type.Array(alternative, {
        minItems: 1,
        description:
          'The strategies that are accepted here; by default all that are defined. Those of a pair such as "apiKeys+jwt" must succeed together; its last is the caller.',
        examples: [
          ['session', 'jwt'],
          ['apiKeys+jwt', 'session']
        ]
      })
    ),
    openapi: Type.Boolean({
      default: false,
      description:
        'Take "by", "optional" and the scopes of each route from the security of its operation; for a group with "operations".'
    }),
    optional: Type.Boolean({
      default: false,
      description: 'Also let anonymous requests through; a wrong credential is still refused.'
    }),
    exempt: AddressList({
      default: [],
      description:
        'Addresses that need no credential, unless "require" is set: addresses, CIDR ranges, "loopback", "private" or "file:NAME". A wrong credential is still refused.',
      examples: [['203.0.113.0/24']]
    }),
    require: Type.Optional(
      Type.Object(
        {
          ...requirements,
          session: requirementsOf('session'),
          jwt: requirementsOf('jwt'),
          apiKeys: requirementsOf('apiKeys'),
          basic: requirementsOf('basic'),
          clientCertificate: requirementsOf('clientCertificate'),
          forward: requirementsOf('forward')
        },
        {
          additionalProperties: false,
          description: 'What a caller must have; without it every caller passes.',
          examples: [{ roles: ['admin'] }]
        }
      )
    ),
    challenge: Type.Unsafe<'auto' | 'login' | 'status'>({
      type: 'string',
      enum: ['auto', 'login', 'status'],
      default: 'auto',
      description:
        'What an anonymous request gets: auto redirects page loads to the log-in and answers all else 401, login redirects everything, status answers 401 always.'
    }),
    passOn: Type.Array(
      Type.Unsafe<StrategyName | 'oidc'>({
        type: 'string',
        enum: [...STRATEGIES.filter((name) => HEADER_STRATEGIES.has(name)), 'oidc']
      }),
      {
        default: [],
        description:
          'The strategies whose credentials are forwarded to the upstream; "oidc" sends the access token of the session\u2019s user as Bearer. The session cookie and query parameters are never forwarded.',
        examples: [['jwt'], ['oidc']]
      }
    ),
    assertion: Type.Optional(assertion),
    identity: Type.Record(Type.String({ pattern: '^[a-zA-Z0-9-]+$' }), Type.String(), {
      additionalProperties: false,
      [NO_SECRET]: true,
      default: {},
      description:
        'Headers that tell the upstream who the caller is, each with its value (id, name, email, roles, scopes, claims.x; for sessions of "oidc" also accessToken and idToken); the same headers from a client are removed.',
      examples: [{ 'x-user-id': 'id', 'x-user-roles': 'roles' }]
    })
  },
  {
    additionalProperties: false,
    description: 'Authentication and authorization: any of the strategies lets a caller in.',
    examples: [{ apiKeys: { file: 'keys.json' } }]
  }
)

export const override = overrideOf(options)
export type AuthOptions = Static<typeof options>

/** Lists the strategies that some options define, in their order. */
export const definedStrategies = (options: AuthOptions): StrategyName[] =>
  STRATEGIES.filter((name) => options[name] !== undefined && options[name] !== false)
