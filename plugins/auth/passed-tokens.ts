import type { RouteInfo } from '../../src/kit/index.ts'
import type { CallerToken } from '../../src/lib/caller-tokens.ts'
import { type HeaderOptions, tokensInHeaders } from '../../src/lib/http/header-changes.ts'
import type { TokenNeeds } from './oidc/index.ts'
import type { AuthOptions } from './options.ts'

/** Returns which tokens of its caller a route passes on to its upstream. */
export function passedTokens({ passOn, identity }: AuthOptions, { options }: RouteInfo): TokenNeeds {
  const { request = {} } = (options['headers'] || {}) as { request?: HeaderOptions }
  const used = tokensInHeaders(request)
  const sends = (token: CallerToken): boolean => used.has(token) || Object.values(identity).includes(token)
  return { accessToken: passOn.includes('oidc') || sends('accessToken'), idToken: sends('idToken') }
}
