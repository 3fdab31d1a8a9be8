import type { AccessLogOptions } from '../../plugins/access-log.ts'
import type { AuthOptions } from '../../plugins/auth/index.ts'
import type { CorsOptions } from '../../plugins/cors.ts'
import type { CsrfOptions } from '../../plugins/csrf.ts'
import type { ErrorsOptions } from '../../plugins/errors/index.ts'
import type { FaultOptions } from '../../plugins/fault.ts'
import type { HeadersOptions } from '../../plugins/headers.ts'
import type { IpAccessOptions } from '../../plugins/ip-access.ts'
import type { LimitsOptions } from '../../plugins/limits/index.ts'
import type { MetricsOptions } from '../../plugins/metrics/index.ts'
import type { OverloadOptions } from '../../plugins/overload.ts'
import type { PathsOptions } from '../../plugins/paths.ts'
import type { QueryOptions } from '../../plugins/query.ts'
import type { RateLimitOptions } from '../../plugins/rate-limit/index.ts'
import type { RequestIdOptions } from '../../plugins/request-id.ts'
import type { ResponseTimeOptions } from '../../plugins/response-time.ts'
import type { SecurityHeadersOptions } from '../../plugins/security-headers.ts'
import type { SessionOptions } from '../../plugins/session/index.ts'
import type { StoreOptions } from '../../plugins/store/index.ts'
import type { TlsOptions } from '../../plugins/tls/index.ts'
import type { UpstreamOptions } from '../../plugins/upstreams/index.ts'
import type { FilesOptions } from '../../routes/files.ts'
import type { ProxyOptions } from '../../routes/proxy/index.ts'
import type { RedirectOptions } from '../../routes/redirect.ts'
import type { RespondOptions } from '../../routes/respond.ts'
import type { Override } from '../lib/schema.ts'

type Word<T> = Override<T> | boolean

/** What may be said of a route's concerns. */
interface Words {
  accessLog?: Word<AccessLogOptions>
  auth?: Word<AuthOptions>
  cors?: Word<CorsOptions>
  csrf?: Word<CsrfOptions>
  errors?: Word<ErrorsOptions>
  fault?: Word<FaultOptions>
  headers?: Word<HeadersOptions>
  ipAccess?: Word<IpAccessOptions>
  limits?: Word<LimitsOptions>
  overload?: Word<OverloadOptions>
  query?: Word<QueryOptions>
  rateLimit?: Word<RateLimitOptions>
  requestId?: Word<RequestIdOptions>
  responseTime?: Word<ResponseTimeOptions>
  securityHeaders?: Word<SecurityHeadersOptions>
}

/** The user's own keys, and the words of extensions, which declare theirs by merging into this interface. */
// biome-ignore lint/suspicious/noEmptyInterface: extensions add their words to it
export interface ExtensionWords {}

interface Own {
  [key: `x-${string}`]: unknown
}

/** A route, or a group of routes. */
export interface RouteConfig extends Words, ExtensionWords, Own {
  name?: string
  path?: string | readonly string[]
  host?: string | readonly string[]
  methods?: readonly string[]
  include?: string
  routes?: readonly RouteConfig[]
  proxy?: Override<ProxyOptions>
  redirect?: Override<RedirectOptions>
  respond?: Override<RespondOptions>
  files?: Override<FilesOptions>
}

/** A whole config, typed from the same schemas that check it. */
export interface GatewayConfig extends Words, ExtensionWords, Own {
  $schema?: string
  extensions?: readonly { module: string; before?: string; after?: string }[]
  publicUrl?: string
  trustedProxies?: readonly string[]
  upstreams?: Readonly<Record<string, Override<UpstreamOptions>>>
  metrics?: Word<MetricsOptions>
  session?: Word<SessionOptions>
  store?: Word<StoreOptions>
  tls?: Word<TlsOptions>
  paths?: Word<PathsOptions>
  proxy?: Override<ProxyOptions>
  routes: readonly RouteConfig[]
}

/** Gives a config its type, so that an editor completes and checks it. */
export const defineConfig = (config: GatewayConfig): GatewayConfig => config
