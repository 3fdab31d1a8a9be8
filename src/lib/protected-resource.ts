/** An OAuth 2.0 protected resource (RFC 9728): one path of the config at one origin. */
export interface ProtectedResource {
  /** The host of its requests; undefined for every host. */
  readonly host: string | undefined
  /** Its identifier, which the audience of a token names (RFC 8707). */
  readonly identifier: string
  /** The path of its metadata. */
  readonly metadataPath: string
  /** The URL of its metadata. */
  readonly metadataUrl: string
}

/** The place of the config that sets a resource. */
export interface ResourcePlace {
  /** The paths of the route or group; empty for the root. */
  readonly paths: readonly string[]
  /** The hosts of the route. */
  readonly hosts: readonly string[]
  readonly publicUrl: string | undefined
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** Lists the resources of a place, one for each host; returns a message if its identifier can't be known. */
export function protectedResources({ paths, hosts, publicUrl }: ResourcePlace): ProtectedResource[] | string {
  if (paths.length > 1)
    return `expected one path where "resource" is true, got ${paths.join(' and ')}; set it on a route or a group with one path`
  const [written = ''] = paths
  const path = written.replace(/\/?\*?$/, '')
  if (/\/:|\*/.test(path))
    return `expected a path without parameters where "resource" is true, got "${written}"; set it on a group around the route`
  const pattern = hosts.find((host) => host.includes('*'))
  if (pattern !== undefined)
    return `expected named hosts where "resource" is true, got "${pattern}", whose resources can't be listed`
  if (hosts.length > 0) return hosts.map((host) => resourceAt(originOf(host, publicUrl), path, host))
  if (publicUrl === undefined)
    return 'expected "publicUrl" at the root beside "resource": true, or a route with a "host", got neither; a resource has an absolute URL'
  return [resourceAt(publicUrl, path, undefined)]
}

/** Returns the origin of a host: that of `publicUrl` if it names the host, else https (RFC 9728 section 1.2). */
function originOf(host: string, publicUrl: string | undefined): string {
  const known = publicUrl === undefined ? undefined : new URL(publicUrl)
  return known?.hostname === host ? known.origin : `https://${host}`
}

/** The well-known part stands between the host and the path (RFC 9728 section 3.1). */
function resourceAt(base: string, path: string, host: string | undefined): ProtectedResource {
  const { origin } = new URL(base)
  const encoded = path === '' ? '' : new URL(origin + path).pathname
  return {
    host,
    identifier: origin + encoded,
    metadataPath: WELL_KNOWN + path,
    metadataUrl: origin + WELL_KNOWN + encoded
  }
}

/** Lists the audiences that name a resource: a URL without a path is the same with a final slash (RFC 3986 section 6.2.3). */
export const audiencesOf = (resources: readonly ProtectedResource[]): string[] =>
  resources.flatMap(({ identifier }) =>
    new URL(identifier).pathname === '/' ? [identifier, `${identifier}/`] : [identifier]
  )

/** The part of the option `jwt` of `auth` that says whether its routes are a resource. */
export type WithResource = { readonly resource?: boolean } | readonly { readonly resource?: boolean }[]

/** Returns the path of the option that makes a resource of the place that sets it; undefined if none does. */
export function resourceOption(jwt: WithResource | undefined): (string | number)[] | undefined {
  if (!Array.isArray(jwt))
    return (jwt as { resource?: boolean } | undefined)?.resource === true ? ['jwt', 'resource'] : undefined
  const index = jwt.findIndex(({ resource }) => resource === true)
  return index === -1 ? undefined : ['jwt', index, 'resource']
}
