import { isIP } from 'node:net'
import { type OptionFault, Type } from '../../../src/kit/index.ts'
import type { Static } from '../../../src/lib/schema.ts'
import { File } from '../../../src/lib/units.ts'

/** The directories with a short name, of Let's Encrypt. */
const DIRECTORIES: Readonly<Record<string, string>> = {
  production: 'https://acme-v02.api.letsencrypt.org/directory',
  staging: 'https://acme-staging-v02.api.letsencrypt.org/directory'
}

/** The challenge types that prove control of a name. */
export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01'

const NAME = '^(\\*\\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'

const PATTERN = new RegExp(NAME)

/** Returns whether a text is a DNS name as in a certificate, and so safe in a file name. */
export const isDnsName = (text: string): boolean => text.length <= 253 && PATTERN.test(text)

const name = Type.String({
  pattern: NAME,
  maxLength: 253,
  'x-says': 'a host in lower case such as "api.example.com" or "*.example.com"'
})

const email = Type.Optional(
  Type.String({
    pattern: '^[^@\\s,]+@[^@\\s,]+$',
    'x-says': 'a mail address',
    description: 'The contact address of the account.',
    examples: ['ops@example.com']
  })
)

const ca = Type.Optional(
  File({ description: 'An additional CA to trust for the connection to the directory, as PEM.' })
)

const externalAccount = Type.Optional(
  Type.Object(
    {
      keyId: Type.String({ minLength: 1, description: 'The id of the key that the CA has given you.' }),
      hmacKey: Type.String({
        pattern: '^[A-Za-z0-9+/_-]+=*$',
        'x-says': 'the key in base64url, as the CA shows it',
        description: 'The HMAC key, in base64url.',
        examples: ['bm90IGEgcmVhbCBrZXk']
      })
    },
    {
      additionalProperties: false,
      description:
        'Binds the account to one that you have at the CA, where it requires that (external account binding).',
      examples: [{ keyId: 'kid-1', hmacKey: 'bm90IGEgcmVhbCBrZXk' }]
    }
  )
)

const profile = Type.Optional(
  Type.String({
    minLength: 1,
    description: 'The certificate profile, one that the CA offers, such as "shortlived" of Let\'s Encrypt.',
    examples: ['shortlived']
  })
)

const fallback = Type.Optional(
  Type.Object(
    {
      directory: Type.String({
        pattern: '^(production|staging|https://[^\\s]+)$',
        'x-says': '"production" or "staging" (Let\'s Encrypt\'s), or the https:// URL of a directory',
        description:
          'The CA: "production" or "staging" of Let\'s Encrypt, or the URL of another ACME directory.',
        examples: ['https://acme.zerossl.com/v2/DV90']
      }),
      email,
      externalAccount,
      profile,
      ca
    },
    {
      additionalProperties: false,
      description:
        'A second CA, which is asked in turn while the first one fails. Set "agreeToTerms" for both.',
      examples: [{ directory: 'https://acme.zerossl.com/v2/DV90' }]
    }
  )
)

const account = Type.Object(
  {
    domains: Type.Optional(
      Type.Array(
        Type.Unsafe<string | readonly string[]>({
          anyOf: [name, Type.Array(name, { minItems: 1, maxItems: 100 })],
          'x-says':
            'a host such as "api.example.com", or a list of those that share one certificate, in lower case'
        }),
        {
          minItems: 1,
          uniqueItems: true,
          description:
            'The hosts to order certificates for, one each; a nested list shares one. By default the hosts of the routes.',
          examples: [['api.example.com', ['example.com', 'www.example.com']]]
        }
      )
    ),
    email,
    agreeToTerms: Type.Boolean({
      default: false,
      description: "Whether you agree to the CA's terms of service; required."
    }),
    directory: Type.String({
      default: 'production',
      pattern: '^(production|staging|https://[^\\s]+)$',
      'x-says': '"production" or "staging" (Let\'s Encrypt\'s), or the https:// URL of a directory',
      description:
        'The CA: "production" or "staging" of Let\'s Encrypt, or the URL of another ACME directory.'
    }),
    challenges: Type.Optional(
      Type.Array(Type.Unsafe<ChallengeType>({ type: 'string', enum: ['http-01', 'tls-alpn-01', 'dns-01'] }), {
        minItems: 1,
        uniqueItems: true,
        description:
          'The challenge types in the order of preference; by default dns-01 with an extension for it, http-01 with redirectFrom, then tls-alpn-01.',
        examples: [['http-01']]
      })
    ),
    storage: Type.Optional(
      File({
        description:
          'The folder of keys and certificates; by default the shared store if there is one, else ".acme" in the working directory.'
      })
    ),
    ca,
    externalAccount,
    profile,
    fallback
  },
  { additionalProperties: false, description: 'Certificates from an ACME CA.' }
)

/** The option `tls.acme`: one account, or several. */
export const acme = Type.Unsafe<AcmeOptions | readonly AcmeOptions[]>({
  anyOf: [account, Type.Array(account, { minItems: 1 })],
  'x-says': 'an account such as { "domains": ["api.example.com"], "agreeToTerms": true }, or a list of them',
  description: 'Orders and renews certificates from an ACME CA; a list for several accounts.',
  examples: [{ domains: ['api.example.com'], email: 'ops@example.com', agreeToTerms: true }]
})

export type AcmeOptions = Static<typeof account>

/** The options of one CA. */
export type AuthorityOptions = Pick<AcmeOptions, 'directory' | 'email' | 'externalAccount' | 'profile' | 'ca'>

/** Returns the URL of a directory. */
export const directoryUrl = ({ directory }: Pick<AcmeOptions, 'directory'>): string =>
  DIRECTORIES[directory] ?? directory

/** Returns the names of each certificate of an account. */
export const wantedCertificates = (domains: readonly (string | readonly string[])[]): (readonly string[])[] =>
  domains.map((entry) => [...new Set([entry].flat())])

/** Finds what the schema of an account can't check; `ca` is checked by the caller. */
export function acmeFaults({ agreeToTerms, challenges, domains = [] }: AcmeOptions): OptionFault[] {
  const list: OptionFault[] = []
  if (!agreeToTerms)
    list.push({
      path: ['agreeToTerms'],
      message:
        'expected true, which agrees to the terms of service of the CA, got false; read them and set "agreeToTerms": true'
    })
  const byDns = challenges === undefined || challenges.includes('dns-01')
  for (const [i, names] of wantedCertificates(domains).entries())
    for (const each of names) {
      const path = ['domains', i]
      if (isIP(each) !== 0) list.push({ path, message: `"${each}" is an IP address; expected a host name` })
      if (each.startsWith('*.') && !byDns)
        list.push({ path, message: `"${each}" needs the challenge dns-01, which "challenges" does not list` })
    }
  return list
}
