import type { BuiltinContext, BuiltinRoute } from '../src/kit/builtin.ts'
import { type ProtectedResource, protectedResources, resourceOption } from '../src/lib/protected-resource.ts'
import { ungated } from './ungated.ts'

/** The part of the options of `auth` that the metadata tells. */
interface Auth {
  readonly jwt?: Issuer | readonly Issuer[]
  readonly require?: Scopes & { readonly jwt?: Scopes }
}

interface Issuer {
  readonly issuer?: string
  readonly resource: boolean
  readonly from: readonly string[]
}

interface Scopes {
  readonly scopes?: readonly string[]
}

const ANY_ORIGIN = { origins: ['*'], methods: ['GET', 'HEAD'], credentials: false }

/** A resource, and the options of the routes that belong to it. */
interface Found {
  readonly resource: ProtectedResource
  readonly auths: Auth[]
}

/** Returns the routes with the OAuth 2.0 Protected Resource Metadata (RFC 9728), one for each resource. */
export function resourceMetadataRoutes(context: BuiltinContext): BuiltinRoute[] {
  // Clients in a browser read it before they have a token; it is public.
  const options = context.options['cors'] === undefined ? ungated : { ...ungated, cors: ANY_ORIGIN }
  return findResources(context).map(({ resource, auths }) => {
    const document = JSON.stringify(metadataOf(resource, auths))
    return {
      name: 'resource metadata',
      path: resource.metadataPath,
      hosts: resource.host === undefined ? [] : [resource.host],
      methods: ['GET', 'HEAD'],
      options,
      async handler(_request, reply) {
        reply
          .type('application/json')
          .header('cache-control', 'public, max-age=300')
          .header('access-control-allow-origin', '*')
        return document
      }
    }
  })
}

function findResources({ publicUrl, routes }: BuiltinContext): Found[] {
  const found = new Map<string, Found>()
  for (const { hosts, options, pathsSetting } of routes) {
    const auth = options['auth'] as Auth | false | undefined
    const option = auth ? resourceOption(auth.jwt) : undefined
    if (!auth || option === undefined) continue
    const resources = protectedResources({ paths: pathsSetting('auth', option), hosts, publicUrl })
    // The concern refuses to boot with the same message.
    if (typeof resources === 'string') continue
    for (const resource of resources) {
      const key = `${resource.host} ${resource.identifier}`
      const known = found.get(key)
      if (known === undefined) found.set(key, { resource, auths: [auth] })
      else if (!known.auths.includes(auth)) known.auths.push(auth)
    }
  }
  return [...found.values()]
}

function metadataOf({ identifier }: ProtectedResource, auths: readonly Auth[]): object {
  const issuers = auths.flatMap(({ jwt = [] }) => [jwt].flat()).filter(({ resource }) => resource)
  const places = issuers.flatMap(({ from }) => from.map((place) => place.toLowerCase()))
  const scopes = auths.flatMap(({ require }) => [...(require?.scopes ?? []), ...(require?.jwt?.scopes ?? [])])
  return {
    resource: identifier,
    authorization_servers: unique(issuers.flatMap(({ issuer }) => issuer ?? [])),
    ...(scopes.length === 0 ? {} : { scopes_supported: unique(scopes) }),
    bearer_methods_supported: unique(places.flatMap((place) => METHODS.get(place) ?? []))
  }
}

// The places of RFC 6750 section 2.
const METHODS: ReadonlyMap<string, string> = new Map([
  ['header:authorization', 'header'],
  ['query:access_token', 'query']
])

const unique = (texts: readonly string[]): string[] => [...new Set(texts)]
