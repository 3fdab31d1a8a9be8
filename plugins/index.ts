import type { Concern } from '../src/kit/index.ts'
import * as accessLog from './access-log.ts'
import * as ask from './ask.ts'
import * as auth from './auth/index.ts'
import * as cache from './cache/index.ts'
import * as compress from './compress/index.ts'
import * as cors from './cors.ts'
import * as csrf from './csrf.ts'
import * as errors from './errors/index.ts'
import * as fault from './fault.ts'
import * as format from './format/index.ts'
import * as headers from './headers.ts'
import * as ipAccess from './ip-access.ts'
import * as limits from './limits/index.ts'
import * as maintenance from './maintenance.ts'
import * as metrics from './metrics/index.ts'
import * as openapi from './openapi.ts'
import * as overload from './overload.ts'
import * as paths from './paths.ts'
import * as query from './query.ts'
import * as rateLimit from './rate-limit/index.ts'
import * as requestId from './request-id.ts'
import * as responseTime from './response-time.ts'
import * as securityHeaders from './security-headers.ts'
import * as session from './session/index.ts'
import * as slash from './slash.ts'
import * as store from './store/index.ts'
import * as tls from './tls/index.ts'
import * as tracing from './tracing/index.ts'
import * as transform from './transform/index.ts'
import * as upstreams from './upstreams/index.ts'
import * as validate from './validate/index.ts'

/** The concerns, in the order of their registration and of their hooks. */
export const concerns = [
  errors, //          first: every later error is sent in the configured format
  requestId, //       log lines and errors of the concerns below carry the id
  tracing, //         likewise, and before what may refuse a request, so that refusals have spans
  accessLog, //       begins before the gates, so that refused requests are logged too
  metrics, //         likewise, and measures the duration of the gates
  responseTime, //    measures everything that follows
  paths, //           reports what the path policy before routing let through in report mode
  overload, //        sheds load before it costs any work
  securityHeaders, // also set on errors
  cors, //            responds to preflights before any gate, because they carry no credentials
  store, //           no hook: shared state of certificates, sessions, limits and throttles
  tls, //             no hook: the TLS settings of the listener
  upstreams, //       no hook: opens the connection pools of the targets
  openapi, //         no hook: texts of the OpenAPI description
  session, //         no hook: loads a session when auth needs it, so that a flood never reads the store
  slash, //           one form of each path, before anything looks at it
  maintenance, //     refuses before anything is counted or looked up
  limits, //          cheap checks of sizes, before anything expensive
  ipAccess, //        a denied address costs no rate limit count
  rateLimit, //       by address before auth, so that guesses count; by caller after it
  ask, //             a flood never reaches the service; a banned client costs no session and no password hash
  auth, //            authentication and authorization
  csrf, //            after auth, because only some credentials are sent by browsers themselves
  format, //          first response stage: what follows reads the values and the bytes that it makes
  transform, //       before the response stages that keep or encode bodies, so that others see what the client gets; changes requests in a phase after validate's
  validate, //        after auth, so that strangers learn no schema; before headers and query, which change what it judges
  headers, //         after auth, because values may contain the caller
  query, //           likewise
  cache, //           no hook: its place among the stages; what those before it make of a body is stored
  fault, //           last gate: an injected fault takes the place of the target
  compress //         last stage: everything else that reads bodies reads them without a content coding
] as const satisfies readonly Concern[]
