// The published API for extensions, `sallyport/kit`: docs/extensions.md lists every name, and a test compares both.
export { createError } from '@fastify/error'
export { fastifyPlugin as fp } from 'fastify-plugin'
export { Type } from 'typebox'
export { askUpstream, type WholeAnswer } from '../lib/ask-upstream.ts'
export type { Caller } from '../lib/caller.ts'
export { monotonic, startInterval, startTimer, stopTimer, type Timer } from '../lib/clock.ts'
export type { Condition } from '../lib/conditions/options.ts'
export type { DnsChallenge } from '../lib/contracts/dns.ts'
export type { AnswerListener, OutboundRequest, UpstreamService } from '../lib/contracts/upstream.ts'
export { addressOf, peerOf } from '../lib/http/addresses.ts'
export { cookieIn } from '../lib/http/cookies.ts'
export { elapsed, onRequestDone, onRequestDone as whenOver } from '../lib/http/response-end.ts'
export { withHeaders } from '../lib/refusals.ts'
export { gate, type OptionFault, overrideOf, type Static } from '../lib/schema.ts'
export { Duration, duration, File, Size, size, TEMPLATE } from '../lib/units.ts'
export { template } from '../lib/values.ts'
export type { About, AboutRoute, Concern, Target, TargetRoute, TargetRoutes } from './concern.ts'
export { varyBy } from './conditions.ts'
export {
  type AboutDescription,
  type DescribedCredential,
  type DescribedErrorContent,
  type DescribedRefusal,
  type DescribedResponse,
  type Description,
  describeRefusal,
  type JsonSchema,
  RETRY_AFTER
} from './describe.ts'
export type { Head, HeadHook } from './head-hook.ts'
export type { Hooks } from './hooks.ts'
export { eachRoute, perOptions, perRoute, reject } from './per-route.ts'
export { readBody, replaceBody } from './read-body.ts'
export type { StageFactory, StageHead } from './response-stages.ts'
export type { RouteInfo } from './route-info.ts'
export { defineWarning, type MakeWarning, type Severity, type Warning } from './warning.ts'
