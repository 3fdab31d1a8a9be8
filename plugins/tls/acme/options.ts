import { isIP } from 'node:net'
import { type OptionFault, Type } from '../../../src/kit/index.ts'
import type { Static } from '../../../src/lib/schema.ts'
import { File } from '../../../src/lib/units.ts'

/** The directories that go by a word: Let's Encrypt's. */
const DIRECTORIES: Readonly<Record<string, string>> = {
  production: 'https://acme-v02.api.letsencrypt.org/directory',
  staging: 'https://acme-staging-v02.api.letsencrypt.org/directory'
}

/** The ways to prove that a name is ours. */
export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01'

const NAME = '^(\\*\\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'

const PATTERN = new RegExp(NAME)

/** Tells whether a text is a host as a certificate names it, and so fit for the name of a file. */
export const isDnsName = (text: string): boolean => text.length <= 253 && PATTERN.test(text)

const name = Type.String({
  pattern: NAME,
  maxLength: 253,
  'x-says': 'a host in lower case such as "api.example.com" or "*.example.com"'
})

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
            'The hosts to have certificates for, one each; a list among them shares one. By default the hosts that routes name.'
        }
      )
    ),
    email: Type.Optional(
      Type.String({
        pattern: '^[^@\\s,]+@[^@\\s,]+$',
        'x-says': 'a mail address',
        description: 'Where the authority writes to when something is wrong.'
      })
    ),
    agreeToTerms: Type.Boolean({
      default: false,
      description:
        "Whether you agree to the authority's terms of service; without it there is no certificate."
    }),
    directory: Type.String({
      default: 'production',
      pattern: '^(production|staging|https://[^\\s]+)$',
      'x-says': '"production" or "staging" (Let\'s Encrypt\'s), or the https:// URL of a directory',
      description:
        'The authority: "production" or "staging" of Let\'s Encrypt, or the URL of another ACME directory.'
    }),
    challenges: Type.Optional(
      Type.Array(Type.Unsafe<ChallengeType>({ type: 'string', enum: ['http-01', 'tls-alpn-01', 'dns-01'] }), {
        minItems: 1,
        uniqueItems: true,
        description:
          'How to prove that a host is ours, the first way first; by default dns-01 where an extension can, http-01 where there is redirectFrom, then tls-alpn-01.'
      })
    ),
    storage: Type.Optional(
      File({
        description:
          'The folder of the keys and certificates; by default the store where it is shared, else ".acme" where the gateway was started.'
      })
    ),
    ca: Type.Optional(
      File({ description: "Another authority that the directory's own certificate may be from, as PEM." })
    )
  },
  { additionalProperties: false, description: 'Certificates from an authority that speaks ACME.' }
)

/** What may be said of ACME: one account, or several. */
export const acme = Type.Unsafe<AcmeOptions | readonly AcmeOptions[]>({
  anyOf: [account, Type.Array(account, { minItems: 1 })],
  'x-says': 'an account such as { "domains": ["api.example.com"], "agreeToTerms": true }, or a list of them',
  description: 'Has certificates issued and renewed by an authority (ACME); a list is several accounts.'
})

export type AcmeOptions = Static<typeof account>

/** Tells the URL of a directory. */
export const directoryUrl = ({ directory }: Pick<AcmeOptions, 'directory'>): string =>
  DIRECTORIES[directory] ?? directory

/** Spells out each certificate that an account says it wants, as its names. */
export const wantedCertificates = (domains: readonly (string | readonly string[])[]): (readonly string[])[] =>
  domains.map((entry) => [...new Set([entry].flat())])

/** Tells what is wrong with an account that its schema can't say; the file of an authority is looked at elsewhere. */
export function acmeFaults({ agreeToTerms, challenges, domains = [] }: AcmeOptions): OptionFault[] {
  const found: OptionFault[] = []
  if (!agreeToTerms)
    found.push({
      path: ['agreeToTerms'],
      message:
        'No authority issues certificates unless its terms of service are agreed to; read them, and say "agreeToTerms": true'
    })
  const byDns = challenges === undefined || challenges.includes('dns-01')
  for (const [i, names] of wantedCertificates(domains).entries())
    for (const each of names) {
      const path = ['domains', i]
      if (isIP(each) !== 0)
        found.push({ path, message: `"${each}" is an address; certificates are ordered for names alone` })
      if (each.startsWith('*.') && !byDns)
        found.push({ path, message: `"${each}" takes the challenge dns-01, which "challenges" leaves out` })
    }
  return found
}
