import { type About, type OptionFault, Type } from '../../../src/kit/index.ts'
import { questionHeaderFaults, questionHeaders } from '../../../src/lib/ask-service.ts'
import { HeaderName } from '../../../src/lib/http/header-options.ts'
import { FRAMING, HOP_BY_HOP } from '../../../src/lib/http/hop-by-hop.ts'
import { upstreamFault } from '../../../src/lib/http/upstream-names.ts'
import type { Static } from '../../../src/lib/schema.ts'
import { Duration, EXPECTED } from '../../../src/lib/units.ts'

const header = (description: string, example: string) =>
  Type.Optional(Type.Unsafe<string>({ ...HeaderName, description, examples: [example] }))

export const forward = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'The authentication service: a name from "upstreams", or a URL.'
    }),
    path: Type.String({ default: '/', pattern: '^/', description: 'The path that is requested there.' }),
    timeout: Duration({ positive: true, default: '1s', description: 'How long the response may take.' }),
    headers: questionHeaders,
    signIn: Type.Optional(
      Type.String({
        pattern: '^(/[^/\\\\]|https?://|/$)',
        [EXPECTED]: 'a path such as "/oauth2/start", or a URL',
        description:
          'Where page loads that the service answers with 401 are redirected, with the address in "return_to", or in a parameter that it ends with, such as "?rd="; other requests get the 401.',
        examples: ['/oauth2/start?rd=']
      })
    ),
    copy: Type.Array(HeaderName, {
      default: [],
      description:
        'Headers of its response that are forwarded to the upstream; the same headers from a client are removed.',
      examples: [['x-user']]
    }),
    copyBack: Type.Array(HeaderName, {
      default: [],
      description:
        'Headers of a 2xx response, such as "set-cookie", that are added to the response for the client.',
      examples: [['set-cookie']]
    }),
    caller: Type.Object(
      {
        id: header("The header with the caller's id.", 'x-user'),
        name: header("The header with the caller's name.", 'x-name'),
        email: header("The header with the caller's mail address.", 'x-mail'),
        roles: header('The header with the roles, separated by commas.', 'x-groups'),
        scopes: header('The header with the scopes, separated by spaces or commas.', 'x-scopes')
      },
      {
        additionalProperties: false,
        default: {},
        description: 'The headers of its response that describe the caller.',
        examples: [{ id: 'x-user', roles: 'x-groups' }]
      }
    )
  },
  {
    additionalProperties: false,
    description:
      'Asks a service whether to accept a request: a 2xx accepts it, any other response is sent to the client.',
    examples: [{ upstream: 'http://localhost:9000', path: '/check' }]
  }
)

export type ForwardOptions = Static<typeof forward>

/** Lists the errors that the schema cannot express. */
export function forwardFaults(
  { upstream, copy, copyBack, caller, headers, signIn }: ForwardOptions,
  { upstreams }: About
): OptionFault[] {
  const found: OptionFault[] = []
  const unknown = upstreamFault(upstream, upstreams)
  if (unknown !== undefined) found.push({ path: ['upstream'], message: unknown })
  found.push(...questionHeaderFaults(headers))
  if (signIn !== undefined && !URL.canParse(signIn, 'http://localhost'))
    found.push({ path: ['signIn'], message: `expected a path or a URL, got "${signIn}"` })
  const toUpstream = [
    ...copy.map((name, i) => ({ name, path: ['copy', i] })),
    ...Object.entries(caller).map(([key, name]) => ({ name, path: ['caller', key] }))
  ]
  for (const { name, path } of toUpstream) {
    if (name.toLowerCase() === 'set-cookie')
      found.push({
        path,
        message: `expected a request header, got "${name}"; "copyBack": ["set-cookie"] sends it to the client`
      })
    else if (isMessageField(name)) found.push({ path, message: messageFieldFault(name) })
  }
  for (const [i, name] of copyBack.entries()) {
    if (isMessageField(name)) found.push({ path: ['copyBack', i], message: messageFieldFault(name) })
    else if (name.toLowerCase().startsWith('access-control-'))
      found.push({
        path: ['copyBack', i],
        message: `"${name}" can't be copied; "cors" sets it`
      })
  }
  return found
}

// Fields about the framing, the connection or the content of one message.
function isMessageField(name: string): boolean {
  const lower = name.toLowerCase()
  return HOP_BY_HOP.has(lower) || FRAMING.has(lower) || lower.startsWith('content-')
}

const messageFieldFault = (name: string): string =>
  `"${name}" can't be copied; it describes only the message that it is in`
