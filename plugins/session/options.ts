import type { IsConfigured } from '../../src/kit/concern.ts'
import { type OptionFault, Type } from '../../src/kit/index.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration } from '../../src/lib/units.ts'

const MIN_SECRET_LENGTH = 32
const path = (description: string, defaultPath: string) =>
  Type.String({ pattern: '^/[^?#\\s]*$', default: defaultPath, description })

export const options = Type.Object(
  {
    secrets: Type.Optional(
      Type.Array(Type.String(), {
        minItems: 1,
        description:
          'The secrets that sign the cookie, 32 characters or more each; the first one signs, all are accepted. By default SESSION_SECRET.',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
        examples: [['${SESSION_SECRET}', '${OLD_SESSION_SECRET}']]
      })
    ),
    cookie: Type.Object(
      {
        name: Type.Optional(
          Type.String({
            pattern: "^[\\w!#$%&'*.^`|~+-]+$",
            description:
              'The name of the cookie; by default "sid", or "__Host-sid" with "tls" or an https "publicUrl".',
            examples: ['shop']
          })
        ),
        sameSite: Type.Unsafe<'lax' | 'strict'>({
          type: 'string',
          enum: ['lax', 'strict'],
          default: 'lax',
          description: 'The SameSite attribute: with "lax", links from other sites send the cookie.'
        })
      },
      {
        additionalProperties: false,
        default: {},
        description: 'The session cookie; always HttpOnly, and Secure over TLS.',
        examples: [{ name: 'shop', sameSite: 'strict' }]
      }
    ),
    idle: Duration({
      positive: true,
      default: '30m',
      description: 'The idle timeout: how long a session lasts without a request.'
    }),
    absolute: Duration({
      positive: true,
      default: '12h',
      description: 'The absolute timeout: how long a session lasts at most.'
    }),
    routes: Type.Object(
      {
        login: path('The log-in page.', '/login'),
        logout: path('The log-out.', '/logout'),
        who: path('The current user and the sessions.', '/session'),
        callback: path('The redirect URI of the OpenID Connect log-in.', '/login/callback')
      },
      {
        additionalProperties: false,
        default: {},
        description: 'The paths of the built-in log-in routes.',
        examples: [{ login: '/account/login', logout: '/account/logout' }]
      }
    )
  },
  {
    additionalProperties: false,
    description: 'Sessions: their timeouts, cookie and routes.',
    examples: [{ idle: '30m', absolute: '12h' }]
  }
)

export const override = false
export const always = (isConfigured: IsConfigured): boolean => isConfigured('auth') || isConfigured('session')
export const variables = { secrets: 'SESSION_SECRET' }
export const given = ({
  SESSION_SECRET
}: Readonly<Record<string, string | undefined>>): { secrets: string[] } | undefined =>
  SESSION_SECRET === undefined || SESSION_SECRET === '' ? undefined : { secrets: [SESSION_SECRET] }
export type SessionOptions = Static<typeof options>

/** Lists the secrets that are too short. */
export function faults({ secrets }: SessionOptions): OptionFault[] {
  return (secrets ?? []).flatMap((secret, i) =>
    secret.length >= MIN_SECRET_LENGTH
      ? []
      : [
          {
            path: ['secrets', i],
            message: `expected a session secret of ${MIN_SECRET_LENGTH} characters or more, got ${secret.length}; "openssl rand -base64 32" makes one`
          }
        ]
  )
}
