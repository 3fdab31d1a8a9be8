import type { Concern } from '../src/kit/index.ts'
import * as accessLog from './access-log.ts'
import * as auth from './auth/index.ts'
import * as cors from './cors.ts'
import * as csrf from './csrf.ts'
import * as errors from './errors.ts'
import * as fault from './fault.ts'
import * as headers from './headers.ts'
import * as ipAccess from './ip-access.ts'
import * as limits from './limits/index.ts'
import * as metrics from './metrics/index.ts'
import * as overload from './overload.ts'
import * as paths from './paths.ts'
import * as query from './query.ts'
import * as rateLimit from './rate-limit/index.ts'
import * as requestId from './request-id.ts'
import * as responseTime from './response-time.ts'
import * as securityHeaders from './security-headers.ts'
import * as session from './session/index.ts'
import * as store from './store/index.ts'
import * as tls from './tls/index.ts'
import * as upstreams from './upstreams/index.ts'

/** The concerns, in the order in which they are registered and run. */
export const concerns: readonly Concern[] = [
  errors, //          first: whatever fails from here on is answered in one shape
  requestId, //       every line and every refusal below names the request
  accessLog, //       begins before anything can refuse, so that refusals have their line, too
  metrics, //         likewise; and before the gates, whose time it measures
  responseTime, //    measures all that follows
  paths, //           what the hygiene before routing let pass in report mode
  overload, //        sheds what is too much before it costs more than a look
  securityHeaders, // refusals carry them as well
  cors, //            answers preflights before any gate: they carry no credentials
  store, //           no hook: what certificates, sessions, limits and throttles of several instances share
  tls, //             no hook: what the listening socket needs, and what sessions ask about
  upstreams, //       no hook: opens the pools that the targets ask for
  session, //         no hook: loads sessions when auth asks, so that a flood never reads the store
  limits, //          cheap looks at sizes, before anything that costs
  ipAccess, //        who may not come at all costs no count
  rateLimit, //       by address before auth, so that guessing is counted; by caller after it
  auth, //            who calls, and whether they may
  csrf, //            after auth: only a session is a credential that a browser sends by itself
  headers, //         after auth: values may name the caller
  query, //           likewise
  fault //            last: a drill stands in for the target
]
