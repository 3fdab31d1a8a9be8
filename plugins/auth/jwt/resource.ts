import type { OptionFault, RouteInfo } from '../../../src/kit/index.ts'
import {
  audiencesOf,
  type ProtectedResource,
  protectedResources,
  resourceOption
} from '../../../src/lib/protected-resource.ts'
import type { JwtOption, JwtOptions } from './options.ts'

/** Lists the resources that a route belongs to, one for each host; none if no issuer has `resource`. Throws if they can't be known. */
export function resourcesOf(
  jwt: JwtOption | undefined,
  { hosts, pathsSetting }: Pick<RouteInfo, 'hosts' | 'pathsSetting'>,
  publicUrl: string | null
): readonly ProtectedResource[] {
  const option = resourceOption(jwt)
  if (option === undefined) return []
  const found = protectedResources({
    paths: pathsSetting('auth', option),
    hosts,
    publicUrl: publicUrl ?? undefined
  })
  if (typeof found === 'string') throw new TypeError(found)
  return found
}

/** Returns the issuers of a route, whose audience is the resource where none is set (RFC 8707). */
export function withAudiences(jwt: JwtOption, resources: readonly ProtectedResource[]): JwtOption {
  const complete = (options: JwtOptions): JwtOptions =>
    options.resource && options.audience === undefined
      ? { ...options, audience: audiencesOf(resources) }
      : options
  return Array.isArray(jwt) ? jwt.map(complete) : complete(jwt)
}

/** Lists the errors of `resource`: its metadata names the issuer by its URL. */
export function resourceFaults({ resource, issuer }: JwtOptions): OptionFault[] {
  if (!resource || (issuer !== undefined && /^https?:\/\//.test(issuer))) return []
  const got = issuer === undefined ? 'none' : `"${issuer}"`
  return [
    {
      path: issuer === undefined ? ['resource'] : ['issuer'],
      message: `expected an "issuer" that is a URL beside "resource": true, got ${got}; the metadata tells clients where to get a token`
    }
  ]
}
